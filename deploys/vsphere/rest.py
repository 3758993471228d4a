"""The REST half of a vCenter, which has the tags and content libraries: a session of its own, over the same judged TLS.

`/api` is there since 7.0 U2; before it, and as long as it lasts, `/rest/com/vmware` says the same in other envelopes.
A request is sent again after a lost answer: what is sent here may be repeated, as a tag that is attached stays so.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote

from deploys.vsphere.errors import UnansweredError, VSphereError
from deploys.vsphere.session import ANSWER_SECONDS, PAUSE_SECONDS, READS, Session

TAGGING = "cis/tagging"
_HEADER = "vmware-api-session-id"
_BUSY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Dialect:
    """How one of the two spells its requests.

    Args:
        base: before `/cis/tagging/...`.
        login: where a session is made and ended.
        action: what a path's action follows.
        ident: before an object's id in a path.
    """

    base: str
    login: str
    action: str
    ident: str
    wrapped: bool

    def path(self, *steps: str, action: str | None = None, service: str = TAGGING) -> str:
        """`/api/cis/tagging/tag/urn%3A...?action=list`; the last of several steps is an object's id."""
        parts = [self.base, service, steps[0], *(self.ident + quote(step, safe="") for step in steps[1:])]
        return "/".join(parts) + (f"?{self.action}={action}" if action else "")

    def body(self, value: Mapping[str, Any], envelope: str | None) -> dict[str, Any]:
        """A request's body; what is created is wrapped by the old one."""
        return {envelope: dict(value)} if self.wrapped and envelope else dict(value)


NEW = Dialect("/api", "/api/session", "action", "", wrapped=False)
OLD = Dialect("/rest/com/vmware", "/rest/com/vmware/cis/session", "~action", "id:", wrapped=True)


class Rest:
    """The REST session that belongs to a session; logged in with the first request, ended with the session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection: HTTPConnection | None = None
        self._token: str | None = None
        self._dialect: Dialect | None = None
        self._refused: VSphereError | None = None
        self._lock = threading.RLock()
        session.at_close(self.close)

    def get(self, *steps: str) -> Any:  # noqa: ANN401 - JSON
        """What is at a path below `tagging`; None when there is no such object."""
        return self._ask("GET", steps, None, None, None)

    def post(self, *steps: str, action: str | None = None, body: Mapping[str, Any], envelope: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """The answer to an action, or what was created.

        Raises:
            VSphereError: it is refused, or there is no answer.
        """
        return self._ask("POST", steps, action, body, envelope)

    def find(self, service: str, kind: str, body: Mapping[str, Any]) -> list[str]:
        """The ids of the objects of a kind that fit.

        Raises:
            VSphereError: it is refused, or there is no answer.
        """
        return list(self._ask("POST", (kind,), "find", body, "spec", service) or ())

    def once(self, service: str, steps: Sequence[str], action: str, body: Mapping[str, Any], seconds: float) -> Any:  # noqa: ANN401 - JSON
        """The answer to an action that may not be repeated and may take long.

        Raises:
            UnansweredError: no answer; look whether it was carried out.
            VSphereError: it is refused.
        """
        with self._lock:
            token, dialect = self._logged_in()
            path = dialect.path(*steps, action=action, service=service)
            self._hang_up()
            try:
                status, answer = self._send("POST", path, json.dumps(body).encode(), {_HEADER: token}, seconds)
            except (OSError, HTTPException) as error:
                message = f"{self._session.vcenter.place}: no answer to a call: {error}"
                raise UnansweredError(message) from error
            finally:
                self._hang_up()
            return self._judged(f"POST {path}", dialect, status, answer)

    def tags_of_category(self, category: str) -> list[str]:
        """The ids of a category's tags; the one call whose two forms differ in more than their envelope."""
        with self._lock:
            wrapped = self._logged_in()[1].wrapped
        steps, body = (("tag", category), {}) if wrapped else (("tag",), {"category_id": category})
        found: list[str] = self.post(*steps, action="list-tags-for-category", body=body)
        return found

    def close(self) -> None:
        """End the session. One that cannot be ended ends by itself."""
        if self._token is not None and self._dialect is not None:
            with suppress(OSError, HTTPException):
                self._send("DELETE", self._dialect.login, None, {_HEADER: self._token})
        self._token = None
        self._hang_up()

    def _ask(
        self, method: str, steps: Sequence[str], action: str | None, body: Mapping[str, Any] | None,
        envelope: str | None, service: str = TAGGING,
    ) -> Any:  # noqa: ANN401 - JSON  # fmt: skip
        # One connection, one request at a time: machines of a run are tagged side by side.
        with self._lock:
            for again in (True, False):
                token, dialect = self._logged_in()
                sent = json.dumps(dialect.body(body, envelope)).encode() if body is not None else None
                path = dialect.path(*steps, action=action, service=service)
                status, answer = self._tried(method, path, sent, {_HEADER: token})
                if status == HTTPStatus.UNAUTHORIZED and again:
                    # The session has ended by itself.
                    self._token = None
                    continue
                if status == HTTPStatus.NOT_FOUND and method == "GET":
                    return None
                return self._judged(f"{method} {path}", dialect, status, answer)
            raise AssertionError

    def _judged(self, what: str, dialect: Dialect, status: int, answer: Any) -> Any:  # noqa: ANN401 - JSON
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(what, status, answer)
        return answer["value"] if dialect.wrapped and isinstance(answer, dict) and "value" in answer else answer

    def _logged_in(self) -> tuple[str, Dialect]:
        if self._token is not None and self._dialect is not None:
            return self._token, self._dialect
        if self._refused is not None:
            raise self._refused
        vcenter = self._session.vcenter
        # The other half is logged in first: it is the one that knows of a refused password.
        _ = self._session.content
        given = base64.b64encode(f"{vcenter.user}:{vcenter.password.resolve()}".encode()).decode()
        for dialect in (self._dialect,) if self._dialect is not None else (NEW, OLD):
            status, answer = self._tried("POST", dialect.login, b"", {"Authorization": f"Basic {given}"})
            if status == HTTPStatus.NOT_FOUND and dialect is NEW:
                continue
            if status >= HTTPStatus.MULTIPLE_CHOICES:
                refusal = self._refusal("a session of its REST services", status, answer)
                if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                    # As with the other half: a password that was refused is not sent again in this run.
                    self._refused = refusal
                raise refusal
            token = answer["value"] if dialect.wrapped else answer
            if not isinstance(token, str) or not token:
                raise self._refusal("a session of its REST services", status, "no token")
            self._token, self._dialect = token, dialect
            return token, dialect
        raise AssertionError

    def _tried(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, Any]:
        pause = PAUSE_SECONDS
        for left in reversed(range(READS)):
            try:
                status, answer = self._send(method, path, body, headers)
            except (OSError, HTTPException) as error:
                self._hang_up()
                if not left:
                    message = (
                        f"vCenter {self._session.vcenter.place}: no answer of its REST services, {READS} times: {error}"
                    )
                    raise VSphereError(message) from error
            else:
                if status not in _BUSY or not left:
                    return status, answer
            time.sleep(pause)
            pause *= 2
        raise AssertionError

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float = ANSWER_SECONDS
    ) -> tuple[int, Any]:
        if self._connection is None:
            vcenter = self._session.vcenter
            self._connection = HTTPSConnection(
                vcenter.host, vcenter.port, timeout=seconds, context=self._session.context
            )
        self._connection.request(method, path, body, {**headers, "Content-Type": "application/json"})
        response = self._connection.getresponse()
        text = response.read()
        try:
            return response.status, json.loads(text) if text else None
        except ValueError:
            # A proxy's page, or a refusal in words.
            return response.status, text.decode(errors="replace")[:200]

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _refusal(self, what: str, status: int, answer: object) -> VSphereError:
        return VSphereError(
            f"vCenter {self._session.vcenter.place}: {what} is refused: HTTP {status}: {_words(answer)}"
        )


def _words(answer: Any) -> str:  # noqa: ANN401 - JSON
    """The messages of a REST error, in either envelope."""
    value = answer.get("value", answer) if isinstance(answer, dict) else answer
    if not isinstance(value, dict):
        return str(value or "no words")
    kind = value.get("error_type") or answer.get("type") or ""
    messages = [str(each.get("default_message")) for each in value.get("messages") or () if isinstance(each, dict)]
    return "; ".join(word for word in (str(kind), *messages) if word) or "no words"
