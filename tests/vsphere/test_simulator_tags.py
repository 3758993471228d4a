"""Tags over REST in both forms: the one of vCenters since 7.0 U2, and the older one beside it."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab import vcenter
from tests.vsphere import soap

FORMS = ["/api", "/rest/com/vmware"]


class Rest:
    """A session in one of the two forms."""

    def __init__(self, simulator: vcenter.VCenter, form: str) -> None:
        self.simulator, self.form, self.token = simulator, form, ""
        self.old = form != "/api"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection(
            self.simulator.host, self.simulator.port, context=self.simulator.context(), timeout=10
        )
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"vmware-api-session-id": self.token, **headers})
        answer = connection.getresponse()
        said = answer.read().decode()
        connection.close()
        return answer.status, json.loads(said) if said.startswith(("{", "[", '"')) else said

    def login(self, password: str) -> int:
        path = f"{self.form}/cis/session" if self.old else "/api/session"
        word = base64.b64encode(f"{self.simulator.user}:{password}".encode()).decode()
        status, said = self.ask("POST", path, Authorization=f"Basic {word}")
        self.token = (said["value"] if self.old else said) if status < 300 else "none"
        return status

    def tagging(self, method: str, kind: str, body: Any = None, *, of: str = "", action: str = "") -> tuple[int, Any]:
        path = f"{self.form}/cis/tagging/{kind}"
        if of:
            path += f"/id:{of}" if self.old else f"/{of}"
        if action:
            path += f"?~action={action}" if self.old else f"?action={action}"
        elif body is not None and self.old:
            body = {"create_spec" if method == "POST" else "update_spec": body}
        status, said = self.ask(method, path, body)
        return status, said["value"] if self.old and status == 200 and said else said

    def create(self, kind: str, **spec: Any) -> str:
        status, made = self.tagging("POST", kind, spec)
        assert status == (200 if self.old else 201), made
        return str(made)


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=3)


@pytest.fixture(scope="module")
def vms(simulator: vcenter.VCenter) -> list[dict[str, str]]:
    with soap.session(simulator) as content:
        ids = [soap.find(content, f"DC0/vm/DC0_C0_RP0_VM{number}")._moId for number in range(3)]
    return [{"type": "VirtualMachine", "id": each} for each in ids]


@pytest.fixture(params=FORMS)
def rest(simulator: vcenter.VCenter, request: pytest.FixtureRequest) -> Rest:
    rest = Rest(simulator, request.param)
    assert rest.login(simulator.password) in (200, 201)
    for category in rest.tagging("GET", "category")[1]:
        rest.tagging("DELETE", "category", of=category)
    return rest


def test_tagging_needs_a_session(rest: Rest) -> None:
    assert rest.login("wrong") == 401
    status, said = rest.tagging("GET", "category")
    assert status == 401
    assert "unauthenticated" in json.dumps(said).lower()


def test_a_session_ends(rest: Rest) -> None:
    path = f"{rest.form}/cis/session" if rest.old else "/api/session"
    before = rest.simulator.sessions()["rest"]
    assert rest.ask("DELETE", path)[0] == (200 if rest.old else 204)
    assert rest.simulator.sessions()["rest"] == before - 1
    assert rest.tagging("GET", "tag")[0] == 401


def test_categories_and_tags(rest: Rest) -> None:
    role = rest.create("category", name="role", cardinality="SINGLE", associable_types=["VirtualMachine"])
    web = rest.create("tag", name="web", category_id=role, description="")
    assert rest.tagging("GET", "category")[1] == [role]
    one = rest.tagging("GET", "category", of=role)[1]
    assert (one["name"], one["cardinality"], one["associable_types"]) == ("role", "SINGLE", ["VirtualMachine"])
    assert rest.tagging("GET", "tag", of=web)[1]["category_id"] == role
    assert rest.tagging("PATCH", "tag", {"name": "front"}, of=web)[0] < 300
    assert rest.tagging("GET", "tag", of=web)[1]["name"] == "front"
    if rest.old:
        listed = rest.tagging("POST", "tag", {}, of=role, action="list-tags-for-category")
    else:
        listed = rest.tagging("POST", "tag", {"category_id": role}, action="list-tags-for-category")
    assert listed == (200, [web])
    assert rest.tagging("POST", "category", {"name": "role", "cardinality": "SINGLE"})[0] == 400
    assert rest.tagging("POST", "tag", {"name": "front", "category_id": role})[0] == 400
    assert rest.tagging("DELETE", "category", of=role)[0] < 300
    assert rest.tagging("GET", "tag", of=web)[0] == 404
    assert rest.tagging("GET", "tag")[1] == []


@pytest.fixture
def tags(rest: Rest) -> dict[str, str]:
    role = rest.create("category", name="role", cardinality="SINGLE", associable_types=["VirtualMachine"])
    note = rest.create("category", name="note", cardinality="MULTIPLE", associable_types=[])
    spec = {"web": role, "db": role, "old": note, "new": note}
    return {name: rest.create("tag", name=name, category_id=category) for name, category in spec.items()}


def on_objects(rest: Rest, vms: list[dict[str, str]], tags: dict[str, str]) -> list[set[str]]:
    body = {"object_ids": vms}
    status, said = rest.tagging("POST", "tag-association", body, action="list-attached-tags-on-objects")
    assert (status, [each["object_id"] for each in said]) == (200, vms)
    names = {tag: name for name, tag in tags.items()}
    return [{names[tag] for tag in each["tag_ids"]} for each in said]


def test_tags_are_attached_and_detached(rest: Rest, vms: list[dict[str, str]], tags: dict[str, str]) -> None:
    ask: Callable[..., tuple[int, Any]] = rest.tagging
    assert ask("POST", "tag-association", {"object_id": vms[0]}, of=tags["web"], action="attach")[0] < 300
    body = {"object_id": vms[0], "tag_ids": [tags["old"], tags["new"]]}
    assert ask("POST", "tag-association", body, action="attach-multiple-tags-to-object")[1]["success"]
    many = {"object_ids": vms[1:]}
    assert ask("POST", "tag-association", many, of=tags["db"], action="attach-tag-to-multiple-objects")[1]["success"]
    assert on_objects(rest, vms, tags) == [{"web", "old", "new"}, {"db"}, {"db"}]
    body = {"object_id": vms[0], "tag_ids": [tags["old"]]}
    assert ask("POST", "tag-association", body, action="detach-multiple-tags-from-object")[1]["success"]
    assert ask("POST", "tag-association", {"object_id": vms[1]}, of=tags["db"], action="detach")[0] < 300
    assert on_objects(rest, vms, tags) == [{"web", "new"}, set(), {"db"}]
    body = {"tag_ids": [tags["db"], tags["old"]]}
    _, said = ask("POST", "tag-association", body, action="list-attached-objects-on-tags")
    assert said == [{"tag_id": tags["db"], "object_ids": [vms[2]]}, {"tag_id": tags["old"], "object_ids": []}]


def test_what_cannot_be_attached(rest: Rest, vms: list[dict[str, str]], tags: dict[str, str]) -> None:
    ask: Callable[..., tuple[int, Any]] = rest.tagging
    assert ask("POST", "tag-association", {"object_id": vms[0]}, of=tags["web"], action="attach")[0] < 300
    assert ask("POST", "tag-association", {"object_id": vms[0]}, of=tags["db"], action="attach")[0] == 400
    body = {"object_id": vms[0], "tag_ids": [tags["db"], tags["old"]]}
    _, said = ask("POST", "tag-association", body, action="attach-multiple-tags-to-object")
    assert (said["success"], [each["args"] for each in said["error_messages"]]) == (False, [[tags["db"], vms[0]["id"]]])
    assert on_objects(rest, vms[:1], tags) == [{"web", "old"}]
    gone = {"type": "VirtualMachine", "id": "vm-99999"}
    assert ask("POST", "tag-association", {"object_id": gone}, of=tags["old"], action="attach")[0] == 404
    folder = {"type": "Folder", "id": "group-v2"}
    assert ask("POST", "tag-association", {"object_id": folder}, of=tags["web"], action="attach")[0] in (400, 404)


def test_rest_calls_fail_by_their_names(rest: Rest, tags: dict[str, str]) -> None:
    name = f"POST {rest.form}/cis/tagging/tag-association?action=list-attached-tags"
    rest.simulator.fault(name, "http", status=503)
    rest.simulator.fault(f"GET {rest.form}/cis/tagging/tag/ID", "drop")
    body = {"object_id": {"type": "VirtualMachine", "id": "vm-1"}}
    assert rest.tagging("POST", "tag-association", body, action="list-attached-tags")[0] == 503
    assert rest.tagging("POST", "tag-association", body, action="list-attached-tags") == (200, [])
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        rest.tagging("GET", "tag", of=tags["web"])
    assert rest.tagging("GET", "tag", of=tags["web"])[0] == 200


def test_a_destroyed_vm_has_no_tags(simulators: Any) -> None:
    simulator = simulators(vms=1)
    rest = Rest(simulator, "/api")
    rest.login(simulator.password)
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm/DC0_C0_RP0_VM0")
        tag = rest.create("tag", name="a", category_id=rest.create("category", name="c", cardinality="MULTIPLE"))
        rest.tagging(
            "POST",
            "tag-association",
            {"object_id": {"type": "VirtualMachine", "id": vm._moId}},
            of=tag,
            action="attach",
        )
        soap.done(vm.PowerOffVM_Task())
        soap.done(vm.Destroy_Task())
    assert rest.tagging("POST", "tag-association", {"tag_ids": [tag]}, action="list-attached-objects-on-tags")[1] == [
        {"tag_id": tag, "object_ids": []}
    ]


def test_an_old_vcenter_has_the_old_form_alone(simulators: Any) -> None:
    simulator = simulators(vms=0, api="6.7")
    old = Rest(simulator, "/rest/com/vmware")
    assert old.login(simulator.password) == 200
    assert old.tagging("GET", "category") == (200, [])
    assert Rest(simulator, "/api").login(simulator.password) == 404
