"""Guests of the simulator: addresses by NIC and by time, what a test says of them, guestinfo, and what backs them."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab import vcenter
from tests.lab.errors import LabError
from tests.vsphere import soap

PATH = "/DC0/vm/DC0_C0_RP0_VM0"


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=2, boot=0.3)


@pytest.fixture
def content(simulator: vcenter.VCenter) -> Any:
    with soap.session(simulator) as content:
        yield content


@pytest.fixture
def vm(simulator: vcenter.VCenter, content: Any) -> Any:
    vm = soap.find(content, PATH)
    simulator.guest(PATH, addresses=None, nics=None, bridges=None, hostname=None, tools=None, question=None)
    if vm.runtime.powerState == "poweredOff":
        soap.done(vm.PowerOnVM_Task())
    soap.eventually(lambda: vm.guest.ipAddress)
    return vm


def addresses(vm: Any) -> list[tuple[int, list[str]]]:
    return [(nic.deviceConfigId, list(nic.ipAddress)) for nic in vm.guest.net]


def test_a_guest_has_addresses_while_it_runs(vm: Any) -> None:
    [card] = [each for each in vm.config.hardware.device if isinstance(each, vim.vm.device.VirtualEthernetCard)]
    [nic] = vm.guest.net
    assert (nic.deviceConfigId, nic.macAddress, nic.connected) == (card.key, card.macAddress, True)
    assert nic.network == "DC0_DVPG0"
    [four, six] = nic.ipAddress
    assert four.startswith("10.9.")
    assert six.startswith("fe80::250:56ff:fe")
    assert (vm.guest.ipAddress, vm.summary.guest.ipAddress, vm.guest.toolsRunningStatus) == (
        four, four, "guestToolsRunning",
    )  # fmt: skip
    soap.done(vm.PowerOffVM_Task())
    soap.eventually(lambda: vm.guest.toolsRunningStatus == "guestToolsNotRunning")
    assert (list(vm.guest.net), vm.guest.ipAddress, vm.summary.guest.ipAddress) == ([], None, None)
    soap.done(vm.PowerOnVM_Task())
    soap.eventually(lambda: vm.guest.ipAddress == four)


def test_a_guest_takes_its_time_to_boot(simulators: Any) -> None:
    with soap.session(simulators(vms=1, boot=60)) as content:
        vm = soap.find(content, PATH)
        assert vm.guest.ipAddress
        soap.done(vm.PowerOffVM_Task())
        soap.done(vm.PowerOnVM_Task())
        soap.eventually(lambda: not vm.guest.ipAddress)
        assert (vm.guest.toolsRunningStatus, list(vm.guest.net)) == ("guestToolsNotRunning", [])


def test_guests_have_addresses_of_their_own(content: Any, vm: Any) -> None:
    other = soap.find(content, "DC0/vm/DC0_C0_RP0_VM1")
    assert other.guest.ipAddress != vm.guest.ipAddress


def test_a_test_says_what_a_guest_is_like(simulator: vcenter.VCenter, vm: Any) -> None:
    [(key, _)] = addresses(vm)
    simulator.guest(vm.config.instanceUuid, addresses=["169.254.3.4", "2001:db8::7"], hostname="web-1")
    assert (addresses(vm), vm.guest.hostName) == ([(key, ["169.254.3.4", "2001:db8::7"])], "web-1")
    simulator.guest(vm._moId, addresses=None, nics=[["fe80::1", "2001:db8::8"]], bridges={"docker0": ["172.17.0.1"]})
    assert addresses(vm) == [(key, ["fe80::1", "2001:db8::8"]), (-1, ["172.17.0.1"])]
    simulator.guest(vm.config.uuid, nics=[[]], bridges=None)
    assert (addresses(vm), vm.guest.ipAddress) == ([(key, [])], None)
    simulator.guest(PATH, tools=False)
    assert (vm.guest.toolsRunningStatus, list(vm.guest.net)) == ("guestToolsNotRunning", [])
    with pytest.raises(vim.fault.ToolsUnavailable):
        vm.ShutdownGuest()


def test_a_wrong_word_about_a_guest_is_refused(simulator: vcenter.VCenter) -> None:
    with pytest.raises(LabError, match='there is no VM "nobody"'):
        simulator.guest("nobody", tools=False)
    with pytest.raises(LabError, match='a guest has no "adresses"'):
        simulator.guest(PATH, adresses=[])


def test_a_guest_shuts_down_and_reboots(vm: Any) -> None:
    vm.RebootGuest()
    soap.eventually(lambda: not vm.guest.ipAddress)
    soap.eventually(lambda: vm.guest.ipAddress)
    vm.ShutdownGuest()
    assert vm.runtime.powerState == "poweredOff"
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.RebootGuest()


def test_the_guest_writes_guestinfo(simulator: vcenter.VCenter, vm: Any) -> None:
    uuid, version = vm.config.instanceUuid, vm.config.changeVersion
    soap.done(
        vm.ReconfigVM_Task(
            vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key="guestinfo.userdata", value="secret")])
        )
    )
    assert vm.config.changeVersion != version
    version = vm.config.changeVersion
    assert simulator.guestinfo(uuid, "guestinfo.userdata") == "secret"
    simulator.set_guestinfo(uuid, "guestinfo.userdata", "---")
    simulator.guest(uuid, guestinfo={"guestinfo.ready": "i-1"})
    values = {option.key: option.value for option in vm.config.extraConfig}
    assert (values["guestinfo.userdata"], values["guestinfo.ready"]) == ("---", "i-1")
    assert vm.config.changeVersion == version
    assert simulator.guestinfo(uuid, "guestinfo.nothing") is None
    with pytest.raises(LabError, match="a guest may set"):
        simulator.set_guestinfo(uuid, "disk.EnableUUID", "TRUE")


def test_a_host_in_place_of_the_guest_reads_and_writes_as_it_is(simulator: vcenter.VCenter, vm: Any) -> None:
    def ask(method: str, key: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(simulator.host, simulator.port, context=simulator.context())
        connection.request(method, f"/_lab/guestinfo/raw?vm={vm.config.instanceUuid}&key={key}", body)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    assert ask("PUT", "guestinfo.fleet", 'a "b"\n') == (200, "")
    assert ask("GET", "guestinfo.fleet") == (200, 'a "b"\n')
    assert ask("GET", "guestinfo.none") == (404, "No value found\n")
    assert ask("PUT", "tools.x", "y")[0] == 400


def test_a_question_holds_a_power_on_until_it_is_answered(simulators: Any) -> None:
    simulator = simulators(vms=1)
    with soap.session(simulator) as content:
        vm = soap.find(content, PATH)
        soap.done(vm.PowerOffVM_Task())
        simulator.guest(PATH, question="Did you move it or copy it?")
        task = vm.PowerOnVM_Task()
        question = soap.eventually(lambda: vm.runtime.question)
        assert (question.text, task.info.state) == ("Did you move it or copy it?", "running")
        vm.AnswerVM(question.id, question.choice.choiceInfo[1].key)
        soap.done(task)
        assert (vm.runtime.question, vm.runtime.powerState) == (None, "poweredOn")


def test_waiting_for_an_address_is_one_call(simulator: vcenter.VCenter, content: Any, vm: Any) -> None:
    soap.done(vm.PowerOffVM_Task())
    soap.eventually(lambda: not vm.guest.net)
    collector = content.propertyCollector.CreatePropertyCollector()
    kinds = vmodl.query.PropertyCollector
    spec = kinds.FilterSpec(
        objectSet=[kinds.ObjectSpec(obj=vm)],
        propSet=[kinds.PropertySpec(type=vim.VirtualMachine, pathSet=["guest.net"])],
    )
    collector.CreateFilter(spec, partialUpdates=False)
    version = collector.WaitForUpdatesEx("").version
    soap.done(vm.PowerOnVM_Task())
    found: list[str] = []
    while not found:
        update = collector.WaitForUpdatesEx(version, kinds.WaitOptions(maxWaitSeconds=10))
        assert update is not None
        version = update.version
        nets = [change.val for each in update.filterSet[0].objectSet for change in each.changeSet]
        found = [address for net in nets for nic in net or [] for address in nic.ipAddress]
    assert found[0].startswith("10.9.")
    collector.Destroy()


HOOK = """#!/bin/sh
input=$(cat)
printf '%s %s %s %s\\n' "$1" "$2" "$3" "$input" >> {log}
[ "$1" = on ] && echo '{{"addresses": ["10.83.0.10"], "guestinfo": {{"guestinfo.key": "ssh-ed25519 A"}}}}'
exit 0
"""


def test_a_program_backs_the_vms(simulators: Any, tmp_path: Path) -> None:
    log, hook = tmp_path / "log", tmp_path / "hook"
    hook.write_text(HOOK.format(log=log))
    hook.chmod(0o755)
    with soap.session(simulators(vms=1, on_power=hook)) as content:
        vm = soap.find(content, PATH)
        uuid, mac = vm.config.instanceUuid, vm.guest.net[0].macAddress
        soap.done(vm.PowerOffVM_Task())
        soap.done(vm.PowerOnVM_Task())
        soap.eventually(lambda: vm.guest.ipAddress == "10.83.0.10")
        assert {each.key: each.value for each in vm.config.extraConfig}["guestinfo.key"] == "ssh-ed25519 A"
        soap.done(vm.PowerOffVM_Task())
        soap.done(vm.Destroy_Task())
        lines = soap.eventually(lambda: (lines := log.read_text().splitlines())[3:] and lines)
    words = [line.split(" ", 3) for line in lines]
    assert [word for word, *_ in words] == ["off", "on", "off", "gone"]
    assert {(each, path) for _, each, path, _ in words} == {(uuid, PATH)}
    told = json.loads(words[1][3])
    assert (told["uuid"], told["path"], told["extra_config"]["govcsim"]) == (uuid, PATH, "TRUE")
    assert [(nic["mac"], nic["network"]) for nic in told["nics"]] == [(mac, "DC0_DVPG0")]


def test_a_program_that_fails_leaves_the_vm_without_addresses(simulators: Any, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho 'no host is free' >&2\nexit 3\n")
    hook.chmod(0o755)
    simulator = simulators(vms=1, on_power=hook)
    with soap.session(simulator) as content:
        vm = soap.find(content, PATH)
        soap.done(vm.PowerOffVM_Task())
        soap.done(vm.PowerOnVM_Task())
        soap.eventually(lambda: simulator.said().count("exit status 3") == 2)
        assert "no host is free" in simulator.said()
        assert (vm.guest.ipAddress, vm.guest.toolsRunningStatus) == (None, "guestToolsNotRunning")


def test_a_simulator_without_guests(simulators: Any) -> None:
    with soap.session(simulators(vms=1, guest_net="")) as content:
        vm = soap.find(content, PATH)
        assert (vm.guest.ipAddress, [list(nic.ipAddress) for nic in vm.guest.net]) == (None, [[]])
