"""A region of EC2 for tests: moto's server, with what it lacks, and with faults.

    python -m tests.clouds.aws        prints {"port": 12345} and serves until its standard input ends

Beyond moto: the same ClientToken makes no second machine (and another request with it is refused, as EC2 does), and
a machine's console says what a test has put there. `POST /_lab` takes JSON: {"fault": {"action", "mode", "times"}}
with mode lost (carried out, never answered), throttle or down (not carried out); {"console": {"id", "text"}};
{"reset": true} forgets the counts. `GET /_lab` gives {"calls": {action: times}}.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
from collections import Counter
from urllib.parse import parse_qsl

from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

_ERROR = "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors></Response>"


class Region:
    """The WSGI application."""

    def __init__(self) -> None:
        self.moto = create_backend_app("ec2")
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, list[str]] = {}
        self.consoles: dict[str, str] = {}
        self.asked: dict[str, tuple[dict[str, str], bytes]] = {}

    def __call__(self, environ, start_response):
        request = Request(environ)
        if request.path == "/_lab":
            return self.lab(request)(environ, start_response)
        body = request.get_data(cache=True)
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = form.get("Action", "")
        self.calls[action] += 1
        fault = self.faults[action].pop(0) if self.faults.get(action) else ""
        if fault == "throttle":
            answer = Response(_ERROR.format("RequestLimitExceeded", "slow down"), 503)
        elif fault == "down":
            answer = Response(_ERROR.format("Unavailable", "try later"), 503)
        elif fault:
            self.carried_out(environ, form, body)
            # Nothing that HTTP would know: the connection ends in the middle of an answer.
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            answer = Response("")
        else:
            answer = self.carried_out(environ, form, body)
        return answer(environ, start_response)

    def carried_out(self, environ, form: dict[str, str], body: bytes) -> Response:
        action, token = form.get("Action"), form.get("ClientToken", "")
        if action == "GetConsoleOutput" and form["InstanceId"] in self.consoles:
            text = base64.b64encode(self.consoles[form["InstanceId"]].encode()).decode()
            return Response(f"<GetConsoleOutputResponse><output>{text}</output></GetConsoleOutputResponse>")
        if action == "RunInstances" and token in self.asked:
            before, answered = self.asked[token]
            if before != form:
                return Response(_ERROR.format("IdempotentParameterMismatch", "other parameters, same token"), 400)
            return Response(answered)
        answer = Response.from_app(self.moto, {**environ, "wsgi.input": _Again(body)}, buffered=True)
        if action == "RunInstances" and answer.status_code == 200:
            self.asked[token] = form, answer.get_data()
        return answer

    def lab(self, request: Request) -> Response:
        if request.method == "POST":
            asked = json.loads(request.get_data())
            if fault := asked.get("fault"):
                self.faults.setdefault(fault["action"], []).extend([fault["mode"]] * fault.get("times", 1))
            if console := asked.get("console"):
                self.consoles[console["id"]] = console["text"]
            if asked.get("reset"):
                self.calls.clear()
        return Response(json.dumps({"calls": self.calls}))


class _Again:
    """A body that is read once more."""

    def __init__(self, body: bytes) -> None:
        self.rest = body

    def read(self, size: int = -1) -> bytes:
        end = len(self.rest) if size is None or size < 0 else size
        given, self.rest = self.rest[:end], self.rest[end:]
        return given

    def readline(self, size: int = -1) -> bytes:
        return self.read(size)


def main() -> None:
    server = make_server("127.0.0.1", 0, Region(), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
