"""What the tests of vSphere lean on: the simulator's life, call counts, faults, slow tasks and sessions."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl

from tests.lab import vcenter
from tests.lab.errors import LabError
from tests.vsphere import soap

VM = "DC0/vm/DC0_C0_RP0_VM0"


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=3)


@pytest.fixture
def content(simulator: vcenter.VCenter) -> Any:
    simulator.clear_faults()
    with soap.session(simulator) as content:
        simulator.reset_stats()
        yield content


def rest(simulator: vcenter.VCenter, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPSConnection(simulator.host, simulator.port, context=simulator.context(), timeout=10)
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if text.startswith(("{", "[", '"')) else text


def login(simulator: vcenter.VCenter, password: str = "") -> dict[str, str]:
    word = base64.b64encode(f"{simulator.user}:{password or simulator.password}".encode()).decode()
    return {"Authorization": f"Basic {word}"}


def test_it_leaves_neither_process_nor_files(vcenter_program: None) -> None:
    with vcenter.start(vms=1) as simulator:
        place = Path(simulator._place.name)
        assert list(place.glob("vcenter-*"))
    assert simulator.process.returncode == 0
    assert not place.exists()


def test_it_says_why_it_does_not_start(simulator: vcenter.VCenter) -> None:
    with pytest.raises(LabError, match=r"did not start: .*address already in use"):
        vcenter.start(listen=f"{simulator.host}:{simulator.port}")


def test_only_its_own_certificate_passes(simulator: vcenter.VCenter, simulators: Any) -> None:
    other = simulators(vms=0)
    assert other.pin != simulator.pin
    content = SmartConnect(
        host=other.host, port=other.port, user=other.user, pwd=other.password, sslContext=other.context()
    ).content
    assert content.about.apiVersion == "8.0.3.0"
    with pytest.raises(ssl.SSLCertVerificationError):
        SmartConnect(
            host=other.host, port=other.port, user=other.user, pwd=other.password, sslContext=simulator.context()
        )


def test_a_wrong_password_is_refused(simulator: vcenter.VCenter) -> None:
    content = vim.ServiceInstance("ServiceInstance", soap.stub(simulator)).RetrieveContent()
    with pytest.raises(vim.fault.InvalidLogin):
        content.sessionManager.Login(simulator.user, "wrong", None)
    assert rest(simulator, "POST", "/rest/com/vmware/cis/session", **login(simulator, "wrong"))[0] == 401


def test_calls_are_counted_by_name(simulator: vcenter.VCenter, content: Any) -> None:
    vm = soap.find(content, VM)
    assert vm.name == "DC0_C0_RP0_VM0"
    status, answer = rest(simulator, "POST", "/rest/com/vmware/cis/session", **login(simulator))
    assert status == 200
    session = {"vmware-api-session-id": answer["value"]}
    assert rest(simulator, "DELETE", "/rest/com/vmware/cis/session", **session)[0] == 200
    stats = simulator.stats()
    assert {name: each["calls"] for name, each in stats.items()} == {
        "FindByInventoryPath": 1, "Fetch": 1,
        "POST /rest/com/vmware/cis/session": 1, "DELETE /rest/com/vmware/cis/session": 1,
    }  # fmt: skip
    assert stats["Fetch"]["bytes"] > 500
    assert simulator.calls() == 4
    assert simulator.calls("Fetch", "Login") == 1


def test_a_call_faults(simulator: vcenter.VCenter, content: Any) -> None:
    vm = soap.find(content, VM)
    simulator.fault("ReconfigVM_Task", "soap", "NoPermission", skip=1, fields={"privilegeId": "VirtualMachine.X"})
    soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="one")))
    with pytest.raises(vim.fault.NoPermission) as caught:
        vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="two"))
    assert (caught.value.object, caught.value.privilegeId) == (vm, "VirtualMachine.X")
    assert vm.config.annotation == "one"
    soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="three")))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NoDiskSpace", vim.fault.NoDiskSpace), ("TaskInProgress", vim.fault.TaskInProgress),
        ("DuplicateName", vim.fault.DuplicateName), ("InvalidPowerState", vim.fault.InvalidPowerState),
        ("NoPermission", vim.fault.NoPermission), ("HostConnectFault", vim.fault.HostConnectFault),
        ("ManagedObjectNotFound", vmodl.fault.ManagedObjectNotFound),
    ],
)  # fmt: skip
def test_a_task_fails(simulator: vcenter.VCenter, content: Any, name: str, kind: type[Exception]) -> None:
    vm = soap.find(content, VM)
    simulator.fault("PowerOffVM_Task", "task", name)
    with pytest.raises(kind):
        soap.done(vm.PowerOffVM_Task())
    assert vm.runtime.powerState == "poweredOn"


def test_an_answer_is_lost_or_a_call_never_arrives(simulator: vcenter.VCenter, content: Any) -> None:
    vm = soap.find(content, VM)
    simulator.fault("ReconfigVM_Task", "drop")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="dropped"))
    assert vm.config.annotation != "dropped"
    simulator.fault("ReconfigVM_Task", "lost")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="lost"))
    assert vm.config.annotation == "lost"
    simulator.fault("*", "http", status=502)
    with pytest.raises(http.client.HTTPException, match="502"):
        vm.name  # noqa: B018 - the reading is the call


def test_a_fault_that_cannot_be_is_refused(simulator: vcenter.VCenter) -> None:
    with pytest.raises(LabError, match='"NoSuchThing" is no fault'):
        simulator.fault("CloneVM_Task", "soap", "NoSuchThing")
    with pytest.raises(LabError, match="Login has no task"):
        simulator.fault("Login", "task", "NoPermission")
    with pytest.raises(LabError, match="soap, task, http, drop, lost or logout"):
        simulator.fault("Login", "sometimes")


def test_a_call_is_delayed(simulator: vcenter.VCenter, content: Any) -> None:
    simulator.delay("FindByInventoryPath", 0.3)
    begin = time.monotonic()
    soap.find(content, VM)
    assert time.monotonic() - begin > 0.3
    simulator.delay("FindByInventoryPath", 0)
    assert simulator.stats()["FindByInventoryPath"]["ms"] > 300


def test_tasks_run_while_the_client_waits(simulators: Any) -> None:
    simulator = simulators(vms=2, task=1)
    with soap.session(simulator) as content:
        vms = [soap.find(content, f"DC0/vm/DC0_C0_RP0_VM{number}") for number in range(2)]
        tasks = [vm.PowerOffVM_Task() for vm in vms]
        assert {task.info.state for task in tasks} == {"running"}
        assert {vm.runtime.powerState for vm in vms} == {"poweredOn"}
        assert tasks[0].info.entity == vms[0]
        assert tasks[0].info.entityName == vms[0].name
        assert list(vms[1].recentTask) == [tasks[1]]
        assert list(content.taskManager.recentTask)[-2:] == tasks
        for task in tasks:
            soap.done(task)
        assert {vm.runtime.powerState for vm in vms} == {"poweredOff"}
        with pytest.raises(vim.fault.InvalidPowerState):
            soap.done(vms[0].PowerOffVM_Task())
        assert list(content.taskManager.recentTask)[-3:-1] == tasks


def test_sessions_are_counted_and_ended(simulator: vcenter.VCenter) -> None:
    assert simulator.sessions() == {"soap": 0, "rest": 0}
    with soap.session(simulator) as content:
        vm = soap.find(content, VM)
        status, answer = rest(simulator, "POST", "/rest/com/vmware/cis/session", **login(simulator))
        token = {"vmware-api-session-id": answer["value"]}
        assert (status, rest(simulator, "GET", "/rest/com/vmware/cis/session", **token)[0]) == (200, 200)
        assert simulator.sessions() == {"soap": 1, "rest": 1}
        simulator.kill_sessions()
        assert simulator.sessions() == {"soap": 0, "rest": 0}
        for call in (vm.PowerOffVM_Task, lambda: soap.find(content, VM), lambda: vm.name):
            with pytest.raises(vim.fault.NotAuthenticated):
                call()
        assert rest(simulator, "GET", "/rest/com/vmware/cis/session", **token)[0] == 401


def test_sessions_end_in_the_middle_of_a_run(simulator: vcenter.VCenter) -> None:
    with soap.session(simulator) as content:
        vm = soap.find(content, VM)
        simulator.fault("ReconfigVM_Task", "logout", skip=1)
        soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="before")))
        with pytest.raises(vim.fault.NotAuthenticated):
            vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="after"))
    with soap.session(simulator) as content:
        assert soap.find(content, VM).config.annotation == "before"


def test_an_idle_session_ends(simulators: Any) -> None:
    simulator = simulators(vms=0, idle=0.5)
    with soap.session(simulator) as content:
        time.sleep(1.2)
        with pytest.raises(vim.fault.NotAuthenticated):
            soap.find(content, "DC0/vm")
