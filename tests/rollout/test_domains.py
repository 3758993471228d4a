"""Failure domains by what a vCenter says of machines: an inventory to waves, in a process of its own as rollouts do."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.refusal import Refusal
from deploys.rollout.members import members
from deploys.rollout.waves import Step, waves

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = """
from deploys.policies.files import File, Files
from deploys.rollout.settings import Rollout
from deploys.vsphere.rows import Vm
from inventories._fleet import fleet, host
from inventories._vsphere import hosts_of

_some = [
    Vm(f"vm-{number}", f"web-{number}", ("DC0",), host=f"esx-{number % 2}", datastores=("ds-1",)[number < 3:])
    for number in range(4)
]
_files = Files(files=[File(path="/etc/motd", content="x")])
hosts = fleet(*hosts_of(_some, _files), *[HOSTS])
rollout = Rollout(domains=[DOMAINS])
"""


def inventory(tmp_path: Path, domains: str, more: str = "") -> str:
    path = tmp_path / "prod.py"
    path.write_text(INVENTORY.replace("DOMAINS", domains).replace("HOSTS", more))
    return str(path)


def test_machines_of_one_esxi_host_are_in_different_waves(tmp_path) -> None:
    found = members(ROOT, inventory(tmp_path, '"esxi", "datastore"'), ())
    assert {each.name: sorted(each.domains) for each in found.hosts} == {
        "web-0": ["esxi:esx-0"], "web-1": ["esxi:esx-1"], "web-2": ["esxi:esx-0"],
        "web-3": ["datastore:ds-1", "esxi:esx-1"],
    }  # fmt: skip
    made = waves(found.hosts, [Step(rest=True)], "c0ffee")
    assert [len(wave.hosts) for wave in made] == [2, 2]
    assert all({int(name[-1]) % 2 for name in wave.hosts} == {0, 1} for wave in made)


def test_they_are_not_asked_for_unless_it_is_said(tmp_path) -> None:
    found = members(ROOT, inventory(tmp_path, '"rule"', 'host("other", _files)'), ())
    assert {each.domains for each in found.hosts} == {frozenset()}


def test_a_host_whose_machine_nobody_knows_is_refused(tmp_path) -> None:
    with pytest.raises(Refusal, match="other: no machine of a vCenter is known for it"):
        members(ROOT, inventory(tmp_path, '"esxi"', 'host("other", _files)'), ())
