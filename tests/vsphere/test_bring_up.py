"""deploys/vm.py against the simulator: made, kept, mended, refused; and what is left when something goes wrong."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import BODY, Fleet

NAMES = ("web-1", "web-2", "web-3")


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=2, template="photon-5", task=0.2, boot=0.2)


@pytest.fixture
def fleet(simulator, tmp_path) -> Any:
    simulator.clear_faults()
    _remove_all(simulator)
    with Fleet(simulator, tmp_path) as made:
        yield made


def _remove_all(simulator: vcenter.VCenter) -> None:
    """Every machine that an earlier test has made."""
    with soap.session(simulator) as content:
        for entity in _below(content.rootFolder.childEntity[0].vmFolder):
            if "photon-5" in entity.name or entity.name.startswith("DC0_"):
                continue
            if entity.runtime.powerState == "poweredOn":
                soap.done(entity.PowerOffVM_Task())
            soap.done(entity.Destroy_Task())


def _below(folder: Any) -> list[Any]:
    found = []
    for entity in folder.childEntity:
        found += _below(entity) if isinstance(entity, vim.Folder) else [entity]
    return found


def machines(simulator: vcenter.VCenter) -> dict[str, Any]:
    """What there is, by another way than the product's: attributes of each object."""
    with soap.session(simulator) as content:
        rows = {}
        for vm in _below(content.rootFolder.childEntity[0].vmFolder):
            if vm.name.startswith("DC0_") or vm.name == "photon-5":
                continue
            assert vm.name not in rows, "two machines of one name"
            marks = {each.key: each.value for each in vm.config.extraConfig}
            rows[vm.name] = {
                "folder": vm.parent.name, "power": vm.runtime.powerState, "moid": vm._moId,
                "uuid": vm.config.instanceUuid,
                "cpus": vm.summary.config.numCpu, "memory": vm.summary.config.memorySizeMB,
                "note": vm.summary.config.annotation, "mark": marks.get("guestinfo.fleet.id"),
                "networks": [each.name for each in vm.network],
                "owner": [each.value for each in vm.summary.customValue],
            }  # fmt: skip
        return rows


def right(fleet: Fleet, sessions: dict[str, int] | None = None) -> None:
    """All machines are as their policy says, once each, written down and pinned; nobody is logged in any more.

    `sessions` are those of runs that were killed, which nobody ends.
    """
    assert fleet.simulator.sessions() == (sessions or {"soap": 0, "rest": 0})
    rows = machines(fleet.simulator)
    assert set(rows) == set(NAMES)
    for name, row in rows.items():
        wanted = {"folder": "web", "power": "poweredOn", "cpus": 2, "memory": 1024, "note": "kept by Photon Fleet",
                  "mark": f"photon-fleet/{name}", "owner": ["ops"]}  # fmt: skip
        assert {key: row[key] for key in wanted} == wanted
        assert fleet.record()[name]["uuid"] == row["uuid"]
    pins = fleet.pinned()
    assert sorted(line.split(",")[0] for line in pins) == sorted(NAMES)
    for line in pins:
        name, _, address = line.split()[0].partition(",")
        assert fleet.record()[name]["address"] == address
    with soap.session(fleet.simulator) as content:
        cluster = content.rootFolder.childEntity[0].hostFolder.childEntity[0]
        rules = [rule for rule in cluster.configurationEx.rule if rule.name == "web"]
        # The simulator keeps those that are gone.
        assert {row["moid"] for row in rows.values()} <= {vm._moId for vm in rules[0].vm}


def test_machines_are_made_and_the_second_run_changes_nothing(fleet) -> None:
    first = fleet.run()
    assert first.status == 0, first.err[-4000:]
    assert [first.line(name) for name in NAMES] == [f"{name}: ok; 8 changes" for name in NAMES]
    right(fleet)
    second = fleet.run("--json")
    assert '"success": 0' in second.out
    assert second.status == 0
    assert second.calls <= 20
    assert fleet.simulator.sessions() == {"soap": 0, "rest": 0}
    shown = fleet.run("--dry")
    assert shown.status == 1, "-y and --dry contradict each other"


ROLES = """
base = group("base", Ssh(root_login="prohibit-password"), Vm(
    vcenter=VC, folder="DC0/prod/roles", template="DC0/photon-5", cluster="DC0_C0", attributes={"owner": "ops"},
    annotation="x",
))
web = group("web", Vm(tags={"role": "web"}, cpus=4, apart="web"))
db = group("db", Vm(tags={"role": "db"}, memory_mib=4096, disks=[Disk(unit=1, gib=8)], apart="db"))
edge = group("edge", Vm(tags={"role": "edge"}, adapters=[Adapter(index=0, network="DC0_DVPG0")]))
_roles = {"web": (web, 9), "db": (db, 7), "edge": (edge, 4)}
hosts = fleet(*(
    host(f"{name}-{number}", base, role, **DATA)
    for name, (role, count) in _roles.items() for number in range(1, 1 + count)
))
"""


def test_twenty_machines_of_three_roles_cost_twenty_calls_at_most(simulator, tmp_path) -> None:
    names = tuple(f"{role}-{number}" for role, count in (("web", 9), ("db", 7), ("edge", 4))
                  for number in range(1, 1 + count))  # fmt: skip
    with Fleet(simulator, tmp_path, ROLES, names, "DC0/vm/prod/roles") as fleet:
        first = fleet.run()
        assert first.status == 0, first.err[-4000:]
        assert all(first.line(name).startswith(f"{name}: ok") for name in names)
        second = fleet.run("--json")
        assert (second.status, '"success": 0' in second.out) == (0, True), second.err[-4000:]
        assert second.calls <= 20
        assert fleet.simulator.sessions() == {"soap": 0, "rest": 0}
    _remove_all(simulator)


def test_only_the_machine_that_was_changed_by_hand_is_mended(fleet) -> None:
    fleet.changes()
    with soap.session(fleet.simulator) as content:
        vm = soap.find(content, "DC0/vm/prod/web/web-2")
        soap.done(vm.PowerOffVM_Task())
        soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=1, annotation="by hand")))
        keys = {each.name: each.key for each in content.customFieldsManager.field}
        content.customFieldsManager.SetField(vm, keys["owner"], "me")
        soap.done(vm.Rename_Task("web-2-old"))
    done = fleet.run()
    assert done.status == 0, done.err[-4000:]
    assert [done.line(name) for name in NAMES if name != "web-2"] == ["web-1: ok; 0 changes", "web-3: ok; 0 changes"]
    # Name, hardware, attribute and power; and the wait for its guest, when that is not up by then.
    assert done.line("web-2") in {"web-2: ok; 4 changes", "web-2: ok; 5 changes"}
    right(fleet)


@pytest.mark.parametrize("mode", ["drop", "lost", "http", "logout"])
def test_a_write_that_goes_wrong_once_is_right_after_the_next_run(fleet, mode: str) -> None:
    attach = "POST /api/cis/tagging/tag-association/ID?action=attach-tag-to-multiple-objects"
    writes = ("CreateFolder", "CloneVM_Task", "SetField", "AddCustomFieldDef", "ReconfigureComputeResource_Task",
              "PowerOnVM_Task", attach)  # fmt: skip
    for write in writes:
        fleet.simulator.fault(write, mode)
    fleet.run()
    fleet.simulator.clear_faults()
    done = fleet.run()
    assert done.status == 0, done.err[-4000:]
    right(fleet)


@pytest.mark.parametrize(("method", "fault"), [("CloneVM_Task", "NoDiskSpace"), ("PowerOnVM_Task", "NoPermission"),
                                               ("ReconfigureComputeResource_Task", "NoPermission")])  # fmt: skip
def test_a_task_that_fails_is_that_hosts_and_the_others_finish(fleet, method: str, fault: str) -> None:
    fleet.simulator.fault(method, "task", fault)
    done = fleet.run()
    assert done.status == 1
    states = sorted(done.line(name).partition("; ")[0].partition(": ")[2] for name in NAMES)
    assert states == ["FAILED", "ok", "ok"], done.err[-4000:]
    assert fault in done.err
    assert fleet.run().status == 0
    right(fleet)


def test_a_name_that_is_somebody_elses_is_left_alone(fleet) -> None:
    with soap.session(fleet.simulator) as content:
        folder = content.rootFolder.childEntity[0].vmFolder
        for name in ("prod", "web"):
            found = content.searchIndex.FindChild(folder, name)
            folder = found if found is not None else folder.CreateFolder(name)
        template = soap.find(content, "DC0/vm/photon-5")
        pool = content.rootFolder.childEntity[0].hostFolder.childEntity[0].resourcePool
        spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=pool), powerOn=False, template=False)
        soap.done(template.CloneVM_Task(folder, "web-2", spec))
    before = machines(fleet.simulator)["web-2"]
    done = fleet.run()
    assert done.status == 1
    assert "DC0/prod/web/web-2 is there and is not web-2's: it bears no mark of ours. Nothing is done to it" in done.err
    assert done.line("web-1") == "web-1: ok; 8 changes"
    assert machines(fleet.simulator)["web-2"] == before
    assert "web-2" not in fleet.record()


def test_killed_at_any_moment_the_next_run_ends_right(fleet) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - a die
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311 - a die
    for _ in range(4):
        process = fleet.start()
        time.sleep(dice.uniform(0.2, 4))
        process.send_signal(signal.SIGKILL)
        process.communicate(60)
    left = fleet.simulator.sessions()
    done = fleet.run()
    assert done.status == 0, done.err[-4000:]
    right(fleet, left)
    fleet.simulator.kill_sessions()


def test_what_needs_the_power_off_is_refused_or_done_as_the_policy_says(fleet) -> None:
    fleet.changes()
    fleet.body = BODY.replace("cpus=2", "cpus=1")
    done = fleet.run("--limit", "web-1")
    assert done.status == 1
    assert "the CPUs cannot be changed while the machine runs. Say may_cycle_power=True" in done.err
    fleet.body = BODY.replace("cpus=2", "cpus=1, may_cycle_power=True")
    assert fleet.changes("--limit", "web-1") == 3
    row = machines(fleet.simulator)["web-1"]
    assert (row["cpus"], row["power"]) == (1, "poweredOn")


@pytest.mark.parametrize(
    ("guest", "words"),
    [
        (
            {"question": "Did you move it or copy it?"},
            "waits for an answer, on its console in the vCenter: Did you move",
        ),
        ({"tools": False}, "VMware Tools do not run in it"),
        ({"addresses": ["169.254.1.2", "fe80::1"]}, "it has no IPv4 address; it has 169.254.1.2"),
        ({"guestinfo": {"guestinfo.fleet.failed": "sshd does not start"}}, "failed, as its guest says: sshd does not"),
    ],
)
def test_a_guest_that_does_not_come_is_said_and_the_others_finish(fleet, guest: dict[str, Any], words: str) -> None:
    fleet.changes()
    fleet.guests = False
    (fleet.place / "known_hosts").unlink()
    path = "DC0/vm/prod/web/web-2"
    fleet.simulator.guest(path, **guest)
    try:
        done = fleet.run("--data", "seconds=3")
        assert done.status == 1
        assert words in done.err, done.err[-4000:]
        assert done.line("web-2").startswith("web-2: FAILED")
        assert done.line("web-3") == "web-3: ok; 1 change"
    finally:
        fleet.simulator.guest(path, question="", tools=None, addresses=None,
                              guestinfo={"guestinfo.fleet.failed": ""})  # fmt: skip
