"""A webhook: a server of this process that keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

TOKEN = "T0KEN-that-nobody-may-see"


class Receiver:
    """Answers as it is told (`statuses`, then 200), and keeps path, headers and body of each message."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.got: list[tuple[str, dict[str, str], dict]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                receiver.got.append((self.path, dict(self.headers), body))
                self.send_response(status)
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{TOKEN}"

    @property
    def told(self) -> list[tuple[int, str, str]]:
        """Rollout, event and state of each message."""
        return [(body["rollout"], body["event"], body["state"]) for _, _, body in self.got]


@contextmanager
def receiving() -> Iterator[Receiver]:
    found = Receiver()
    threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()
