"""Names that people give: with slashes, percent signs, spaces, other letters, as long as a vCenter takes them."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from deploys.vsphere import inventory
from deploys.vsphere import session as sessions
from deploys.vsphere.rows import coded, shown
from inventories._vsphere import Where, hosts_of
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import PASSWORD, Fleet, settings

FOLDERS = ["50% a%2fb", "Prüf ☃ %252f"]
"""Two steps of a path, as a policy has them: a slash and a percent sign that are part of a name are coded."""
TEMPLATE, NETWORK, DATASTORE = "photon 5.0 a/b", "net 100% a/b ü", "ssd 1 ü"
LABELS = ("50% a%2fb", "ünï cöde ☃", "x" * 80, "%252f", "same", "same")
TAG, ATTRIBUTE = "rolle/ä 1%", "owner/ü %2f"

BODY = f"""
def machine(number, label, folder):
    policy = Vm(vcenter=VC, folder=folder, template="DC0/photon 5.0 a%2fb", cluster="DC0_C0", annotation="% /",
                datastore={DATASTORE!r}, adapters=[Adapter(index=0, network={NETWORK!r})], label=label, power="off",
                disks=[Disk(unit=1, gib=1, datastore={DATASTORE!r})], apart="apart / %",
                tags={{{TAG!r}: {TAG!r}}}, attributes={{{ATTRIBUTE!r}: {ATTRIBUTE!r}}})
    return host(f"host-{{number}}", Ssh(root_login="prohibit-password"), policy, **DATA)

TOP = "DC0/{"/".join(FOLDERS)}"
hosts = fleet(*(
    machine(number, label, TOP if number < 5 else f"{{TOP}}/other") for number, label in enumerate({LABELS!r})
))
"""
HOSTS = tuple(f"host-{number}" for number in range(len(LABELS)))


@pytest.fixture(scope="module")
def simulator(simulators: Any, tmp_path_factory) -> vcenter.VCenter:
    made = simulators(vms=1, template="photon")
    with soap.session(made) as content:
        soap.done(soap.find(content, "DC0/vm/photon").Rename_Task(TEMPLATE))
        group = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=coded(NETWORK), type="earlyBinding", numPorts=8)
        soap.done(soap.find(content, "DC0/network/DVS0").AddDVPortgroup_Task([group]))
        place = str(tmp_path_factory.mktemp("datastore"))
        for esxi in soap.find(content, "DC0/host/DC0_C0").host:
            esxi.configManager.datastoreSystem.CreateLocalDatastore(DATASTORE, place)
    return made


@pytest.fixture
def found(simulator, monkeypatch, tmp_path) -> Any:
    monkeypatch.setenv(PASSWORD, simulator.password)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fleet = Fleet(simulator, tmp_path, BODY, guests=False)
    done = fleet.run()
    assert done.status == 0, done.err[-4000:]
    yield fleet
    sessions.close_all()


def test_they_are_made_found_again_and_proved(simulator, found: Fleet) -> None:
    assert found.changes() == 0
    rows = {vm.path: vm for vm in inventory.read(settings(simulator)).vms}
    top = "/".join(["DC0", *(coded(shown(step)) for step in FOLDERS)])
    ours = {path: vm for path, vm in rows.items() if path.startswith(f"{top}/")}
    assert sorted(ours) == sorted([*(f"{top}/{coded(shown(label))}" for label in LABELS[:5]), f"{top}/other/same"])
    for vm in ours.values():
        assert vm.tags == {TAG: (TAG,)}
        assert vm.attributes == {ATTRIBUTE: ATTRIBUTE}
    with soap.session(simulator) as content:
        there = content.searchIndex.FindByInventoryPath(f"DC0/vm/{top.partition('/')[2]}/{coded('50% a/b')}")
        assert isinstance(there, vim.VirtualMachine)
        assert [each.name for each in there.network] == [coded(NETWORK)]
        assert {each.name for each in there.datastore} == {DATASTORE}


@pytest.mark.parametrize("folder", ["DC0/" + "/".join(FOLDERS), "DC0/50%25 a%2fb/Prüf ☃ %252f/"])
def test_a_folder_is_asked_for_as_a_policy_has_it(simulator, found: Fleet, folder: str) -> None:
    hosts = hosts_of(inventory.read(settings(simulator)).vms, where=Where(folder=folder))
    assert [each.name for each in hosts] == [
        "%252f", "50%25%20a%2Fb", "same.Prüf%20☃%20%252f.50%25%20a%2Fb.DC0", "x" * 80, "ünï%20cöde%20☃",
        "same.other.Prüf%20☃%20%252f.50%25%20a%2Fb.DC0",
    ]  # fmt: skip


def test_a_template_that_is_changed_under_us_changes_no_machine(simulator, found: Fleet) -> None:
    with soap.session(simulator) as content:
        template = soap.find(content, f"DC0/vm/{coded(TEMPLATE)}")
        template.MarkAsVirtualMachine(soap.find(content, "DC0/host/DC0_C0/Resources"))
        soap.done(template.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=4, memoryMB=8192, annotation="another")))
        template.MarkAsTemplate()
        try:
            assert found.changes() == 0
            soap.done(template.Rename_Task("photon 5.1"))
            # It is needed for those alone that are not there.
            steps = "/".join(map(coded, ("50% a/b", "Prüf ☃ %2f", "50% a/b")))
            soap.done(soap.find(content, f"DC0/vm/{steps}").Destroy_Task())
            done = found.run()
            assert done.line("host-0").startswith("host-0: FAILED")
            assert "there is no template 'DC0/photon 5.0 a%2fb' that the user may see" in done.err
            assert [done.line(name) for name in HOSTS[1:]] == [f"{name}: ok; 0 changes" for name in HOSTS[1:]]
        finally:
            soap.done(template.Rename_Task(TEMPLATE))
