"""The reboot slot: a FleetLock server over HTTP, and a file; whatever is no clear yes is a no."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pyinfra.api import OperationError

from deploys.errors import InputError
from deploys.policies.secret import Secret
from deploys.policies.update_slot import FleetLock, SlotFile
from deploys.update.slots import FileSlots, ServerSlots


class Airlock(BaseHTTPRequestHandler):
    """A stand-in for a lock server: one slot a group, answers as the protocol's page says."""

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.seen.append((self.path, dict(self.headers), body))
        if server.answer is not None:
            status, text, headers = server.answer
        else:
            who, group = body["client_params"]["id"], body["client_params"]["group"]
            status, text, headers = self._decide(who, group)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _decide(self, who: str, group: str):
        if self.headers.get("fleet-lock-protocol") != "true":
            return 400, json.dumps({"kind": "bad_request", "value": "no header"}), {}
        slots = self.server.slots
        if self.path == "/v1/pre-reboot":
            if slots.setdefault(group, who) != who:
                return 409, json.dumps({"kind": "failed_lock", "value": f"unsuccessful:\n held by {slots[group]}"}), {}
        elif slots.get(group) == who:
            del slots[group]
        return 200, "", {}

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Airlock) as listening:
        listening.slots, listening.seen, listening.answer = {}, [], None
        listening.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield listening
        listening.shutdown()


def test_a_server_is_asked_as_the_protocol_says(server, monkeypatch) -> None:
    monkeypatch.setenv("SLOT_TOKEN", "s3cret")
    slots = ServerSlots(FleetLock(url=f"{server.url}/", group="web", token=Secret.env("SLOT_TOKEN")))
    slots.take("web-1", "ann")
    path, headers, body = server.seen[0]
    assert path == "/v1/pre-reboot"
    assert body == {"client_params": {"id": "web-1", "group": "web"}}
    assert {key.lower(): value for key, value in headers.items()}["authorization"] == "Bearer s3cret"


def test_one_host_at_a_time_and_each_call_may_be_repeated(server) -> None:
    slots = ServerSlots(FleetLock(url=server.url, group="web"))
    slots.take("web-1", "ann")
    slots.take("web-1", "ann")
    with pytest.raises(OperationError) as refused:
        slots.take("web-2", "ann")
    assert str(refused.value) == (
        f"the reboot slot of group web is not to be had: {server.url} says 409: "
        "unsuccessful: held by web-1 (failed_lock)"
    )
    ServerSlots(FleetLock(url=server.url, group="db")).take("db-1", "ann")
    slots.give_back("web-1")
    slots.give_back("web-1")
    slots.take("web-2", "ann")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, "<html>oops</html>", {}), "says 500 Internal Server Error"),
        ((302, "", {"location": "/login"}), "says 302 Found"),
        ((204, "", {}), "answers with status 204"),
        ((409, '{"kind": 1}', {}), "says 409 Conflict"),
        ((409, "[" * 100000, {}), "says 409 Conflict"),
    ],
)
def test_whatever_is_no_clear_yes_is_a_no(server, answer, said: str) -> None:
    server.answer = answer
    with pytest.raises(OperationError, match=said):
        ServerSlots(FleetLock(url=server.url)).take("web-1", "ann")


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(OperationError, match=r"the reboot slot of group default is not to be had: .* does not answer"):
        ServerSlots(FleetLock(url="http://127.0.0.1:9", seconds=2)).take("web-1", "ann")


@pytest.mark.parametrize(
    "url", ["http://lock.example.com", "https://u:p@lock.example.com", "ftp://x", "lock", "https://"]
)
def test_what_is_no_address_of_a_server(url: str) -> None:
    with pytest.raises(InputError, match="is no https:// address of a lock server"):
        FleetLock(url=url)


@pytest.mark.parametrize("group", ["", "-x", "web servers", "a/b"])
def test_what_is_no_group(group: str) -> None:
    with pytest.raises(InputError, match="is no name of a group"):
        FleetLock(url="https://lock.example.com", group=group)


def test_a_file_holds_as_many_hosts_as_it_may(tmp_path) -> None:
    slots = FileSlots(SlotFile(path=tmp_path / "slots.json", group="web", hosts=2))
    for host in ("web-1", "web-2", "web-1"):
        slots.take(host, "by ann: ticket 1")
    with pytest.raises(
        OperationError, match=r"held by web-1 \(by ann: ticket 1, since 20.*; web-2 \(by ann"
    ) as refused:
        slots.take("web-3", "by bob")
    assert str(tmp_path / "slots.json") in str(refused.value)
    FileSlots(SlotFile(path=tmp_path / "slots.json", group="db")).take("db-1", "by bob")
    slots.give_back("web-2")
    slots.give_back("web-2")
    slots.take("web-3", "by bob")
    assert sorted(json.loads((tmp_path / "slots.json").read_text())["web"]) == ["web-1", "web-3"]


def test_many_at_once_get_no_more_slots_than_there_are(tmp_path) -> None:
    given = SlotFile(path=tmp_path / "slots.json", hosts=3)

    def ask(number: int) -> bool:
        try:
            FileSlots(given).take(f"web-{number}", "test")
        except OperationError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(20))) == 3


@pytest.mark.parametrize("text", ["", "[]", '{"web": []}', '{"web": {"web-1": 1}}', "<html>"])
def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(tmp_path, text: str) -> None:
    path = tmp_path / "slots.json"
    path.write_text(text)
    with pytest.raises(OperationError, match=r"the file of reboot slots .* cannot be used"):
        FileSlots(SlotFile(path=path)).take("web-1", "test")
    assert path.read_text() == text
