"""Gates: what passes, what fails, and that whatever cannot be understood does neither."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.client import BadStatusLine, InvalidURL
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLError
from typing import Any
from urllib.error import URLError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.errors import InputError
from deploys.policies.secret import Secret, _resolve
from deploys.rollout.gate_kinds import CompareGate, HostHttpGate, bearer
from deploys.rollout.gates import asked, compared
from deploys.rollout.host_gates import combined
from deploys.rollout.model import Answer, WaveHosts
from deploys.rollout.settings import CommandGate, HttpGate, SilenceGate

WAVE = WaveHosts(0, ("web-1", "web-2"), ("web-3", "web-4", "web-5"))


class Server(ThreadingHTTPServer):
    """A server whose answers the test gives."""

    status = 200
    text = ""
    promised: int | None = None
    """Letters that it says it sends, when it sends fewer."""
    slow = ""
    """Which part of the answer comes a letter each half second: head or body."""
    seen: dict[str, str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.seen = {"path": self.path, "authorization": self.headers.get("Authorization")}
        if self.server.slow == "head":
            self._slowly()
        self.send_response(self.server.status)
        if self.server.promised is not None:
            self.send_header("Content-Length", str(self.server.promised))
        self.end_headers()
        if self.server.slow == "body":
            self._slowly()
        self.wfile.write(self.server.text.encode())

    def _slowly(self) -> None:
        end = time.monotonic() + 20
        while self.server.slow and time.monotonic() < end:
            self.wfile.write(b"x")
            time.sleep(0.5)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def ask(gate: Any, wave: WaveHosts = WAVE) -> tuple[Answer, str]:
    return asked("no inventory is needed", [gate], gate.name, wave)


@pytest.mark.parametrize(("command", "answer", "words"), [
    ("echo fine", Answer.PASS, "fine"),
    ("echo unsure; exit 75", Answer.INCONCLUSIVE, "unsure"),
    ("echo bad >&2; exit 3", Answer.FAIL, "it ended with 3: bad"),
    ("sleep 99", Answer.INCONCLUSIVE, "no end within 1 s"),
    ("echo $PHOTON_FLEET_WAVE $PHOTON_FLEET_HOSTS", Answer.PASS, "1 web-1 web-2"),
    ("paste -sd+ -", Answer.PASS, "web-1+web-2"),
])  # fmt: skip
def test_a_command(command, answer, words) -> None:
    assert ask(CommandGate(name="own", command=("sh", "-c", command), seconds=1)) == (answer, words)


def test_a_command_is_told_of_a_large_wave(monkeypatch) -> None:
    monkeypatch.setenv("PHOTON_FLEET_HOSTS", "of somebody else")
    wave = WaveHosts(2, tuple(f"web-{number:05}.prod.example.com" for number in range(6000)))
    gate = CommandGate(
        name="own", command=("sh", "-c", 'echo "${PHOTON_FLEET_HOSTS-none} $PHOTON_FLEET_WAVE $(wc -l)"')
    )
    answer, words = ask(gate, wave)
    assert (answer, words.split()) == (Answer.PASS, ["none", "3", "6000"])
    assert ask(CommandGate(name="own", command=("true",)), wave)[0] is Answer.PASS


@pytest.mark.parametrize(("ends", "answer"), [
    ("exec sleep 60", (Answer.INCONCLUSIVE, "no end within 1 s")), ("echo fine", (Answer.PASS, "fine")),
])  # fmt: skip
def test_what_a_command_leaves_behind_is_not_waited_for(tmp_path, ends, answer) -> None:
    pid = tmp_path / "pid"
    command = ("sh", "-c", f"setsid sleep 60 & echo $! > {pid}; {ends}")
    begin = time.monotonic()
    try:
        assert ask(CommandGate(name="own", command=command, seconds=1)) == answer
        assert time.monotonic() - begin < 20
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_command_that_there_is_not() -> None:
    assert ask(CommandGate(name="own", command=("/no/such",)))[0] is Answer.INCONCLUSIVE


def test_an_answer_over_http(server) -> None:
    server.status, server.text = 200, '{"state": "ok"}'
    gate = HttpGate(name="shop", url=server.url)
    assert ask(gate)[0] is Answer.PASS
    assert ask(HttpGate(name="shop", url=server.url, contains='"ok"'))[0] is Answer.PASS
    assert ask(HttpGate(name="shop", url=server.url, contains="more"))[0] is Answer.FAIL
    assert ask(HttpGate(name="shop", url=server.url, absent='"ok"'))[0] is Answer.FAIL
    server.status = 503
    assert ask(gate) == (Answer.FAIL, 'the answer has the status 503: {"state": "ok"}')
    assert ask(HttpGate(name="shop", url="http://127.0.0.1:1"))[0] is Answer.INCONCLUSIVE


def test_an_answer_that_was_not_read_to_its_end_passes_nothing(server) -> None:
    server.status, server.text = 200, f"{'x' * (1 << 20)}ERROR"
    assert ask(HttpGate(name="shop", url=server.url))[0] is Answer.PASS
    for gate in (
        HttpGate(name="shop", url=server.url, absent="ERROR"),
        HttpGate(name="shop", url=server.url, contains="OK"),
    ):
        answer, words = ask(gate)
        assert answer is Answer.INCONCLUSIVE
        assert "not read to its end" in words
    assert ask(HttpGate(name="shop", url=server.url, absent="x"))[0] is Answer.FAIL
    server.text, server.promised = "cut off", 100
    try:
        assert ask(HttpGate(name="shop", url=server.url, absent="ERROR"))[0] is Answer.INCONCLUSIVE
    finally:
        server.promised = None


@pytest.mark.parametrize("slow", ["head", "body"])
def test_an_answer_that_comes_a_letter_at_a_time_is_not_waited_for(server, slow) -> None:
    server.status, server.text, server.slow = 200, "fine", slow
    begin = time.monotonic()
    try:
        assert ask(HttpGate(name="shop", url=server.url, seconds=1)) == (Answer.INCONCLUSIVE, "no answer within 1 s")
        assert time.monotonic() - begin < 10
    finally:
        server.slow = ""


def vector(**values: float) -> str:
    rows = [{"metric": {"instance": f"{name.replace('_', '-')}:9100"}, "value": [0, str(value)]}
            for name, value in values.items()]  # fmt: skip
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}})


def test_silence(server) -> None:
    server.status, server.text = 200, vector()
    gate = SilenceGate(name="alerts", url=server.url)
    assert ask(gate) == (Answer.PASS, "silence")
    assert server.seen["path"].startswith("/api/v1/query?query=ALERTS%7B")
    server.text = vector(web_1=1)
    assert ask(gate)[0] is Answer.FAIL


RUBBISH = ["", "<html>", "[]", '{"status": "error", "error": "no"}', '{"status": "success", "data": {}}',
           '{"status": "success", "warnings": ["partial"], "data": {"result": []}}',
           '{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, "x"]}]}}',
           '{"status": "success", "data": {"result": []}}',
           '{"status": "success", "data": {"resultType": "vector", "result": {}}}',
           '{"status": "success", "data": {"resultType": "matrix", "result": []}}',
           '{"status": "success", "data": {"resultType": "string", "result": ""}}']  # fmt: skip


@pytest.mark.parametrize("text", RUBBISH)
def test_what_is_no_answer_of_prometheus_passes_nothing(server, text) -> None:
    server.status, server.text = 200, text
    for gate in (SilenceGate(name="g", url=server.url), CompareGate(name="g", url=server.url, query="up")):
        assert ask(gate)[0] is Answer.INCONCLUSIVE


def test_a_wave_that_is_worse_than_the_others(server) -> None:
    gate = CompareGate(name="errors", url=server.url, query="rate(errors[5m])", percent=50, least=0.1)
    server.text = vector(web_1=1.2, web_2=1.4, web_3=1, web_4=1, web_5=9)
    assert ask(gate) == (Answer.PASS, "1.3 here, 1 on 3 hosts that are not touched yet")
    server.text = vector(web_1=1.6, web_2=1.8, web_3=1, web_4=1, web_5=9)
    assert ask(gate)[0] is Answer.FAIL
    server.text = vector(web_1=0.05, web_2=0.05, web_3=0, web_4=0, web_5=0)
    assert ask(gate)[0] is Answer.PASS
    server.text = vector(web_1=1, web_3=1)
    assert ask(gate) == (Answer.INCONCLUSIVE, "no value for web-2")
    server.text = vector(web_1=1, web_2=1)
    assert ask(gate) == (Answer.INCONCLUSIVE, "no value for the hosts that are not touched yet")
    assert ask(gate, WaveHosts(2, ("web-1",)))[0] is Answer.PASS


@pytest.mark.parametrize("values", [(100, 1), (1, 100), (float("nan"), 1)])
@pytest.mark.parametrize("host", ["web-1", "web-3"])
def test_of_two_values_of_a_host_none_is_taken(values, host) -> None:
    rows = [{"metric": {"instance": f"{host}:{port}"}, "value": (0, str(value))} for port, value in enumerate(values)]
    rows += [
        {"metric": {"instance": name}, "value": (0, "1")} for name in (*WAVE.hosts, *WAVE.untouched) if name != host
    ]
    answer, words = compared(CompareGate(name="g", url="http://x", query="q"), WAVE, rows)
    assert (answer, words) == (Answer.INCONCLUSIVE, f"more than one value for {host}: let the query make one of them")


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 100))
def test_better_is_never_worse(mine, theirs, percent) -> None:
    rows = [{"metric": {"instance": name}, "value": (0, str(value))} for name, value in (("a", mine), ("b", theirs))]
    for worse, is_better in (("higher", mine <= theirs), ("lower", mine >= theirs)):
        gate = CompareGate(name="g", url="http://x", query="q", worse=worse, percent=percent)
        answer, _ = compared(gate, WaveHosts(0, ("a",), ("b",)), rows)
        assert answer is Answer.PASS or not is_better


def test_a_token_is_sent_over_https_alone() -> None:
    for make in (SilenceGate, HttpGate, partial(CompareGate, query="up")):
        with pytest.raises(InputError, match="it is sent over https alone"):
            make(name="g", url="http://prometheus", token=Secret.env("X"))


@pytest.mark.parametrize("make", [SilenceGate, HttpGate, partial(CompareGate, query="up"), HostHttpGate])
@pytest.mark.parametrize("url", ["https://bob:s3cret@shop/", "bob:s3cret@shop", "ftp://s3cret@shop", "//s3cret@shop"])
def test_an_address_with_a_password_is_refused_without_a_word_of_it(make, url) -> None:
    with pytest.raises(InputError, match="url: ") as refused:
        make(name="g", url=url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("token", ["s3cret\n", "\ts3cret \r\n"])
def test_line_ends_around_a_token_are_none_of_it(monkeypatch, token) -> None:
    _resolve.cache_clear()
    monkeypatch.setenv("T", token)
    assert bearer(Secret.env("T")) == "Bearer s3cret"


@pytest.mark.parametrize("token", ["", "s3cret\nmore", "s3cret more", "s3cret\N{SNOWMAN}", "s3cret\x00"])
def test_what_is_no_token_is_refused_without_a_word_of_it(monkeypatch, token) -> None:
    _resolve.cache_clear()
    monkeypatch.setattr("os.environ", {"T": token})
    answer, words = ask(HttpGate(name="g", url="https://127.0.0.1:1/", token=Secret.env("T")))
    assert answer is Answer.INCONCLUSIVE
    assert words.startswith("Secret.env('T'): what it holds is no token")


@pytest.mark.parametrize("error", [
    InvalidURL("nonnumeric port: 's3cret'"), ValueError("b'Bearer s3cret'"), URLError("s3cret"),
    URLError(OSError("s3cret")), OSError("s3cret"), BadStatusLine("s3cret"), URLError(SSLError(1, "s3cret")),
])  # fmt: skip
def test_no_word_of_what_was_sent_in_what_went_wrong(monkeypatch, error) -> None:
    def fail(*_, **__) -> None:
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    answer, words = ask(HttpGate(name="g", url="https://127.0.0.1:1/"))
    assert answer is Answer.INCONCLUSIVE
    assert words.startswith("no answer: ")
    assert "s3cret" not in words


def test_the_worst_host_decides() -> None:
    good, bad, lost = (Answer.PASS, ""), (Answer.FAIL, "no"), (Answer.INCONCLUSIVE, "silent")
    assert combined({"a": good, "b": good}) == (Answer.PASS, "2 hosts")
    assert combined({"a": lost, "b": good}) == (Answer.INCONCLUSIVE, "a: silent")
    assert combined({"a": lost, "b": bad, "c": bad}) == (Answer.FAIL, "b: no; c: no")
