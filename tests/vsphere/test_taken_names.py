"""Names that are taken, by others and by ours, before and in the very moment in which a run wants them."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from deploys.vsphere import looks
from deploys.vsphere.crew import Crew
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.hands import Clone
from deploys.vsphere.rest import Rest
from deploys.vsphere.tags import Given, tags_of
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import PASSWORD, settings

MARK = "photon-fleet/web-1"


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=0, template="photon-5")


@pytest.fixture
def crew(simulator, monkeypatch) -> Any:
    monkeypatch.setenv(PASSWORD, simulator.password)
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.02)
    simulator.clear_faults()
    made = Crew(settings(simulator), {})
    assert made.places
    yield made
    made.session.close()


@pytest.fixture
def content(simulator) -> Any:
    with soap.session(simulator) as found:
        yield found


def wanted(folder: str, label: str, mark: str = MARK) -> Clone:
    return Clone(folder=folder, label=label, template="DC0/photon-5", mark=mark, cluster="DC0_C0")


def machine(crew: Crew, folder: str, label: str, mark: str = MARK) -> str:
    return crew.hands.clone(crew.places, crew.folder(folder), wanted(folder, label, mark))


def names(content: Any, folder: str) -> list[str]:
    return sorted(each.name for each in soap.find(content, f"DC0/vm/{folder}").childEntity)


def test_a_folder_that_somebody_makes_meanwhile_is_as_good(crew, content) -> None:
    made = soap.find(content, "DC0/vm").CreateFolder("both")
    found = crew.folder("DC0/both/below")
    assert found._moId == made.childEntity[0]._moId
    assert [each.name for each in soap.find(content, "DC0/vm").childEntity].count("both") == 1


def test_a_folder_whose_name_a_machine_has_is_refused(crew, content) -> None:
    machine(crew, "DC0", "machine")
    with pytest.raises(VSphereError, match="'machine' is no folder of machines, and its name is taken"):
        crew.folder("DC0/machine/below")


def test_a_clone_that_is_there_is_ours_by_its_mark_alone(crew, content) -> None:
    moid = machine(crew, "DC0/clones", "web-1")
    assert machine(crew, "DC0/clones", "web-1") == moid
    with pytest.raises(VSphereError, match="DC0/clones/web-1 is there already, and is not ours"):
        machine(crew, "DC0/clones", "web-1", "photon-fleet/web-2")
    assert names(content, "clones") == ["web-1"]


def test_a_name_that_others_have_is_not_taken_from_them(crew, content) -> None:
    moid = machine(crew, "DC0/renamed", "old")
    other = machine(crew, "DC0/renamed", "new", "another/new")
    with pytest.raises(VSphereError, match=r"the renaming: .*(DuplicateName|InvalidArgument)"):
        crew.hands.rename(moid, "new", "the renaming")
    assert names(content, "renamed") == ["new", "old"]
    crew.hands.destroy(other, "the other one")
    crew.hands.rename(moid, "new", "the renaming")
    assert names(content, "renamed") == ["new"]


def test_a_machine_is_not_moved_beside_one_of_its_name(crew, content) -> None:
    moid = machine(crew, "DC0/from", "web-1")
    other = machine(crew, "DC0/into", "web-1", "another/web-1")
    with pytest.raises(VSphereError, match=r"the move: .*DuplicateName"):
        crew.hands.move(moid, crew.folder("DC0/into"), "the move")
    assert (names(content, "from"), names(content, "into")) == (["web-1"], ["web-1"])
    crew.hands.destroy(other, "the other one")
    crew.hands.move(moid, crew.folder("DC0/into"), "the move")
    assert names(content, "from") == []


def test_an_attribute_that_somebody_defines_meanwhile_is_as_good(crew, content) -> None:
    moid = machine(crew, "DC0/attributes", "web-1")
    made = content.customFieldsManager.AddFieldDefinition("meanwhile", vim.VirtualMachine)
    crew.set_attributes(moid, {"meanwhile": "x"})
    (value,) = soap.find(content, "DC0/vm/attributes/web-1").customValue
    assert (value.key, value.value) == (made.key, "x")


def test_tags_that_another_run_makes_meanwhile_are_as_good(simulator, crew) -> None:
    moid = machine(crew, "DC0/tags", "web-1")
    ours = Given(crew.rest)
    ours.give(moid, {"first": "a"}, {})
    theirs = Given(Rest(crew.session))
    theirs.give(moid, {"first": "b", "second": "a"}, {"first": ["a"]})
    ours.give(moid, {"first": "b", "second": "a"}, {"first": ["b"], "second": ["a"]})
    ours.give(moid, {"second": "b"}, {"second": ["a"]})
    assert tags_of(crew.rest, [moid]) == {moid: {"first": ("b",), "second": ("b",)}}


def test_a_tag_that_cannot_be_attached_says_why(crew) -> None:
    moid = machine(crew, "DC0/tags", "web-2")
    about = {"name": "of-stores", "description": "", "cardinality": "SINGLE", "associable_types": ["Datastore"]}
    crew.rest.post("category", body=about, envelope="create_spec")
    with pytest.raises(VSphereError, match="the tag cannot be attached: of-stores is not for objects of type Virtual"):
        crew.tags.give(moid, {"of-stores": "a"}, {})
