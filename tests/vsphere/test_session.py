"""The session and the bulk read, against the simulator: what they cost, and what happens when something goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from deploys.policies.secret import Secret
from deploys.policies.vcenter import VCenter
from deploys.vsphere import inventory, reads
from deploys.vsphere import session as sessions
from deploys.vsphere.errors import UnansweredError, UnreachableError, VSphereError
from deploys.vsphere.kept import file_of
from deploys.vsphere.rest import Rest
from deploys.vsphere.session import Session
from deploys.vsphere.tags import vm_object
from tests.lab import vcenter
from tests.vsphere.soap import eventually

PASSWORD = "PF_TEST_VCENTER"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=20)


@pytest.fixture(autouse=True)
def _clean(simulator, monkeypatch, tmp_path) -> Any:
    monkeypatch.setenv(PASSWORD, simulator.password)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sessions, "PAUSE_SECONDS", 0.01)
    simulator.clear_faults()
    simulator.reset_stats()
    yield
    sessions.close_all()


def of(simulator: vcenter.VCenter, **changes: Any) -> VCenter:
    given = {"host": simulator.host, "port": simulator.port, "user": simulator.user,
             "password": Secret.env(PASSWORD), "pin_sha256": simulator.pin}  # fmt: skip
    return VCenter(**{**given, **changes})


@pytest.fixture
def ours(simulator) -> Any:
    made = Session(of(simulator))
    yield made
    made.close()


def test_one_read_of_everything_and_nothing_is_left_open(simulator) -> None:
    found = inventory.read(of(simulator))
    assert len(found.vms) == 20
    assert found.tagged
    assert {vm.folder for vm in found.vms} == {("DC0",)}
    assert all(vm.uuid and vm.host.startswith("DC0_C0_H") and vm.cluster == "DC0_C0" for vm in found.vms)
    sessions.close_all()
    assert simulator.sessions() == {"soap": 0, "rest": 0}
    assert simulator.calls() <= 12
    assert simulator.calls("CreateContainerView") == simulator.calls("DestroyView") == 1


def test_a_thousand_machines_cost_as_many_calls_as_twenty(simulators) -> None:
    with_many = simulators(vms=1000)
    assert len(inventory.read(of(with_many)).vms) == 1000
    sessions.close_all()
    assert with_many.calls() <= 12


@pytest.mark.parametrize("page", [1, 7, 100])
def test_pages_of_any_size_say_the_same(simulator, simulators, monkeypatch, page: int) -> None:
    whole = inventory.read(of(simulator)).vms
    monkeypatch.setattr(reads, "PAGE", page)
    assert inventory.read(of(simulator)).vms == whole
    assert simulator.calls("ContinueRetrievePropertiesEx") >= 20 // page


def test_another_certificate_than_the_pinned_one_gets_no_password(simulator) -> None:
    with pytest.raises(VSphereError, match=f"SHA-256 {simulator.pin}, pinned is {'0' * 64}.*Nothing was sent"):
        inventory.read(of(simulator, pin_sha256="0" * 64))
    assert simulator.calls() == 0


def test_a_vcenter_that_is_replaced_during_the_run_gets_no_password(simulators) -> None:
    first = simulators(vms=1)
    ours = Session(of(first))
    assert ours.content is not None
    first.stop()
    second = simulators(vms=1, listen=f"{first.host}:{first.port}")
    assert second.pin != first.pin
    with pytest.raises(VSphereError, match=r"certificate is not trusted, and nothing was sent|no answer"):
        ours.read(lambda content: content.about.name and content.rootFolder.name)
    assert second.calls() == 0
    ours.close()


def test_a_ca_file_is_enough_and_another_one_is_not(simulator, simulators, tmp_path) -> None:
    mine, other = tmp_path / "mine.pem", tmp_path / "other.pem"
    mine.write_text(simulator.certificate)
    other.write_text(simulators(vms=1).certificate)
    assert inventory.read(of(simulator, pin_sha256=None, ca_file=mine)).vms
    sessions.close_all()
    before = simulator.calls()
    with pytest.raises(VSphereError, match="certificate is not trusted, and nothing was sent"):
        inventory.read(of(simulator, pin_sha256=None, ca_file=other))
    with pytest.raises(VSphereError, match="cannot be used"):
        inventory.read(of(simulator, pin_sha256=None, ca_file=tmp_path / "none"))
    assert simulator.calls() == before


def test_insecure_is_warned_of(simulator, caplog) -> None:
    assert inventory.read(of(simulator, pin_sha256=None, insecure=True)).vms
    assert "ANY certificate is taken, and gets the password" in caplog.text


def test_a_wrong_password_is_sent_once(simulator, monkeypatch) -> None:
    monkeypatch.setenv("PF_TEST_WRONG", "geheim")
    wrong = of(simulator, password=Secret.env("PF_TEST_WRONG"))
    for _ in range(3):
        with pytest.raises(VSphereError, match=r"login of .* with Secret.env\('PF_TEST_WRONG'\) is refused") as refusal:
            inventory.read(wrong)
        assert "geheim" not in str(refusal.value)
    assert simulator.calls("Login") == 1
    assert simulator.calls("POST /api/session") == 0


@pytest.mark.parametrize("mode", ["drop", "lost", "http"])
@pytest.mark.parametrize("method", ["RetrieveServiceContent", "CreateContainerView", "RetrievePropertiesEx"])
def test_a_read_without_an_answer_is_tried_again(simulator, mode: str, method: str) -> None:
    simulator.fault(method, mode, times=2)
    assert len(inventory.read(of(simulator)).vms) == 20
    assert simulator.calls(method) >= 3


def test_a_login_that_is_dropped_is_tried_again(simulator) -> None:
    simulator.fault("Login", "drop")
    assert inventory.read(of(simulator)).vms


def test_a_session_that_is_ended_is_made_anew(simulator, ours) -> None:
    assert all(row.host.startswith("DC0_") and row.datastores == ("LocalDS_0",) for row in reads.all_vms(ours))
    simulator.kill_sessions()
    assert len(reads.all_vms(ours)) == 20
    assert simulator.calls("Login") == 2


def test_what_it_refuses_is_said_and_not_tried_again(simulator, ours) -> None:
    simulator.fault("RetrievePropertiesEx", "soap", "NoPermission", times=9)
    with pytest.raises(VSphereError, match=r"vCenter .*:\d+: .*NoPermission"):
        reads.all_vms(ours)
    assert simulator.calls("RetrievePropertiesEx") == 1


def test_a_write_without_an_answer_is_not_repeated(simulator, ours) -> None:
    make = lambda content: content.rootFolder.CreateFolder("made")  # noqa: E731
    simulator.fault("CreateFolder", "lost")
    with pytest.raises(UnansweredError):
        ours.write(make)
    assert simulator.calls("CreateFolder") == 1
    with pytest.raises(vim.fault.DuplicateName):
        ours.write(make)


def test_a_write_of_an_ended_session_is_done_once(simulator, ours) -> None:
    assert ours.content is not None
    simulator.kill_sessions()
    made = ours.write(lambda content: content.rootFolder.CreateFolder("once"))
    assert ours.read(lambda _: made.name) == "once"
    with pytest.raises(vmodl.MethodFault):
        ours.write(lambda content: content.rootFolder.CreateFolder("once"))


def test_a_vcenter_that_is_down_leaves_what_was_read_before(simulators, caplog) -> None:
    gone = simulators(vms=3)
    known = inventory.read(of(gone)).vms
    sessions.close_all()
    gone.stop()
    again = inventory.read(of(gone))
    assert again.vms == known
    assert "no answer, 4 times" in caplog.text
    assert "What was read of it before is used: it is" in caplog.text
    file_of(of(gone)).unlink()
    with pytest.raises(UnreachableError):
        inventory.read(of(gone))


def test_offline_and_young_reads_ask_nobody(simulator) -> None:
    with pytest.raises(VSphereError, match="nothing that was read of it is kept"):
        inventory.read(of(simulator), offline=True)
    known = inventory.read(of(simulator)).vms
    before = simulator.calls()
    assert inventory.read(of(simulator), offline=True).vms == known
    assert inventory.read(of(simulator), max_age=60).vms == known
    assert simulator.calls() == before
    assert inventory.read(of(simulator), max_age=0.001).vms == known
    assert simulator.calls() > before


def test_machines_are_found_without_tags_when_their_service_is_down(simulator, caplog) -> None:
    simulator.fault("POST /api/session", "http", times=99)
    found = inventory.read(of(simulator))
    assert (len(found.vms), found.tagged) == (20, False)
    assert "no machine is found by its tags in this run" in caplog.text


RUN = """
import os, sys, time
from deploys.policies.secret import Secret
from deploys.vsphere import inventory
from deploys.vsphere.rest import Rest
from deploys.policies.vcenter import VCenter
from deploys.vsphere.tags import vm_object
host, port, user, pin = sys.argv[1:]
vcenter = VCenter(host=host, port=int(port), user=user, password=Secret.env("PF_TEST_VCENTER"), pin_sha256=pin)
print(len(inventory.read(vcenter).vms), flush=True)
time.sleep(60)
"""


def test_a_run_that_is_terminated_leaves_no_session(simulator) -> None:
    words = [simulator.host, str(simulator.port), simulator.user, simulator.pin]
    process = subprocess.Popen([sys.executable, "-c", RUN, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert process.stdout.readline().strip() == "20"
    assert simulator.sessions() == {"soap": 1, "rest": 1}
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM
    eventually(lambda: simulator.sessions() == {"soap": 0, "rest": 0})


def test_tags_are_read_in_batches_and_each_name_once(simulator, ours, monkeypatch) -> None:
    rows = reads.all_vms(ours)
    rest = Rest(ours)
    category = rest.post("category", body={
        "name": "role", "description": "", "cardinality": "SINGLE", "associable_types": ["VirtualMachine"],
    }, envelope="create_spec")  # fmt: skip
    made = {name: rest.post("tag", body={"name": name, "description": "", "category_id": category},
                            envelope="create_spec") for name in ("web", "db")}  # fmt: skip
    for name, chosen in (("web", rows[:12]), ("db", rows[12:15])):
        body = {"object_ids": [vm_object(row.moid) for row in chosen]}
        rest.post("tag-association", made[name], action="attach-tag-to-multiple-objects", body=body)
    simulator.reset_stats()
    monkeypatch.setattr("deploys.vsphere.tags.BATCH", 8)
    found = inventory.read(of(simulator))
    counts = [sum(vm.tags == {"role": (name,)} for vm in found.vms) for name in ("web", "db")]
    assert counts == [12, 3]
    stats = simulator.stats()
    assert stats["POST /api/cis/tagging/tag-association?action=list-attached-tags-on-objects"]["calls"] == 3
    assert stats["GET /api/cis/tagging/tag/ID"]["calls"] == 2
    assert stats["GET /api/cis/tagging/category/ID"]["calls"] == 1
    assert json.loads(file_of(of(simulator)).read_text().partition("\n")[0])["tagged"] is True
    assert time.time() - found.at < 60


def test_who_asks_after_the_end_opens_no_session_anew(simulator, ours) -> None:
    assert ours.content is not None
    ours.close()
    with pytest.raises(VSphereError, match="its session was closed"):
        ours.read(lambda content: content.about)
    assert simulator.sessions()["soap"] == 0
