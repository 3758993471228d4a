"""Where the simulator is mended: cloning, configuring, naming and snapshots come out as a vCenter documents them."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab import vcenter
from tests.vsphere import soap

TEMPLATE = "DC0/vm/photon-5"


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=2, template="photon-5", hosts=3)


@pytest.fixture
def content(simulator: vcenter.VCenter) -> Any:
    with soap.session(simulator) as content:
        yield content


@pytest.fixture
def folder(content: Any, request: pytest.FixtureRequest) -> Any:
    return soap.find(content, "DC0/vm").CreateFolder(request.node.name)


def clone(content: Any, folder: Any, name: str, config: Any = None, **options: Any) -> Any:
    pool = soap.find(content, "DC0/host/DC0_C0/Resources")
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(pool=pool), config=config, powerOn=options.pop("power", False), template=False
    )
    return soap.done(soap.find(content, TEMPLATE).CloneVM_Task(folder, name, spec))


def extra(vm: Any) -> dict[str, str]:
    keys = [option.key for option in vm.config.extraConfig]
    assert len(keys) == len(set(keys))
    return {option.key: option.value for option in vm.config.extraConfig}


def option(**values: str) -> list[Any]:
    return [vim.option.OptionValue(key=f"guestinfo.{key}", value=value) for key, value in values.items()]


def reconfigure(vm: Any, **fields: Any) -> None:
    soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(**fields)))


def device(vm: Any, kind: type) -> Any:
    [found] = [each for each in vm.config.hardware.device if isinstance(each, kind)]
    return found


def edit(of: Any) -> list[Any]:
    return [vim.vm.device.VirtualDeviceSpec(operation="edit", device=of)]


DISK, CARD = vim.vm.device.VirtualDisk, vim.vm.device.VirtualEthernetCard


def test_the_template_is_like_photons(content: Any) -> None:
    vm = soap.find(content, TEMPLATE)
    assert (vm.config.template, vm.config.guestId, vm.config.firmware) == (True, "vmwarePhoton64Guest", "efi")
    assert device(vm, DISK).capacityInBytes == 16 << 30
    assert isinstance(device(vm, CARD), vim.vm.device.VirtualVmxnet3)
    assert vm.runtime.powerState == "poweredOff"


def test_a_clone_is_as_specified_and_its_own(content: Any, folder: Any) -> None:
    config = vim.vm.ConfigSpec(
        numCPUs=4, memoryMB=4096, annotation="of <us> & täglich\n", extraConfig=option(metadata="a", fleet="b")
    )
    first = clone(content, folder, "first", config, power=True)
    second = clone(content, folder, "second", vim.vm.ConfigSpec(extraConfig=option(metadata="c")))
    assert (first.config.hardware.numCPU, first.config.hardware.memoryMB) == (4, 4096)
    assert (first.summary.config.numCpu, first.config.annotation) == (4, "of <us> & täglich\n")
    assert (first.runtime.powerState, second.runtime.powerState) == ("poweredOn", "poweredOff")
    assert extra(first) == {"govcsim": "TRUE", "guestinfo.metadata": "a", "guestinfo.fleet": "b"}
    assert extra(second) == {"govcsim": "TRUE", "guestinfo.metadata": "c"}
    assert second.config.firmware == "efi"
    assert first.parent == folder
    everyone = [first, second, *soap.find(content, "DC0/vm").childEntity]
    everyone = [vm for vm in everyone if isinstance(vm, vim.VirtualMachine)]
    for take in (
        lambda vm: device(vm, CARD).macAddress, lambda vm: device(vm, DISK).backing.fileName,
        lambda vm: vm.config.instanceUuid, lambda vm: vm.config.uuid,
    ):  # fmt: skip
        assert len({take(vm) for vm in everyone}) == len(everyone)
    assert device(second, DISK).backing.fileName == "[LocalDS_0] second/second.vmdk"
    assert [nic.macAddress for nic in first.guest.net] == [device(first, CARD).macAddress]


def test_clones_are_spread_over_hosts(content: Any, folder: Any) -> None:
    vms = [clone(content, folder, f"vm-{number}") for number in range(3)]
    assert len({vm.runtime.host._moId for vm in vms}) == 3


def test_a_name_is_taken_within_its_folder(content: Any, folder: Any) -> None:
    vm = clone(content, folder, "web")
    with pytest.raises(vim.fault.DuplicateName) as caught:
        clone(content, folder, "web")
    assert caught.value.object == vm
    other = clone(content, folder.CreateFolder("other"), "web")
    for task in (other.Rename_Task("again"), clone(content, folder, "db").Rename_Task("again")):
        soap.done(task)
    with pytest.raises(vim.fault.DuplicateName) as caught:
        soap.done(vm.Rename_Task("again"))
    assert caught.value.object.name == "again"
    with pytest.raises(vim.fault.DuplicateName):
        soap.done(folder.MoveIntoFolder_Task([other]))
    with pytest.raises(vim.fault.DuplicateName) as caught:
        folder.CreateFolder("other")
    assert caught.value.object == other.parent
    soap.done(vm.Rename_Task("new"))
    assert (vm.name, vm.config.name, vm.summary.config.name) == ("new", "new", "new")
    soap.done(vm.Rename_Task("new"))


def test_a_name_is_escaped_once(content: Any, folder: Any) -> None:
    for given, kept in [("a/b", "a%2fb"), ("100%", "100%25"), ("c%2fd", "c%2fd"), ("größe 日本", "größe 日本")]:
        vm = clone(content, folder, given)
        assert vm.name == kept
        assert soap.find(content, f"DC0/vm/{folder.name}/{kept}") == vm


def test_a_vm_of_an_old_name_is_another_one(content: Any, folder: Any) -> None:
    before = clone(content, folder, "again")
    uuid = before.config.instanceUuid
    soap.done(before.Destroy_Task())
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        before.name  # noqa: B018 - the reading is the call
    assert clone(content, folder, "again").config.instanceUuid != uuid


def test_a_clone_that_fails_is_not_left(content: Any, folder: Any) -> None:
    with pytest.raises(vmodl.fault.InvalidArgument):
        clone(content, folder, "wrong", vim.vm.ConfigSpec(guestId="noSuchGuest"))
    assert list(folder.childEntity) == []


def test_extra_config_is_replaced_and_removed(content: Any, folder: Any) -> None:
    vm = clone(content, folder, "vm", vim.vm.ConfigSpec(extraConfig=option(a="1", b="2")))
    reconfigure(vm, extraConfig=option(a="3", c="x" * 512 * 1024))
    assert {key: len(value) for key, value in extra(vm).items() if key.startswith("guestinfo")} == {
        "guestinfo.a": 1, "guestinfo.b": 1, "guestinfo.c": 512 * 1024,
    }  # fmt: skip
    reconfigure(vm, extraConfig=option(b="", c="", d=""))
    assert extra(vm) == {"govcsim": "TRUE", "guestinfo.a": "3"}


def test_a_configuration_changes_from_the_version_that_was_read(content: Any, folder: Any) -> None:
    vm = clone(content, folder, "vm")
    version = vm.config.changeVersion
    reconfigure(vm, annotation="mine", changeVersion=version)
    with pytest.raises(vim.fault.ConcurrentAccess):
        reconfigure(vm, annotation="late", changeVersion=version)
    assert vm.config.annotation == vm.summary.config.annotation == "mine"


def test_disks_grow_and_do_not_shrink(content: Any, folder: Any) -> None:
    vm = clone(content, folder, "vm")
    disk = device(vm, DISK)
    disk.capacityInKB *= 2
    reconfigure(vm, deviceChange=edit(disk))
    assert (device(vm, DISK).capacityInKB, device(vm, DISK).capacityInBytes) == (32 << 20, 32 << 30)
    disk = device(vm, DISK)
    disk.capacityInBytes, disk.capacityInKB = 8 << 30, 8 << 20
    with pytest.raises(vim.fault.InvalidDeviceOperation):
        reconfigure(vm, deviceChange=edit(disk))
    assert device(vm, DISK).capacityInKB == 32 << 20
    assert device(soap.find(content, TEMPLATE), DISK).capacityInKB == 16 << 20


def test_a_nic_is_edited_added_and_removed(content: Any, folder: Any) -> None:
    vm = clone(content, folder, "vm")
    card = device(vm, CARD)
    mac = card.macAddress
    backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    reconfigure(vm, deviceChange=edit(vim.vm.device.VirtualVmxnet3(key=card.key, backing=backing)))
    assert (device(vm, CARD).macAddress, device(vm, CARD).backing.deviceName) == (mac, "VM Network")
    new = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing)
    reconfigure(vm, deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="add", device=new)])
    [first, second] = [each for each in vm.config.hardware.device if isinstance(each, CARD)]
    assert len({first.key, second.key}) == len({first.macAddress, second.macAddress}) == 2
    gone = vim.vm.device.VirtualVmxnet3(key=first.key)
    reconfigure(vm, deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="remove", device=gone)])
    assert device(vm, CARD).key == second.key


def test_an_annotation_goes_when_it_is_given_and_empty(content: Any, folder: Any) -> None:
    first = clone(content, folder, "first")
    assert first.config.annotation == "Photon OS"
    reconfigure(first, numCPUs=2)
    assert first.summary.config.annotation == "Photon OS"
    reconfigure(first, annotation="")
    second = clone(content, folder, "second", vim.vm.ConfigSpec(annotation=""))
    for vm in (first, second):
        assert not vm.config.annotation
        assert not vm.summary.config.annotation


def test_what_a_running_vm_does_not_take(content: Any, folder: Any) -> None:
    vm = clone(content, folder, "vm", vim.vm.ConfigSpec(memoryHotAddEnabled=True), power=True)
    with pytest.raises(vim.fault.CpuHotPlugNotSupported):
        reconfigure(vm, numCPUs=2)
    reconfigure(vm, memoryMB=4096)
    with pytest.raises(vim.fault.MemoryHotPlugNotSupported):
        reconfigure(vm, memoryMB=1024)
    with pytest.raises(vim.fault.InvalidPowerState):
        soap.done(vm.Destroy_Task())


def test_custom_values_are_replaced(content: Any, folder: Any) -> None:
    vm = clone(content, folder, "vm")
    field = content.customFieldsManager.AddFieldDefinition("owner", vim.VirtualMachine)
    content.customFieldsManager.SetField(vm, field.key, "one")
    vm.setCustomValue("owner", "two")
    assert [(each.key, each.value) for each in vm.customValue] == [(field.key, "two")]
    assert [each.value for each in vm.summary.customValue] == ["two"]


def test_a_snapshot_goes_back(content: Any, folder: Any) -> None:
    vm = clone(content, folder, "vm", vim.vm.ConfigSpec(extraConfig=option(a="1")))
    first = soap.done(vm.CreateSnapshot_Task("before", "", memory=False, quiesce=False))
    disk = device(vm, DISK)
    reconfigure(vm, numCPUs=4, annotation="changed", extraConfig=option(a="2", b="3"))
    backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    reconfigure(vm, deviceChange=edit(vim.vm.device.VirtualVmxnet3(key=device(vm, CARD).key, backing=backing)))
    soap.done(vm.PowerOnVM_Task())
    soap.done(vm.CreateSnapshot_Task("running", "", memory=True, quiesce=False))
    assert [node.state for node in vm.snapshot.rootSnapshotList] == ["poweredOff"]
    task = first.RevertToSnapshot_Task()
    soap.done(task)
    assert task.info.entity == vm
    assert (vm.runtime.powerState, vm.snapshot.currentSnapshot) == ("poweredOff", first)
    assert (vm.config.hardware.numCPU, vm.config.annotation, extra(vm)["guestinfo.a"]) == (1, "Photon OS", "1")
    assert "guestinfo.b" not in extra(vm)
    assert device(vm, DISK).backing.fileName == disk.backing.fileName
    assert isinstance(device(vm, CARD).backing, vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo)
    [running] = vm.snapshot.rootSnapshotList[0].childSnapshotList
    soap.done(running.snapshot.RevertToSnapshot_Task())
    assert (vm.runtime.powerState, vm.config.hardware.numCPU) == ("poweredOn", 4)
    soap.done(first.RemoveSnapshot_Task(removeChildren=True))
    assert vm.snapshot is None
    with pytest.raises(vim.fault.NotFound):
        soap.done(vm.RevertToCurrentSnapshot_Task())


def test_the_bare_simulator_is_bare(simulators: Any) -> None:
    with soap.session(simulators(vms=2, mend=False)) as content:
        folder = soap.find(content, "DC0/vm")
        spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
        taken = soap.find(content, "DC0/vm/DC0_C0_RP0_VM0")
        soap.done(taken.CloneVM_Task(folder, "DC0_C0_RP0_VM1", spec))
        assert [vm.name for vm in folder.childEntity].count("DC0_C0_RP0_VM1") == 2
