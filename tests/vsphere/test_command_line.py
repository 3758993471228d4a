"""`@vsphere` on the command line: machines of a vCenter without an inventory file, also when the vCenter is down."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests import warm
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import PYINFRA, ROOT

READS = {
    "GET /sdk/vimServiceVersions.xml", "RetrieveServiceContent", "Login", "Logout", "CreateContainerView",
    "DestroyView", "RetrievePropertiesEx", "Fetch", "POST /api/session", "DELETE /api/session",
    "POST /api/cis/tagging/tag-association?action=list-attached-tags-on-objects",
}  # fmt: skip
"""Calls for which a user needs no more than to see what is there."""


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    made = simulators(vms=3, boot=0.1)
    with soap.session(made) as content:
        top = soap.find(content, "DC0/vm")
        kept = soap.find(content, "DC0/vm").CreateFolder("prod").CreateFolder("50%25 a%2fb")
        several = [vm for vm in top.childEntity if isinstance(vm, vim.VirtualMachine)]
        soap.done(soap.find(content, "DC0/vm/prod").MoveIntoFolder_Task(several[:2]))
        soap.done(kept.MoveIntoFolder_Task(several[2:]))
        soap.done(several[1].PowerOffVM_Task())
    return made


def pyinfra(simulator: vcenter.VCenter, cache: Path, *arguments: str) -> tuple[int, str, str]:
    env = {
        **os.environ, "VCENTER_HOST": f"{simulator.host}:{simulator.port}", "VCENTER_USER": simulator.user,
        "VCENTER_PASSWORD": simulator.password, "VCENTER_PIN_SHA256": simulator.pin, "XDG_CACHE_HOME": str(cache),
        "COLUMNS": "200",
    }  # fmt: skip
    done = warm.run([str(PYINFRA), *arguments], cwd=ROOT, env=env, timeout=60)
    return done.returncode, done.stdout, done.stderr


def listed(simulator: vcenter.VCenter, cache: Path, asked: str) -> dict[str, Any]:
    """Name -> groups and data, and "" -> what was said beside them."""
    status, out, err = pyinfra(simulator, cache, asked, "debug-inventory", "--json")
    assert status == 0, err
    return {"": err, **{each["name"]: each for each in json.loads(out)}}


def test_machines_of_a_folder_are_listed_by_reads_alone(simulator, tmp_path: Path) -> None:
    simulator.reset_stats()
    found = listed(simulator, tmp_path, "@vsphere/DC0/prod?power=on")
    assert set(found) == {"", "DC0_C0_RP0_VM0", "DC0_C0_RP0_VM2"}
    one = found["DC0_C0_RP0_VM0"]
    assert one["groups"] == ["folder_DC0", "folder_DC0_prod", "cluster_DC0_C0", "power_on"]
    assert one["data"]["vm_path"] == "DC0/prod/DC0_C0_RP0_VM0"
    assert one["data"]["ssh_hostname"].startswith("10.9.")
    assert set(simulator.stats()) <= READS
    assert simulator.calls() <= 14
    assert simulator.sessions() == {"soap": 0, "rest": 0}
    off = listed(simulator, tmp_path, "@vsphere/DC0/prod?power=off")["DC0_C0_RP0_VM1"]
    assert off["data"]["ssh_why_not"] == "it is off"


def test_a_folder_may_have_any_name(simulator, tmp_path: Path) -> None:
    for written in ("50% a%2fb", "50%25 a%2fb"):
        assert set(listed(simulator, tmp_path, f"@vsphere/DC0/prod/{written}")) == {"", "DC0_C0_RP0_VM2"}


def test_what_is_asked_for_and_not_there_is_told(simulator, tmp_path: Path) -> None:
    for asked, words in (("@vsphere/DC0/none", "no machine of the vCenter is asked for by that"),
                         ("@vsphere/DC0?powre=on", "no such question 'powre'")):  # fmt: skip
        status, _, err = pyinfra(simulator, tmp_path, asked, "debug-inventory")
        assert status != 0
        assert words in err


def test_a_vcenter_that_is_down_leaves_what_was_read_before_and_its_age(simulators: Any, tmp_path: Path) -> None:
    gone = simulators(vms=2, boot=0.1)
    known = listed(gone, tmp_path, "@vsphere")
    gone.stop()
    again = listed(gone, tmp_path, "@vsphere")
    assert set(again) == set(known) == {"", "DC0_C0_RP0_VM0", "DC0_C0_RP0_VM1"}
    assert again["DC0_C0_RP0_VM0"] == known["DC0_C0_RP0_VM0"]
    said = " ".join(again[""].split())
    assert re.search(r"no answer, 4 times.* What was read of it before is used: it is \d+ seconds old", said)
    status, _, err = pyinfra(gone, tmp_path / "other", "@vsphere", "debug-inventory")
    assert status != 0
    assert "no answer, 4 times" in err
