"""Snapshots: whose they are, how old they may be; taken, gone back to and removed against the simulator."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import OperationError
from pyVmomi import vim

from deploys.rollout import ONLY, RESULT
from deploys.rollout.model import Verdict
from deploys.rollout.results import read_results
from deploys.vsphere import looks
from deploys.vsphere.crew import Crew
from deploys.vsphere.errors import VSphereError
from facts.vm import Snapshot
from operations._vm_snapshots_plan import description, forgotten, name_problem, of_name, ours, overdue, the_one
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import PASSWORD, Fleet, settings

MARK = "photon-fleet/web-1"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SNAPSHOT, REVERT = "deploys/fixes/vm_snapshot.py", "deploys/fixes/vm_revert.py"
BODY = """
web = group("web", Vm(
    vcenter=VC, folder="DC0/prod/web", template="DC0/photon-5", cluster="DC0_C0", annotation="x", may_cycle_power=True
))
hosts = fleet(host("web-1", web, **DATA))
"""


def snapshot(name: str = "before", ident: str = "1", hours: int = 24, age: float = 1, mark: str = MARK) -> Snapshot:
    text = description(mark, name, ident, hours, {"by": "ann@desk", "why": "ticket 1", "run": "r"})
    at = (NOW - timedelta(hours=age)).isoformat()
    return Snapshot(moid=f"snapshot-{ident}", name=f"{name}.{ident}", description=text, at=at)


def by_others(age: float = 1, text: str = "nightly") -> Snapshot:
    at = (NOW - timedelta(hours=age)).isoformat()
    return Snapshot(moid="snapshot-9", name="backup", description=text, at=at)


@pytest.mark.parametrize("text", ["", "nightly", "[1]", "null", '{"photon-fleet": "photon-fleet/web-1"}', '{"id": 1}'])
def test_what_others_write_is_not_taken_for_ours(text: str) -> None:
    assert ours(by_others(text=text), MARK) is None


def test_ours_is_of_this_machine_and_one_line() -> None:
    found = ours(snapshot(), MARK)
    assert found is not None
    assert (found.full_name, found.by, found.why, found.until) == (
        "before.1",
        "ann@desk",
        "ticket 1",
        NOW + timedelta(hours=23),
    )
    assert ours(snapshot(mark="photon-fleet/web-10"), MARK) is None
    assert "\n" not in snapshot()["description"]


def test_a_name_of_several_needs_an_id() -> None:
    there = [snapshot(ident="1"), snapshot(ident="2", age=2), by_others()]
    assert [each.ident for each in of_name(there, MARK, "before")] == ["2", "1"]
    assert the_one(there, MARK, "before.2").moid == "snapshot-2"
    with pytest.raises(OperationError, match=r"2 snapshots are called before: say which, before\.2 or before\.1"):
        the_one(there, MARK, "before")
    with pytest.raises(OperationError, match=r"no snapshot backup of ours.*of others.*backup"):
        the_one(there, MARK, "backup")


def test_ages() -> None:
    there = [snapshot(ident="1", age=25), snapshot(ident="2", age=23), by_others(age=8 * 24)]
    assert [each.ident for each in overdue(there, MARK, NOW)] == ["1"]
    assert list(forgotten(there, MARK, NOW)) == ["the snapshot 'backup' is not ours, and 8 days old: it is left alone"]
    assert list(forgotten([by_others(age=6 * 24), snapshot(age=900)], MARK, NOW)) == []


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "x" * 61, "a\nb"])
def test_what_is_no_name(name: str) -> None:
    assert name_problem(name)
    assert name_problem("before-patch_1.2") is None


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=1, template="photon-5", boot=0.2)


@pytest.fixture
def crew(simulator, monkeypatch) -> Any:
    monkeypatch.setenv(PASSWORD, simulator.password)
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.05)
    simulator.clear_faults()
    made = Crew(settings(simulator), {})
    yield made
    made.session.close()


def tree(vm: Any) -> list[str]:
    def below(nodes: Any) -> list[str]:
        return [name for node in nodes for name in (node.name, *below(node.childSnapshotList))]

    return below(vm.snapshot.rootSnapshotList) if vm.snapshot is not None else []


@pytest.mark.parametrize("mode", ["drop", "lost", "http"])
def test_whatever_answer_is_lost_there_is_one_and_then_none(simulator, crew, mode: str) -> None:
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm").childEntity[0]
        moid, before = vm._moId, vm.config.hardware.memoryMB
        for method in ("CreateSnapshot_Task", "RevertToSnapshot_Task", "RemoveSnapshot_Task"):
            simulator.fault(method, mode)
        retried(lambda: crew.snapshots.take(moid, "a.1", "x"), lambda: "a.1" not in tree(vm))
        assert tree(vm) == ["a.1"]
        ident = vm.snapshot.rootSnapshotList[0].snapshot._moId
        crew.hands.power_off(moid, "off")
        soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(memoryMB=before + 64)))
        crew.hands.power_on(moid, "on")
        retried(lambda: crew.snapshots.revert(moid, ident, "it"), lambda: vm.config.hardware.memoryMB != before)
        assert (vm.config.hardware.memoryMB, vm.runtime.powerState) == (before, "poweredOff")
        retried(lambda: crew.snapshots.remove(moid, ident, "it"), lambda: tree(vm) != [])
        assert tree(vm) == []
        # It is gone, as it is to be.
        crew.snapshots.remove(moid, ident, "it")


def retried(do: Any, is_undone: Any) -> None:
    """Do it; where it fails it was not carried out, and is carried out the second time."""
    try:
        do()
    except VSphereError:
        assert is_undone()
        do()


def test_each_ends_in_a_session_of_its_own(simulator, crew) -> None:
    def there() -> tuple[str, list[str], str]:
        with soap.session(simulator) as content:
            vm = soap.find(content, "DC0/vm").childEntity[0]
            ident = vm.snapshot.rootSnapshotList[0].snapshot._moId if vm.snapshot is not None else ""
            return vm._moId, tree(vm), ident

    moid, before, _ = there()
    assert before == []
    simulator.kill_sessions()
    crew.snapshots.take(moid, "a.1", "x")
    _, names, ident = there()
    assert names == ["a.1"]
    for do in (crew.snapshots.revert, crew.snapshots.remove):
        simulator.kill_sessions()
        do(moid, ident, "it")
    assert there()[1] == []


def test_a_refusal_is_told(simulator, crew) -> None:
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm").childEntity[0]
        moid = vm._moId
        for method in ("CreateSnapshot_Task", "RevertToSnapshot_Task", "RemoveSnapshot_Task"):
            simulator.fault(method, "task", "NoDiskSpace")
        with pytest.raises(VSphereError, match=r"the snapshot a\.1: .*NoDiskSpace"):
            crew.snapshots.take(moid, "a.1", "x")
        crew.snapshots.take(moid, "a.1", "x")
        ident = vm.snapshot.rootSnapshotList[0].snapshot._moId
        with pytest.raises(VSphereError, match=r"going back to it: .*NoDiskSpace"):
            crew.snapshots.revert(moid, ident, "it")
        with pytest.raises(VSphereError, match=r"removing it: .*NoDiskSpace"):
            crew.snapshots.remove(moid, ident, "it")
        assert tree(vm) == ["a.1"]
        crew.snapshots.remove(moid, ident, "it")


def test_the_fixes_from_taking_to_forgetting(simulator, crew, tmp_path: Path, monkeypatch) -> None:
    why = ("--data", "why=ticket 1")
    # As a rollout that has machines snapshotted, and goes on by what is said of each.
    said_of_hosts = tmp_path / "said"
    monkeypatch.setenv(RESULT, str(said_of_hosts))
    monkeypatch.setenv(ONLY, "web-1")
    with Fleet(simulator, tmp_path, BODY, names=("web-1",)) as fleet, soap.session(simulator) as content:
        assert fleet.run().status == 0
        pinned = fleet.pinned()
        vm = soap.find(content, "DC0/vm/prod/web/web-1")
        for changes in (1, 0):
            done = fleet.run("--data", "name=before", *why, deploy=SNAPSHOT)
            assert done.line("web-1") == f"web-1: ok; {changes} change{'' if changes == 1 else 's'}", done.err
            assert read_results(said_of_hosts)["web-1"].verdict is Verdict.OK
        assert fleet.run("--data", "name=a/b", *why, deploy=SNAPSHOT).status == 1
        refused = read_results(said_of_hosts)["web-1"]
        assert (refused.verdict, "a/b" in refused.words) == (Verdict.FAILED, True)
        (name,) = tree(vm)
        said = json.loads(vm.snapshot.rootSnapshotList[0].description)
        assert {key: said[key] for key in ("photon-fleet", "name", "hours", "why")} == {
            "photon-fleet": MARK, "name": "before", "hours": 24, "why": "ticket 1"
        }  # fmt: skip
        assert name == f"before.{said['id']}"
        soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="spoiled")))
        done = fleet.run("--data", "name=before", *why, deploy=REVERT)
        assert done.line("web-1").startswith("web-1: ok"), done.err
        assert (vm.config.annotation, vm.runtime.powerState) == ("x", "poweredOn")
        assert fleet.pinned() == pinned
        # Older than it may be as soon as it is there, and one of others of the same name.
        soap.done(vm.CreateSnapshot_Task("late.1", description(MARK, "late", "1", 0, {}), False, False))
        soap.done(vm.CreateSnapshot_Task("late", "by hand", False, False))
        done = fleet.run()
        assert done.line("web-1") == "web-1: ok; 0 changes"
        assert "--data expired=true removes it" in done.err
        done = fleet.run("--data", "expired=true")
        assert done.line("web-1") == "web-1: ok; 1 change", done.err
        assert tree(vm) == [name, "late"]
    assert simulator.sessions() == {"soap": 0, "rest": 0}
