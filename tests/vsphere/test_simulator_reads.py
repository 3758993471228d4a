"""How the simulator answers reads: pages, unset and unknown properties, as a vCenter does."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab import vcenter
from tests.vsphere import soap

VMS = 23


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=VMS)


@pytest.fixture
def content(simulator: vcenter.VCenter) -> Any:
    with soap.session(simulator) as content:
        simulator.reset_stats()
        yield content


def retrieve(content: Any, paths: list[str], size: int | None) -> Any:
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    collector = vmodl.query.PropertyCollector
    traverse = collector.TraversalSpec(name="all", path="view", skip=False, type=vim.view.ContainerView)
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[traverse])],
        propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=paths)],
    )
    try:
        return content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions(maxObjects=size))
    finally:
        view.Destroy()


def names(content: Any, size: int | None) -> tuple[list[str], int]:
    """The names of all VMs, and in how many pages they came."""
    page, count = retrieve(content, ["name"], size), 1
    found = [each.propSet[0].val for each in page.objects]
    while page.token:
        page, count = content.propertyCollector.ContinueRetrievePropertiesEx(page.token), count + 1
        found += [each.propSet[0].val for each in page.objects]
    return found, count


@pytest.mark.parametrize(("size", "pages"), [(None, 1), (1, VMS), (7, 4), (VMS - 1, 2), (VMS, 1), (1000, 1)])
def test_pages(simulator: vcenter.VCenter, content: Any, size: int | None, pages: int) -> None:
    found, count = names(content, size)
    assert (len(found), len(set(found)), count) == (VMS, VMS, pages)
    assert simulator.calls("ContinueRetrievePropertiesEx") == pages - 1


def test_the_vcenter_may_page_where_nobody_asked(simulators: Any) -> None:
    with soap.session(simulators(vms=5, page=2)) as content:
        assert names(content, None)[1] == 3
        assert names(content, 1)[1] == 5


def test_a_token_is_good_once_and_for_its_session(simulator: vcenter.VCenter, content: Any) -> None:
    collector = content.propertyCollector
    token = retrieve(content, ["name"], 10).token
    with soap.session(simulator) as other, pytest.raises(vmodl.fault.InvalidArgument):
        other.propertyCollector.ContinueRetrievePropertiesEx(token)
    assert len(collector.ContinueRetrievePropertiesEx(token).objects) == 10
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ContinueRetrievePropertiesEx(token)
    token = retrieve(content, ["name"], 10).token
    collector.CancelRetrievePropertiesEx(token)
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ContinueRetrievePropertiesEx(token)


def test_an_unknown_property_is_a_fault(content: Any) -> None:
    with pytest.raises(vmodl.query.InvalidProperty) as caught:
        retrieve(content, ["name", "config.nothing"], None)
    assert caught.value.name == "config.nothing"


def test_settings_are_read_by_their_keys(content: Any) -> None:
    vm = soap.find(content, "DC0/vm/DC0_C0_RP0_VM1")
    options = [vim.option.OptionValue(key="guestinfo.a.b", value="<x> & y"), vim.option.OptionValue(key="o", value="p")]
    soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=options)))
    paths = ['config.extraConfig["guestinfo.a.b"].value', 'config.extraConfig["o"]', "name"]
    found = {each.obj: {one.name: one.val for one in each.propSet} for each in retrieve(content, paths, None).objects}
    assert len(found) == VMS
    mine = found.pop(vm)
    assert (mine[paths[0]], mine[paths[1]].key, mine[paths[1]].value) == ("<x> & y", "o", "p")
    assert {tuple(values) for values in found.values()} == {("name",)}
    both = [*paths[:1], "config.extraConfig"]
    assert {len(each.propSet) for each in retrieve(content, both, None).objects} == {1, 2}


def test_what_has_no_value_is_left_out_or_none(content: Any) -> None:
    assert {each.propSet[0].name for each in retrieve(content, ["name", "snapshot"], None).objects} == {"name"}
    vm = soap.find(content, "DC0/vm/DC0_C0_RP0_VM0")
    assert vm.snapshot is None
    soap.done(vm.PowerOffVM_Task())
    vm.MarkAsTemplate()
    assert vm.resourcePool is None


def test_reads_need_a_session(simulator: vcenter.VCenter) -> None:
    content = vim.ServiceInstance("ServiceInstance", soap.stub(simulator)).RetrieveContent()
    assert content.sessionManager.currentSession is None
    with pytest.raises(vim.fault.NotAuthenticated):
        content.rootFolder.childEntity  # noqa: B018 - the reading is the call
    with soap.session(simulator) as other:
        view = other.viewManager.CreateContainerView(other.rootFolder, [vim.VirtualMachine], True)
        collector = vmodl.query.PropertyCollector
        spec = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=view)], propSet=[collector.PropertySpec(type=vim.view.View, all=True)]
        )
        with pytest.raises(vim.fault.NotAuthenticated):
            content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
