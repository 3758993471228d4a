"""Machines are removed: only those that are meant, with nothing that is not theirs, and to the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from deploys.vsphere import looks
from deploys.vsphere.crew import Crew
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.pins import Pin, pin, pinned, unpin
from deploys.vsphere.removal import disks_to_keep, look, remove
from inventories._entries import each_by_name
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import PASSWORD, Fleet, settings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA1ur7H0n3ClJWM9aHyz1dIsGzwFm0BZ8x0bDRdvx7Cl"
OWN = "[LocalDS_0] web-1"
device = vim.vm.device
REMOVE = "deploys/fixes/vm_remove.py"
BODY = """
web = group("web", Vm(
    vcenter=VC, folder="DC0/prod/web", template="DC0/photon-5", cluster="DC0_C0", annotation="x", power="off"
))
hosts = fleet(*(host(f"web-{number}", web, **DATA) for number in (1, 2, 3)))
"""


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=1, template="photon-5")


@pytest.fixture
def machine(simulator, monkeypatch) -> Any:
    """Makes machines beside the client: the mark is that of web-1 of a fleet of its own."""
    monkeypatch.setenv(PASSWORD, simulator.password)
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.05)
    simulator.clear_faults()

    def make(name: str, mark: str = "photon-fleet/web-1") -> str:
        with soap.session(simulator) as content:
            template = soap.find(content, "DC0/vm/photon-5")
            spec = vim.vm.CloneSpec(
                location=vim.vm.RelocateSpec(pool=soap.find(content, "DC0/host/DC0_C0/Resources")),
                config=vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key="guestinfo.fleet.id", value=mark)]),
                powerOn=True,
            )
            made = soap.done(template.CloneVM_Task(soap.find(content, "DC0/vm"), name, spec))
            return str(made.config.instanceUuid)

    return make


@pytest.fixture
def crew(simulator, machine) -> Any:
    made = Crew(settings(simulator), {})
    yield made
    made.session.close()


def disk(key: int, file: str, controller: int = 1000, **backing: Any) -> Any:
    given = {"diskMode": "persistent", "fileName": file, **backing}
    return device.VirtualDisk(
        key=key, controllerKey=controller, backing=device.VirtualDisk.FlatVer2BackingInfo(**given)
    )


def test_disks_that_are_not_the_machines_alone() -> None:
    lun = device.VirtualDisk.RawDiskMappingVer1BackingInfo(fileName=f"{OWN}/lun.vmdk", diskMode="persistent")
    volume = disk(5, f"{OWN}/volume.vmdk")
    volume.vDiskId = vim.vslm.ID(id="volume-1")
    devices = [
        device.ParaVirtualSCSIController(key=1000, busNumber=0, sharedBus="noSharing"),
        device.ParaVirtualSCSIController(key=1001, busNumber=1, sharedBus="physicalSharing"),
        disk(1, f"{OWN}/web-1.vmdk"),
        disk(2, "[LocalDS_0] web-10/web-1.vmdk"),
        disk(3, f"{OWN}/../web-2/web-2.vmdk"),
        disk(4, f"{OWN}/kept.vmdk", diskMode="independent_persistent"),
        volume,
        disk(6, f"{OWN}/many.vmdk", sharing="sharingMultiWriter"),
        disk(7, f"{OWN}/quorum.vmdk", controller=1001),
        device.VirtualDisk(key=8, controllerKey=1000, backing=lun),
        disk(9, "[LocalDS_1] web-1/web-1.vmdk"),
    ]
    kept = list(disks_to_keep(devices, OWN))
    assert [each.key for each in kept] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert len({each.why for each in kept}) == 5
    # Without a directory nothing is known to be its own.
    assert [each.key for each in disks_to_keep(devices[:3], "")] == [1]


def test_a_machine_and_only_it_is_removed(simulator, machine, crew) -> None:
    uuid, other = machine("alone"), machine("other", mark="another/web-1")
    remove(crew, uuid, "photon-fleet/web-1", ())
    assert look(crew.session, uuid) is None
    # It is gone, as it is to be.
    remove(crew, uuid, "photon-fleet/web-1", ())
    with pytest.raises(VSphereError, match="bears the mark 'another/web-1'"):
        remove(crew, other, "photon-fleet/web-1", ())
    found = look(crew.session, other)
    assert found is not None
    assert found.power == "poweredOn"
    with soap.session(simulator) as content:
        template = soap.find(content, "DC0/vm/photon-5").config.instanceUuid
    with pytest.raises(VSphereError, match="no mark of ours"):
        remove(crew, template, "photon-fleet/web-1", ())


def test_no_template_is_removed_even_with_the_mark(simulator, machine, crew) -> None:
    uuid = machine("became-a-template")
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm/became-a-template")
        soap.done(vm.PowerOffVM_Task())
        vm.MarkAsTemplate()
    with pytest.raises(VSphereError, match="is a template now"):
        remove(crew, uuid, "photon-fleet/web-1", ())
    assert look(crew.session, uuid) is not None


def test_a_disk_of_others_stays_and_its_file_too(simulator, machine, crew) -> None:
    uuid = machine("with-more")
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm/with-more")
        controller = next(
            each for each in vm.config.hardware.device if isinstance(each, device.ParaVirtualSCSIController)
        )
        more = disk(-1, "[LocalDS_0] shared-data.vmdk", controller.key)
        more.capacityInKB, more.unitNumber = 1024, 3
        change = device.VirtualDeviceSpec(operation="add", fileOperation="create", device=more)
        soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    found = look(crew.session, uuid)
    assert found is not None
    (kept,) = found.kept
    with pytest.raises(VSphereError, match="would be deleted with it") as refusal:
        remove(crew, uuid, "photon-fleet/web-1", ["[LocalDS_0] another.vmdk"])
    assert f'--data detach="{kept.file}"' in str(refusal.value)
    assert found.power == "poweredOn"
    remove(crew, uuid, "photon-fleet/web-1", [kept.file])
    assert look(crew.session, uuid) is None
    with soap.session(simulator) as content:
        browser = soap.find(content, "DC0/datastore/LocalDS_0").browser
        spec = vim.host.DatastoreBrowser.SearchSpec(matchPattern=[kept.file.rpartition("/")[2].rpartition(" ")[2]])
        places = soap.done(browser.SearchDatastoreSubFolders_Task("[LocalDS_0]", spec))
        assert [each.path for place in places for each in place.file or ()]


def test_a_question_that_is_pending_is_told(simulator, machine, crew) -> None:
    uuid = machine("asked")
    simulator.guest("DC0/vm/asked", question="moved or copied?")
    with pytest.raises(VSphereError, match=r"waits for an answer.*moved or copied"):
        remove(crew, uuid, "photon-fleet/web-1", ())


@pytest.mark.parametrize("mode", ["drop", "lost", "http", "logout"])
@pytest.mark.parametrize("method", ["ShutdownGuest", "Destroy_Task", "FindByUuid"])
def test_whatever_answer_is_lost_it_ends_right(simulator, machine, crew, method: str, mode: str) -> None:
    uuid = machine(f"{method}-{mode}")
    simulator.fault(method, mode)
    try:
        remove(crew, uuid, "photon-fleet/web-1", ())
    except VSphereError:
        # It was not carried out, which is said; another run does it.
        found = look(crew.session, uuid)
        assert found is not None
        remove(crew, uuid, "photon-fleet/web-1", ())
    assert look(crew.session, uuid) is None


@pytest.mark.parametrize("method", ["ShutdownGuest", "Destroy_Task"])
def test_a_refusal_is_told_and_the_machine_is_there(simulator, machine, crew, method: str) -> None:
    uuid = machine(f"refused-{method}")
    simulator.fault(method, "task" if method.endswith("_Task") else "soap", "NoPermission")
    with pytest.raises(VSphereError, match=rf"the (removal|shutdown) of refused-{method}: .*NoPermission"):
        remove(crew, uuid, "photon-fleet/web-1", ())
    assert look(crew.session, uuid) is not None
    remove(crew, uuid, "photon-fleet/web-1", ())
    assert look(crew.session, uuid) is None


def test_only_our_own_pins_are_forgotten(tmp_path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"# a comment\nweb-1,192.0.2.9 {KEY} by hand\n")
    pin(path, Pin("web-2", "192.0.2.2", KEY, "instance"))
    for name in ("web-1", "web-2", "web-3"):
        unpin(path, name)
    assert path.read_text().splitlines() == ["# a comment", f"web-1,192.0.2.9 {KEY} by hand"]
    assert pinned(path, "web-2") == []


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [((), "name the host"), (("web",), "--limit web: name each"), (("web-1", "web-*"), "--limit web-*: name each"),
     (("web-1", "both"), "--limit both: name each"), (("web-1", "web-2"), ""), (("w[1]",), "--limit w[1]: name each")],
)  # fmt: skip
def test_each_host_is_named(limits: tuple[str, ...], complaint: str) -> None:
    found = each_by_name([REMOVE], limits, ["web-1", "web-2", "both", "w[1]"], ["web", "both"])
    assert complaint in "".join(found)
    assert bool(found) is bool(complaint)
    assert each_by_name(["deploys/vm.py"], limits, ["web-1"], []) == []


def test_the_fix_from_making_to_nothing(simulator, machine, tmp_path: Path) -> None:
    fleet = Fleet(simulator, tmp_path, BODY, guests=False)
    assert fleet.run().status == 0
    known = fleet.record()
    known_hosts = tmp_path / "known_hosts"
    pin(known_hosts, Pin("web-1", "192.0.2.1", KEY, "instance"))
    two = ("--limit", "web-1", "--limit", "web-2", "--data", "why=x")
    for arguments, complaint in (("--limit", "web"), "--limit web: name each"), (two, "say --data count=2"):
        refused = fleet.run(*arguments, deploy=REMOVE)
        assert refused.status != 0
        assert complaint in refused.out + refused.err
    assert fleet.record() == known
    done = fleet.run(*two, "--data", "count=2", deploy=REMOVE)
    assert done.status == 0, done.err
    assert done.line("web-1").startswith("web-1: ok; 1 change")
    assert set(fleet.record()) == {"web-3"}
    assert pinned(known_hosts, "web-1") == []
    with soap.session(simulator) as content:
        assert [vm.name for vm in soap.find(content, "DC0/vm/prod/web").childEntity] == ["web-3"]
        # As a run leaves it that is killed in between: the machine is gone, and still written down.
        soap.done(soap.find(content, "DC0/vm/prod/web/web-3").Destroy_Task())
    again = fleet.run("--limit", "web-3", "--data", "why=x", deploy=REMOVE)
    assert (again.status, fleet.record()) == (0, {}), again.err
    assert simulator.sessions() == {"soap": 0, "rest": 0}
