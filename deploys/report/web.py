"""A view of rollouts for a browser on the same machine: it reads rows, takes no orders, and keeps itself up to date.

Only loopback addresses are listened on, as there is no login; and only requests for such a name are answered, so that
no page of somebody else's can have a browser read it under a name of its own (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from typing_extensions import override

from deploys.refusal import Refusal
from deploys.report.html import html, page, policy
from deploys.report.metrics import CONTENT_TYPE, metrics
from deploys.report.read import of_fleet, of_rollout
from deploys.rollout.store.store import Store

_NAMES = {"localhost", "127.0.0.1", "::1"}
_ROLLOUT = re.compile(r"/rollout/([0-9]{1,9})")
_HOST = re.compile(r"([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]+)?")
_SECONDS = 30
"""How long a browser may take for its question."""
_FRESH_SECONDS = 10.0
"""Lengths of time on a page are at most so old; all else is as new as the rows."""
_REST = 4
"""So many times as long as a page took to make it is not made again: a large fleet leaves the machine its time."""
_MOST_PAGES = 100
_HTML = "text/html; charset=utf-8"
_HEADERS = {
    "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": policy(live=True) + "; frame-ancestors 'none'",
}  # fmt: skip


class Pages:
    """What there is to see. A page is made once for all who look, and anew when a row of audit has been written."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store, self._clock = store, clock
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def at(self, path: str) -> tuple[str, str] | None:
        """Content type and text of a page; None when there is none.

        Raises:
            Refusal: there is no such rollout.
        """
        found = _ROLLOUT.fullmatch(path)
        if found:
            return _HTML, self._made(path, lambda now: html(of_rollout(self._store, int(found[1]), now), live=True))
        if path in {"/", "/rollouts"}:
            return _HTML, self._made(path, lambda _: page("rollouts", live=True, rollouts=self._store.rollouts(100)))
        if path == "/report":
            return _HTML, self._made(path, lambda now: html(of_fleet(self._store, now), live=True))
        return (CONTENT_TYPE, metrics(self._store, self._clock())) if path == "/metrics" else None

    def _made(self, path: str, make: Callable[[datetime], str]) -> str:
        with self._lock:
            last = self._store.rows("SELECT max(id) AS last FROM audit")[0]["last"] or 0
            begun = time.monotonic()
            state = (last, int(begun / _FRESH_SECONDS))
            kept = self._kept.get(path)
            if kept is None or (kept.state != state and begun >= kept.until):
                text = make(self._clock())
                if len(self._kept) >= _MOST_PAGES:
                    self._kept.clear()
                now = time.monotonic()
                kept = self._kept[path] = _Kept(state, now + _REST * (now - begun), text)
            return kept.text


@dataclass(frozen=True)
class _Kept:
    """A page, what it was made from, and until when it is good enough in any case."""

    state: tuple[int, int]
    until: float
    text: str


class _Handler(BaseHTTPRequestHandler):
    """A request. `pages` and `names` are of the class that `server` makes."""

    pages: Pages
    names: frozenset[str]
    timeout = _SECONDS
    server_version = "photon-fleet"
    sys_version = ""

    def do_GET(self) -> None:
        """A page, or why there is none."""
        if not _is_one_of(self.headers.get_all("Host") or [], self.names):
            self._answer(
                HTTPStatus.MISDIRECTED_REQUEST, "text/plain", "This is answered under the name of this machine alone.\n"
            )
            return
        try:
            found = self.pages.at(urlsplit(self.path).path)
        except Refusal as error:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", f"{error}\n")
        except Exception:
            self._answer(
                HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", "This page cannot be made: see the terminal.\n"
            )
            raise
        else:
            if found is None:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", "There is no such page.\n")
            else:
                self._answer(HTTPStatus.OK, *found)

    do_HEAD = do_GET  # noqa: N815 - as the base class calls it

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Nobody needs to be told of each look."""


def _is_one_of(given: list[str], names: frozenset[str]) -> bool:
    """Whether a request has one Host header, of one of these names."""
    found = _HOST.fullmatch(given[0].lower()) if len(given) == 1 else None
    return found is not None and found[1].strip("[]") in names


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def server(store: Store, listen: str, port: int) -> ThreadingHTTPServer:
    """A server that is not yet serving; port 0 takes a free one.

    Raises:
        Refusal: the address is no loopback address, or cannot be listened on.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if listen == "localhost" else listen)
    except ValueError:
        address = ipaddress.ip_address(0)
    if not address.is_loopback:
        message = (
            f"--listen: {listen!r} is no loopback address. The view has no login: from elsewhere look through "
            "ssh -L 8080:127.0.0.1:8080, or a proxy that asks who one is"
        )
        raise Refusal(message)
    handler = type("Handler", (_Handler,), {"pages": Pages(store), "names": frozenset({*_NAMES, str(address)})})
    kind = _Server6 if address.version == 6 else _Server  # noqa: PLR2004 - IPv6
    try:
        return kind((str(address), port), handler)
    except OSError as error:
        message = f"{address} port {port}: {error.strerror or error}; --port takes another one"
        raise Refusal(message) from error


def serve(store: Store, listen: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve until it is interrupted.

    Raises:
        Refusal: the address is no loopback address, or cannot be listened on.
    """
    with server(store, listen, port) as found:
        host, number = found.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        tell(f"http://{name}:{number}/ shows rollouts and the fleet; Ctrl-C ends it")
        try:
            found.serve_forever()
        except KeyboardInterrupt:
            tell("")
