"""An item of a content library becomes a template, by either dialect of the REST services."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploys.vsphere import looks
from deploys.vsphere import session as sessions
from deploys.vsphere.crew import Crew
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.package import LibraryEntry
from deploys.vsphere.templates import Origin
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import PASSWORD, settings
from tests.vsphere.test_simulator_ovf import OVF

MARK = "photon-fleet/@template/x"


def fill(simulator: vcenter.VCenter, library: str, item: str) -> None:
    """Make a library with one item, of the package of the simulator's own test."""
    connection = http.client.HTTPSConnection(simulator.host, simulator.port, context=simulator.context(), timeout=20)
    login = base64.b64encode(f"{simulator.user}:{simulator.password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}"}

    def ask(path: str, body: object = None, method: str = "POST", base: str = "/rest/com/vmware/") -> Any:
        sent = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        connection.request(method, base + path, sent, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, (path, answer.status, text)
        return json.loads(text)["value"] if text.startswith(b"{") else None

    headers = {"vmware-api-session-id": ask("cis/session")}
    with soap.session(simulator) as content:
        # The simulator takes the id for the directory that the datastore is.
        directory = soap.find(content, "DC0/datastore/LocalDS_0").info.url
    place = {"type": "DATASTORE", "datastore_id": directory}
    about = {"name": library, "type": "LOCAL", "storage_backings": [place]}
    made = ask("content/local-library", {"create_spec": about})
    ident = ask("content/library/item", {"create_spec": {"name": item, "type": "ovf", "library_id": made}})
    update = ask("content/library/item/update-session", {"create_spec": {"library_item_id": ident}})
    for name, data in (("photon.ovf", OVF.encode()), ("disk1.vmdk", b"KDMV")):
        spec = {"name": name, "source_type": "PUSH", "size": len(data)}
        added = ask(f"content/library/item/updatesession/file/id:{update}?~action=add", {"file_spec": spec})
        ask(urlsplit(added["upload_endpoint"]["uri"]).path, data, "PUT", "")
    ask(f"content/library/item/update-session/id:{update}?~action=complete")
    ask("cis/session", method="DELETE")
    connection.close()


@pytest.fixture(scope="module", params=["8.0.3.0", "7.0.0.0"])
def simulator(request, simulators: Any) -> vcenter.VCenter:
    made = simulators(vms=1, api=request.param)
    fill(made, "images", "photon")
    return made


@pytest.fixture
def crew(simulator, monkeypatch) -> Any:
    monkeypatch.setenv(PASSWORD, simulator.password)
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(sessions, "PAUSE_SECONDS", 0.01)
    simulator.clear_faults()
    simulator.reset_stats()
    made = Crew(settings(simulator), {})
    yield made
    made.session.close()
    assert simulator.sessions()["rest"] == 0


def origin(library: str = "images", item: str = "photon") -> Origin:
    return Origin(LibraryEntry(library, item), MARK, "DC0_C0", (), "LocalDS_0", "DC0_DVPG0")


def deploys(simulator: vcenter.VCenter) -> dict[str, int]:
    return {name: int(each["calls"]) for name, each in simulator.stats().items() if name.endswith("action=deploy")}


def test_it_is_deployed_once(simulator, crew) -> None:
    for each in (crew, Crew(settings(simulator), {})):
        each.templates.provide("DC0/once/one", origin())
    assert list(deploys(simulator).values()) == [1]
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm/once/one")
        marks = {each.key: each.value for each in vm.config.extraConfig}
        assert (vm.config.template, vm.config.guestId) == (True, "vmwarePhoton64Guest")
        assert (marks["guestinfo.fleet.id"], vm.config.annotation[:17]) == (MARK, "Made from photon-")


@pytest.mark.parametrize(("library", "item"), [("images", "none"), ("none", "photon")])
def test_what_is_not_there_is_told(crew, library: str, item: str) -> None:
    with pytest.raises(VSphereError, match=f"there is no .*'{'none'}'.* that the user may see"):
        crew.templates.provide("DC0/none/none", origin(library, item))


@pytest.mark.parametrize("mode", ["drop", "lost", "http"])
def test_a_deployment_is_sent_once_and_ends_as_one_template(simulator, crew, mode: str) -> None:
    crew.templates.provide("DC0/first/first-" + mode, origin())
    (name,) = deploys(simulator)
    simulator.reset_stats()
    simulator.fault(name, mode)
    path = f"DC0/again/again-{mode}"
    with pytest.raises(VSphereError, match=f"the deployment of {path}"):
        crew.templates.provide(path, origin())
    assert deploys(simulator) == {name: 1}
    Crew(settings(simulator), {}).templates.provide(path, origin())
    with soap.session(simulator) as content:
        assert soap.find(content, f"DC0/vm/again/again-{mode}").config.template


def test_a_deployment_that_fails_says_why(crew) -> None:
    # The simulator makes no second directory of a name in a datastore.
    crew.templates.provide("DC0/refused/twice", origin())
    with pytest.raises(VSphereError, match=r"the deployment of DC0/refused2/twice: .*FileAlreadyExists"):
        crew.templates.provide("DC0/refused2/twice", origin())
