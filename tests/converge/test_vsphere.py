"""From an empty folder of a vCenter to proven hosts: the README's commands, with clones that are lab hosts.

Their first boot is done by Debian's cloud-init, by what the product gave the machine, before anybody could log in.
LAB_MACHINES=20 is another number of them than one for each role.
"""

from __future__ import annotations

import json
import os
from shlex import quote

import pytest
from pyVmomi import vim

from tests.converge.conftest import Done, changes, converge, program, prove, run
from tests.lab import vcenter
from tests.lab.settings import state_dir
from tests.vsphere import soap
from tests.vsphere.test_simulator_tags import Rest

pytestmark = pytest.mark.lab

INVENTORY = "inventories/lab_vsphere.py"
COUNT = int(os.environ.setdefault("LAB_MACHINES", "3"))
ROLES = ("web", "db", "edge")
NAMES = [f"{ROLES[number % 3]}-{number // 3 + 1}" for number in range(COUNT)]
CALLS = 20


def bring_up(*arguments: str, deploy: str = "deploys/vm.py") -> Done:
    return run(program("pyinfra"), INVENTORY, deploy, "-y", *arguments)


def everything(*arguments: str) -> Done:
    return converge(*arguments, inventory=INVENTORY)


@pytest.fixture(scope="module")
def made(simulator) -> Done:
    done = bring_up()
    assert done.status == 0, done.all
    return done


@pytest.fixture(scope="module")
def proven(made) -> Done:
    done = everything()
    assert done.status == 0, done.all
    return done


def record() -> dict[str, dict[str, str]]:
    return json.loads((state_dir() / "vms.json").read_text())


def login(name: str, command: str) -> str:
    """As the first login is made: by the pinned key alone, as root or by sudo."""
    options = ("-o", f"UserKnownHostsFile={state_dir() / 'machines_known_hosts'}", "-o", "StrictHostKeyChecking=yes")
    key = ("-i", str(state_dir() / "id"), "-o", "IdentitiesOnly=yes", "-o", f"HostKeyAlias={name}")
    user, sudo = ("ops", "sudo ") if name.startswith("edge") else ("root", "")
    done = run(
        "ssh", "-F", "none", *options, *key, f"{user}@{record()[name]['address']}", f"{sudo}sh -c {quote(command)}"
    )
    assert done.status == 0, done.all
    return done.out


def test_machines_are_made_from_an_empty_folder_and_their_keys_are_pinned(simulator, made) -> None:
    assert set(record()) == set(NAMES)
    for name in NAMES:
        assert made.line(f"{name}: ").startswith(f"{name}: ok; ")
        # Nothing but the first boot has been there: it has the name, and root's known password is no way in.
        assert login(name, "hostname; grep ^root: /etc/shadow | cut -d: -f2").split() == [name, "*"]
        path = f"DC0/vm/fleet/{name.partition('-')[0]}/{name}"
        assert simulator.guestinfo(path, "guestinfo.userdata") == "---"
    assert simulator.sessions() == {"soap": 0, "rest": 0}


def test_they_become_proven_hosts(proven) -> None:
    for name in NAMES:
        assert ": ok; " in proven.line(f"{name}: ")
        assert "checks passed" in proven.line(f"{name}: ")
    done = prove(inventory=INVENTORY)
    assert done.status == 0, done.all


def test_second_runs_change_nothing(simulator, proven, record_property) -> None:
    before = simulator.calls()
    done = bring_up("--json")
    assert (done.status, changes(done)["success"]) == (0, 0), done.all
    calls = simulator.calls() - before
    record_property("summary", f"a second run of {COUNT} machines: {calls} calls to the vCenter")
    assert calls <= CALLS
    done = everything("--json")
    assert (done.status, changes(done)["success"]) == (0, 0), done.all


def _by_hand(simulator: vcenter.VCenter, name: str) -> None:
    """Another number of CPUs, no tag, another network, and off."""
    with soap.session(simulator) as content:
        machine = soap.find(content, f"DC0/vm/fleet/{name.partition('-')[0]}/{name}")
        soap.done(machine.PowerOffVM_Task(), 60)
        group = next(each for each in content.rootFolder.childEntity[0].network if each.name == "DC0_DVPG0")
        port = vim.dvs.PortConnection(portgroupKey=group.key, switchUuid=group.config.distributedVirtualSwitch.uuid)
        card = next(
            each for each in machine.config.hardware.device if isinstance(each, vim.vm.device.VirtualEthernetCard)
        )
        card.backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
        device = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
        soap.done(machine.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=7, deviceChange=[device])))
        moid = machine._moId
    rest = Rest(simulator, "/api")
    rest.login(simulator.password)
    thing = {"id": moid, "type": "VirtualMachine"}
    _, tags = rest.tagging("POST", "tag-association", {"object_id": thing}, action="list-attached-tags")
    assert len(tags) == 1
    rest.tagging("POST", "tag-association", {"object_id": thing}, of=tags[0], action="detach")
    rest.ask("DELETE", "/api/session")


def test_the_one_that_somebody_has_changed_is_mended_and_no_other(simulator, proven) -> None:
    victim = NAMES[1]
    _by_hand(simulator, victim)
    done = bring_up()
    assert done.status == 0, done.all
    assert {name: done.line(f"{name}: ").split("; ")[1] == "0 changes" for name in NAMES} == {
        name: name != victim for name in NAMES
    }
    with soap.session(simulator) as content:
        machine = soap.find(content, f"DC0/vm/fleet/{victim.partition('-')[0]}/{victim}")
        assert machine.summary.config.numCpu == 2
        assert [each.name for each in machine.network] == ["VM Network"]
        assert machine.runtime.powerState == "poweredOn"
    done = everything("--json")
    assert (done.status, changes(done)["success"]) == (0, 0), done.all


def test_one_that_is_removed_and_made_anew_has_another_key_that_is_pinned(simulator, proven, lab) -> None:
    name = NAMES[-1]
    before, key = record()[name], login(name, "cat /etc/ssh/ssh_host_ed25519_key.pub")
    done = bring_up("--limit", name, "--data", "why=worn out", deploy="deploys/fixes/vm_remove.py")
    assert done.status == 0, done.all
    assert name not in record()
    soap.eventually(lambda: before["address"] not in {spec.address for spec, _ in lab.status()}, 60)
    done = bring_up()
    assert done.status == 0, done.all
    assert record()[name]["uuid"] != before["uuid"]
    assert login(name, "cat /etc/ssh/ssh_host_ed25519_key.pub") != key
    done = everything("--limit", name)
    assert done.status == 0, done.all
