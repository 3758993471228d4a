"""Waiting for updates at the simulator: versions, lost answers, pages of updates, and what is left behind."""

from __future__ import annotations

import http.client
import threading
import time
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from tests.lab import vcenter
from tests.vsphere import soap

KINDS = vmodl.query.PropertyCollector


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=4)


@pytest.fixture
def content(simulator: vcenter.VCenter) -> Any:
    with soap.session(simulator) as content:
        yield content


@pytest.fixture
def vms(content: Any) -> list[Any]:
    return [vm for vm in soap.find(content, "DC0/vm").childEntity if vm.name.startswith("DC0_C0")]


def collector_of(content: Any, objects: list[Any], paths: list[str]) -> Any:
    collector = content.propertyCollector.CreatePropertyCollector()
    spec = KINDS.FilterSpec(
        objectSet=[KINDS.ObjectSpec(obj=each) for each in objects],
        propSet=[KINDS.PropertySpec(type=vim.VirtualMachine, pathSet=paths)],
    )
    collector.CreateFilter(spec, partialUpdates=False)
    return collector


def wait(collector: Any, version: str, seconds: int = 10, most: int | None = None) -> Any:
    return collector.WaitForUpdatesEx(version, KINDS.WaitOptions(maxWaitSeconds=seconds, maxObjectUpdates=most))


def told(update: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        each.obj._moId: (each.kind, {change.name: change.val for change in each.changeSet})
        for one in update.filterSet for each in one.objectSet
    }  # fmt: skip


def annotate(vm: Any, text: str) -> None:
    soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation=text)))


def test_an_update_tells_what_changed_and_nothing_else(content: Any, vms: list[Any]) -> None:
    annotate(vms[0], "a")
    collector = collector_of(content, vms[:2], ["config.annotation", "name"])
    first = wait(collector, "")
    assert told(first)[vms[0]._moId] == ("enter", {"config.annotation": "a", "name": vms[0].name})
    assert wait(collector, first.version, 0) is None
    annotate(vms[2], "of another")
    annotate(vms[0], "b")
    second = wait(collector, first.version)
    assert told(second) == {vms[0]._moId: ("modify", {"config.annotation": "b"})}
    # An answer that got lost: asking again from the version before tells it again.
    assert told(wait(collector, first.version, 0)) == told(second)
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        wait(collector, "77")
    collector.Destroy()


def test_a_wait_ends_when_it_is_cancelled_or_the_session_is_gone(
    simulator: vcenter.VCenter, content: Any, vms: list[Any]
) -> None:
    collector = collector_of(content, vms, ["name"])
    version = wait(collector, "").version
    for end, fault in [
        (collector.CancelWaitForUpdates, vmodl.fault.RequestCanceled),
        (simulator.kill_sessions, vim.fault.NotAuthenticated),
    ]:
        timer = threading.Timer(0.3, end)
        timer.start()
        with pytest.raises(fault):
            wait(collector, version, 60)
        timer.join()


def test_updates_come_in_pages(content: Any, vms: list[Any]) -> None:
    collector = collector_of(content, vms, ["name"])
    seen: list[str] = []
    version, truncated = "", True
    while truncated:
        update = wait(collector, version, 0, most=3)
        seen += told(update)
        version, truncated = update.version, update.truncated
    assert seen == [vm._moId for vm in vms]


def test_an_object_that_goes_leaves(content: Any, vms: list[Any]) -> None:
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
    vm = soap.done(vms[0].CloneVM_Task(soap.find(content, "DC0/vm"), "short", spec))
    collector = collector_of(content, [vm], ["name"])
    version = wait(collector, "").version
    soap.done(vm.Destroy_Task())
    assert told(wait(collector, version)) == {vm._moId: ("leave", {})}


def test_a_filter_is_checked(content: Any, vms: list[Any]) -> None:
    with pytest.raises(vmodl.query.InvalidProperty):
        collector_of(content, vms, ["nothing"])
    gone = vim.VirtualMachine("vm-99999", content.sessionManager._stub)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        collector_of(content, [gone], ["name"])


def test_a_lost_answer_of_a_wait(simulator: vcenter.VCenter, content: Any, vms: list[Any]) -> None:
    collector = collector_of(content, vms[:1], ["config.annotation"])
    version = wait(collector, "").version
    annotate(vms[0], "told twice")
    simulator.fault("WaitForUpdatesEx", "lost")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        wait(collector, version)
    assert told(wait(collector, version)) == {vms[0]._moId: ("modify", {"config.annotation": "told twice"})}


def test_pyvmomis_own_wait_works(simulators: Any) -> None:
    with soap.session(simulators(vms=1, task=0.2)) as content:
        vm = soap.find(content, "DC0/vm/DC0_C0_RP0_VM0")
        assert WaitForTask(vm.PowerOffVM_Task()) == "success"
        with pytest.raises(vim.fault.InvalidPowerState):
            WaitForTask(vm.PowerOffVM_Task())


def test_what_is_not_destroyed_is_counted(simulator: vcenter.VCenter, content: Any, vms: list[Any]) -> None:
    nothing = {"views": 0, "collectors": 0, "filters": 0}
    assert simulator.leaks() == nothing
    with soap.session(simulator) as other:
        view = other.viewManager.CreateContainerView(other.rootFolder, [vim.VirtualMachine], True)
        collector = collector_of(other, [soap.find(other, "DC0/vm/DC0_C0_RP0_VM0")], ["name"])
        other.viewManager.CreateListView([])
        assert simulator.leaks() == {"views": 2, "collectors": 1, "filters": 1}
        view.Destroy()
        collector.Destroy()
        assert simulator.leaks() == {**nothing, "views": 1}
    assert simulator.leaks() == nothing


def test_many_tasks_at_once_do_not_take_long(simulators: Any) -> None:
    count, seconds = 60, 0.5
    with soap.session(simulators(vms=1, task=seconds)) as content:
        vm, folder = soap.find(content, "DC0/vm/DC0_C0_RP0_VM0"), soap.find(content, "DC0/vm")
        spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=True, template=False)
        tasks = [vm.CloneVM_Task(folder, f"vm-{number}", spec) for number in range(count)]
        collector = content.propertyCollector.CreatePropertyCollector()
        collector.CreateFilter(
            KINDS.FilterSpec(
                objectSet=[KINDS.ObjectSpec(obj=task) for task in tasks],
                propSet=[KINDS.PropertySpec(type=vim.Task, pathSet=["info.state"])],
            ),
            partialUpdates=False,
        )
        begin, version, states = time.monotonic(), "", {}
        while list(states.values()).count("success") < count:
            update = wait(collector, version, 30)
            assert update is not None
            version = update.version
            states.update({key: changes["info.state"] for key, (_, changes) in told(update).items()})
        assert time.monotonic() - begin < count * seconds
