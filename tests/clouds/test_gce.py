"""Compute Engine: what is asked of it, by a stand-in for its API, written after its documentation."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import requests

from deploys.clouds import crew as crews
from deploys.clouds import gce
from deploys.clouds.crew import Crew, Identity
from deploys.clouds.gce import API, GceCloud, request
from deploys.clouds.machine import STOPPED, CloudError, NewDisk, Order
from deploys.policies.clouds import Gce

SETTINGS = Gce(project="acme-prod", zone="europe-west3-a")
ZONE = f"{API}/projects/acme-prod/zones/europe-west3-a"
IMAGE = "projects/acme-prod/global/images/photon-5"
ORDER = Order("0" * 31 + "1", "f/web-1", "web-1", IMAGE, "e2-small", "#cloud-config\n{}\n", groups=["web"],
              public_address=True, root_gib=20, disks=[NewDisk("data", 5, "pd-balanced")],
              tags={"role": "web"})  # fmt: skip


class Answer:
    def __init__(self, body: Any, status: int = 200) -> None:
        self.body, self.status_code = body, status

    def json(self) -> Any:
        if self.body is None:
            raise ValueError
        return json.loads(json.dumps(self.body))


class Google:
    """One zone: a request id that it has seen is answered as before; `faults` are answers instead of its own."""

    def __init__(self) -> None:
        self.machines: dict[str, dict[str, Any]] = {}
        self.answered: dict[str, dict[str, Any]] = {}
        self.faults: list[Any] = []
        self.calls: list[str] = []

    def request(self, method, url, *, params, json, timeout):
        assert timeout > 120
        assert url.startswith(ZONE)
        path = url.removeprefix(ZONE)
        self.calls.append(f"{method} {path}")
        fault = self.faults.pop(0) if self.faults else None
        answer = self.answer(method, path, params, json) if fault is None or fault == "lost" else fault
        if fault == "lost":
            raise requests.ConnectionError
        return answer

    def answer(self, method: str, path: str, params: dict[str, Any], body: Any) -> Answer:
        if method == "GET":
            return self.read(path, params)
        if path.endswith("/wait"):
            return Answer({"name": "op", "status": "DONE", "targetId": self.pending})
        if params["requestId"] not in self.answered:
            answer = self.change(method, path, body)
            if answer.status_code != 200:
                return answer
            self.answered[params["requestId"]] = answer.body
        return Answer(self.answered[params["requestId"]])

    def read(self, path: str, params: dict[str, Any]) -> Answer:
        rows = list(self.machines.values())
        if path == "/instances":
            first = int(params.get("pageToken", 0))
            more = {"nextPageToken": str(first + 1)} if first + 1 < len(rows) else {}
            return Answer({"items": rows[first : first + 1], **more})
        name = path.split("/")[2]
        if path.endswith("/serialPort"):
            return Answer({"contents": f"console of {name}"})
        return Answer(self.machines[name])

    def change(self, method: str, path: str, body: Any) -> Answer:
        if path == "/instances":
            if body["name"] in self.machines:
                return Answer({"error": {"code": 409, "message": f"{body['name']} already exists."}}, 409)
            self.pending = str(7000 + len(self.answered))
            self.machines[body["name"]] = listed(body, self.pending)
            return Answer({"name": "op", "status": "RUNNING", "targetId": self.pending})
        name, _, what = path.split("/", 2)[2].partition("/")
        if path.startswith("/disks/"):
            assert (name, what) == ("web-1-1", "resize")
            self.machines["web-1"]["disks"][1]["diskSizeGb"] = body["sizeGb"]
        elif method == "DELETE":
            del self.machines[name]
        else:
            self.on_machine(self.machines[name], what, body)
        return Answer({"name": "op", "status": "DONE"})

    def on_machine(self, row: dict[str, Any], what: str, body: Any) -> None:
        if what == "setLabels":
            assert body["labelFingerprint"] == row["labelFingerprint"]
            row["labels"] = body["labels"]
        elif what == "setTags":
            row["tags"] = {"items": body["items"], "fingerprint": "t2"}
        elif what == "setMachineType":
            assert row["status"] == "TERMINATED"
            row["machineType"] = f"{API}/projects/acme-prod/{body['machineType']}"
        else:
            row["status"] = {"start": "RUNNING", "stop": "TERMINATED"}[what]


def listed(body: dict[str, Any], number: str) -> dict[str, Any]:
    """A machine as instances.list has it, from what it was made with."""
    card = {**body["networkInterfaces"][0], "networkIP": "10.156.0.2"}
    card["accessConfigs"] = [{**each, "natIP": "203.0.113.7"} for each in card.get("accessConfigs", ())]
    disks = [
        {"source": f"{ZONE}/disks/web-1{'-1' * place}", "deviceName": disk.get("deviceName", "persistent-disk-0"),
         "diskSizeGb": disk["initializeParams"]["diskSizeGb"]}
        for place, disk in enumerate(body["disks"])
    ]  # fmt: skip
    return {**body, "id": number, "status": "RUNNING", "labelFingerprint": "l1", "disks": disks,
            "networkInterfaces": [card], "tags": {**body["tags"], "fingerprint": "t1"},
            "machineType": f"{API}/projects/acme-prod/{body['machineType']}"}  # fmt: skip


@pytest.fixture
def google(monkeypatch) -> Google:
    monkeypatch.setattr(gce.time, "sleep", lambda _: None)
    monkeypatch.setattr(crews, "LOOK_SECONDS", 0.0)
    return Google()


def test_what_is_asked_for() -> None:
    asked = request(ORDER, "europe-west3-a")
    assert asked["machineType"] == "zones/europe-west3-a/machineTypes/e2-small"
    assert asked["disks"][0] == {
        "boot": True, "autoDelete": True, "initializeParams": {"sourceImage": IMAGE, "diskSizeGb": "20"},
    }  # fmt: skip
    metadata = {item["key"]: item["value"] for item in asked["metadata"]["items"]}
    assert metadata["user-data"].startswith("#cloud-config")
    assert metadata["photon-fleet-id"] == "f/web-1"
    assert asked["networkInterfaces"][0]["accessConfigs"][0]["type"] == "ONE_TO_ONE_NAT"
    assert "accessConfigs" not in request(replace(ORDER, public_address=None), "z")["networkInterfaces"][0]


def test_a_lost_answer_and_one_that_comes_late_make_one_machine(google) -> None:
    cloud = GceCloud(SETTINGS, google)
    google.faults = ["lost", Answer({}, 503)]
    made = cloud.make(ORDER)
    assert google.calls.count("POST /instances") == 3
    (found,) = cloud.ours()
    assert (found.id, found.mark, found.made, found.size) == (made, "f/web-1", ORDER.token, "e2-small")
    assert (found.private, found.public, found.groups) == (("10.156.0.2",), ("203.0.113.7",), ("web",))
    assert [(each.device, each.id, each.gib) for each in found.volumes] == [
        ("persistent-disk-0", "web-1", 20), ("data", "web-1-1", 5),
    ]  # fmt: skip
    assert cloud.make(ORDER) == made


def test_changes(google) -> None:
    cloud = GceCloud(SETTINGS, google)
    made = cloud.make(ORDER)
    google.machines["web-1"]["labels"]["own"] = "x"
    cloud.tag(made, {"role": "db"})
    cloud.regroup(made, ["db"])
    cloud.grow(cloud.ours()[0].volumes[1], 9)
    cloud.stop(made)
    assert cloud.ours()[0].state == STOPPED
    cloud.resize(made, "e2-medium")
    cloud.start(made)
    (found,) = cloud.ours()
    assert dict(found.tags) == {"role": "db", "own": "x"}
    assert (found.groups, found.size, found.volumes[1].gib) == (("db",), "e2-medium", 9)
    assert cloud.console(made) == "console of web-1"
    cloud.terminate(made)
    assert cloud.ours() == []


def test_a_machine_that_is_gone_is_made_anew(google) -> None:
    def make() -> str:
        crew = Crew(GceCloud(SETTINGS, google), {"web-1": Identity("f/web-1")})
        crew.make("web-1", lambda token: replace(ORDER, token=token))
        found = crew.seen("web-1")
        assert found is not None
        return found.id

    first = make()
    # Removed by hand, and by somebody who has no record of it: its token still answers.
    del google.machines["web-1"]
    assert make() != first


def test_a_name_that_is_taken_and_pages(google) -> None:
    cloud = GceCloud(SETTINGS, google)
    cloud.make(ORDER)
    cloud.make(replace(ORDER, token="0" * 31 + "2", name="web-2"))
    assert [each.name for each in cloud.all()] == ["web-1", "web-2"]
    with pytest.raises(CloudError, match=re.escape("refuses to make web-1: web-1 already exists (409)")):
        cloud.make(replace(ORDER, token="0" * 31 + "3"))


def test_refusals_are_sentences(google) -> None:
    cloud = GceCloud(SETTINGS, google)
    google.faults = [Answer(None, 403)]
    with pytest.raises(CloudError, match="refuses the list of machines: HTTP 403"):
        cloud.all()
    google.faults = [Answer({}, 503)] * 5
    with pytest.raises(CloudError, match="does not answer the list of machines: HTTP 503, 5 times"):
        cloud.all()
    quota = {"code": "QUOTA_EXCEEDED", "message": "Quota 'CPUS' exceeded."}
    google.faults = [Answer({"name": "op", "status": "DONE", "error": {"errors": [quota]}})]
    with pytest.raises(CloudError, match=re.escape("Quota 'CPUS' exceeded (QUOTA_EXCEEDED)")):
        cloud.make(ORDER)


def test_no_credentials_is_a_sentence(tmp_path) -> None:
    with pytest.raises(CloudError, match="gce:acme-prod/europe-west3-a: no credentials"):
        GceCloud(Gce(project="acme-prod", zone="europe-west3-a", credentials_file=tmp_path / "none.json"))
