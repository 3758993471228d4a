"""Sessions that end in the middle of a run, and logins that are refused: one anew for all, and no password twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pyVmomi import vim

from deploys.vsphere import reads
from deploys.vsphere import session as sessions
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.rest import Rest
from deploys.vsphere.session import Session
from tests.lab import vcenter
from tests.vsphere.bringing_up import PASSWORD, settings


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=20)


@pytest.fixture
def ours(simulator, monkeypatch) -> Any:
    monkeypatch.setenv(PASSWORD, simulator.password)
    monkeypatch.setattr(sessions, "PAUSE_SECONDS", 0.01)
    simulator.clear_faults()
    simulator.reset_stats()
    made = Session(settings(simulator))
    yield made
    made.close()


def test_machines_that_meet_an_ended_session_log_in_once_for_all(simulator, ours) -> None:
    assert ours.content is not None
    simulator.delay("RetrievePropertiesEx", 0.2)
    try:
        for _ in range(3):
            simulator.reset_stats()
            simulator.kill_sessions()
            with ThreadPoolExecutor(8) as pool:
                assert [len(rows) for rows in pool.map(lambda _: reads.all_vms(ours), range(8))] == [20] * 8
            assert simulator.calls("Login") == 1
            assert simulator.sessions()["soap"] == 1
    finally:
        simulator.delay("RetrievePropertiesEx", 0)


def test_a_login_that_the_rest_services_refuse_is_sent_once(simulator, ours) -> None:
    simulator.fault("POST /api/session", "http", status=401, times=99)
    rest = Rest(ours)
    for _ in range(3):
        with pytest.raises(VSphereError, match="a session of its REST services is refused: HTTP 401"):
            rest.get("category")
    assert simulator.calls("POST /api/session") == 1


def test_what_was_made_in_an_ended_session_is_made_anew(simulator, ours) -> None:
    tries = []

    def look(content: Any) -> int:
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        if not tries:
            # Another thread meets the end of the session first, and logs in anew.
            simulator.kill_sessions()
            assert ours.read(lambda again: again.rootFolder.name)
        tries.append(1)
        return len(view.view)

    assert ours.read(look) == 20
    assert len(tries) == 2
    with pytest.raises(VSphereError, match="ManagedObjectNotFound"):
        ours.read(lambda _: ours.managed("vm-0", vim.VirtualMachine).name)


def test_a_password_that_is_refused_in_the_middle_of_a_run_is_not_sent_again(simulator, ours) -> None:
    assert ours.content is not None
    simulator.kill_sessions()
    simulator.fault("Login", "soap", "InvalidLogin", times=9)
    for do in (ours.read, ours.write, ours.read):
        with pytest.raises(VSphereError, match=r"is refused .*It is not tried again in this run"):
            do(lambda content: content.rootFolder.CreateFolder("never"))
    assert simulator.calls("Login") == 2
