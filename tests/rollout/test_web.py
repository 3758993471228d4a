"""The view in the browser: what it answers, and whom."""

from __future__ import annotations

import http.client
import threading
import time
from datetime import UTC, datetime

import pytest

from deploys.report.html import source, text_of
from deploys.report.web import Pages, server
from deploys.rollout.model import State
from deploys.rollout.store.commands import Commands
from tests.rollout.played import World


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    made = World(tmp_path_factory.mktemp("web") / "state")
    assert made.play(made.begin([[1]])) is State.DONE
    return made


@pytest.fixture(scope="module")
def port(world):
    with server(world.store, "localhost", 0) as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield found.server_address[1]
        found.shutdown()


def ask(port: int, path: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for each in [f"localhost:{port}"] if host is None else host.split("\n"):
        if each:
            connection.putheader("Host", each)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read().decode()


@pytest.mark.parametrize(("path", "text"), [
    ("/", "<h1>Rollouts</h1>"), ("/rollouts", '<a href="/rollout/1">1</a>'), ("/rollout/1", "<h1>Rollout 1</h1>"),
    ("/rollout/1?x=y", "<h1>Rollout 1</h1>"), ("/report", "<h1>Fleet</h1>"), ("/metrics", "photon_fleet_hosts{"),
])  # fmt: skip
def test_pages(port, path, text) -> None:
    status, headers, body = ask(port, path)
    assert (status, text in body) == (200, True)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert ask(port, path, "HEAD")[2] == ""
    length = int(ask(port, path, "HEAD")[1]["Content-Length"])
    # Ages have more digits a moment later.
    assert length == len(body.encode()) if path != "/metrics" else length > 0


@pytest.mark.parametrize("path", [
    "/rollout/2", "/rollout/x", "/rollout/99999999999999999999", "/../etc/passwd", "/page.css", "//evil.example/",
    "/%00",
])  # fmt: skip
def test_what_is_not_there(port, path) -> None:
    assert ask(port, path)[0] == 404


def test_it_can_only_be_looked_at(port) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(port, "/rollout/1", method)[0] == 501


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "LOCALHOST:80", "[::1]:8080"])
def test_names_of_this_machine(port, host) -> None:
    assert ask(port, "/report", host=host)[0] == 200


@pytest.mark.parametrize("host", [
    "evil.example", "localhost.evil.example", "evil.example:8080", "", "localhost\nevil.example", "127.0.0.1.nip.io",
    "[::1", "evil@localhost:80", "localhost:80x", "192.0.2.1",
])  # fmt: skip
def test_nobody_is_answered_under_another_name(port, host) -> None:
    status, _, body = ask(port, "/report", host=host)
    assert (status, "Fleet" in body) == (421, False)


def test_the_only_script_is_the_one_that_the_policy_names(port) -> None:
    _, headers, body = ask(port, "/report")
    assert f"script-src {source(text_of('live.js'))}; connect-src 'self'" in headers["Content-Security-Policy"]
    assert body.count("<script") == 1
    assert f"<script>{text_of('live.js')}</script>" in body


def soon(port: int, path: str, text: str) -> bool:
    """Whether a page says so before its browser asks for the second time."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        if text in ask(port, path)[2]:
            return True
        time.sleep(0.05)
    return False


def test_a_page_says_soon_what_has_become_of_a_rollout(world, port) -> None:
    ident = world.begin([[1]], prefix="db")
    assert soon(port, f"/rollout/{ident}", '<span class="badge changed">running</span>')
    Commands(world.store, "bob").say(ident, "pause")
    assert soon(port, f"/rollout/{ident}", '<span class="badge warn">paused</span>')


def test_a_page_that_takes_its_time_is_not_made_for_everybody_who_looks(world) -> None:
    made = []

    def clock() -> datetime:
        made.append(time.sleep(0.2))
        return datetime.now(UTC)

    pages = Pages(world.store, clock)
    for number in range(3):
        world.begin([[1]], prefix=f"more-{number}")
        pages.at("/report")
    assert len(made) == 1
