"""Taking and giving back the reboot slot of a group, from the controller.

A slot belongs to a host, not to a run: a host that does not come back keeps it, so that no other one of its group
follows it. Whoever takes a slot that is already the host's own has it.
"""

from __future__ import annotations

import fcntl
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pyinfra.api import OperationError, StringCommand
from pyinfra.api.host import Host

from deploys.guard.owner import Owner, connector_of
from deploys.policies.update_slot import FleetLock, SlotFile
from operations._reboot import REBOOT

_TAKE, _GIVE = "pre-reboot", "steady-state"
_BUSY_STATUS = 409
_MOST_BYTES = 65536
_LOCK_SECONDS = 30.0


class Slots(Protocol):
    """A keeper of slots; both calls may be repeated."""

    def take(self, host: str, about: str) -> None:
        """Take the slot for a host. Raises OperationError: it is not to be had, with who has it where that is known."""

    def give_back(self, host: str) -> None:
        """Give it back. Raises OperationError: that did not work, so that it is still taken."""


class ServerSlots:
    """A server of the FleetLock protocol.

    Source of the format: POST to /v1/pre-reboot and /v1/steady-state with the header `fleet-lock-protocol: true` and
    {"client_params": {"id": ..., "group": ...}}; 200 is yes, anything else {"kind": ..., "value": ...}
    (zincati, docs/development/fleetlock/protocol.md). Whatever is not a clear yes is a no.
    """

    def __init__(self, given: FleetLock) -> None:
        self._given = given

    def take(self, host: str, about: str) -> None:  # noqa: ARG002 - the protocol has no place for it
        """Ask for the slot."""
        self._ask(_TAKE, host, f"the reboot slot of group {self._given.group} is not to be had")

    def give_back(self, host: str) -> None:
        """Say that the host is well again."""
        self._ask(_GIVE, host, f"the reboot slot of group {self._given.group} could not be given back")

    def _ask(self, what: str, host: str, trouble: str) -> None:
        headers = {"fleet-lock-protocol": "true", "content-type": "application/json"}
        if self._given.token is not None:
            headers["authorization"] = f"Bearer {self._given.token.resolve()}"
        body = json.dumps({"client_params": {"id": host, "group": self._given.group}}).encode()
        url = f"{self._given.url}/v1/{what}"
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - https, or this machine
        opener = urllib.request.build_opener(
            _NoRedirect, urllib.request.HTTPSHandler(context=ssl.create_default_context())
        )
        try:
            with opener.open(request, timeout=self._given.seconds) as answer:
                status = int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                message = f"{trouble}: {self._given.url} says {_said(error)}"
            raise OperationError(message) from error
        except (OSError, ValueError) as error:
            message = f"{trouble}: {self._given.url} does not answer: {getattr(error, 'reason', error)}"
            raise OperationError(message) from error
        if status != 200:  # noqa: PLR2004 - the protocol's one yes
            message = f"{trouble}: {self._given.url} answers with status {status}"
            raise OperationError(message)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A page that a portal sends elsewhere would be taken for a yes."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - the library's signature
        return None


def _said(error: urllib.error.HTTPError) -> str:
    try:
        told = json.loads(error.read(_MOST_BYTES))
        return f"{error.code}: {' '.join(str(told['value']).split())[:200]} ({str(told['kind'])[:60]})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"{error.code} {error.reason}"


class FileSlots:
    """Slots in a JSON file: {"group": {"host": "who, since when and why"}}."""

    def __init__(self, given: SlotFile) -> None:
        self._given = given

    def take(self, host: str, about: str) -> None:
        """Write the host down, unless as many others of its group are as may be."""
        with self._held() as slots:
            holders = slots.setdefault(self._given.group, {})
            others = [f"{name} ({holders[name]})" for name in sorted(holders) if name != host]
            if len(others) >= self._given.hosts:
                message = (
                    f"the reboot slot of group {self._given.group} is held by {'; '.join(others)}. Run again when it "
                    f"is free; one that is held for nothing is a line of {self._given.path}"
                )
                raise OperationError(message)
            holders.setdefault(host, f"{about}, since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    def give_back(self, host: str) -> None:
        """Strike the host out."""
        with self._held() as slots:
            holders = slots.get(self._given.group, {})
            holders.pop(host, None)
            if not holders:
                slots.pop(self._given.group, None)

    @contextmanager
    def _held(self) -> Iterator[dict[str, dict[str, str]]]:
        """The file's content, locked, and written back where it was changed.

        Raises:
            OperationError: it cannot be read, locked or written.
        """
        path = self._given.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.with_name(f"{path.name}.lock").open("a") as lock:
                _lock(lock.fileno())
                before = path.read_text() if path.exists() else "{}"
                slots = _checked(json.loads(before))
                yield slots
                after = json.dumps(slots, indent=2, sort_keys=True) + "\n"
                if after != before:
                    _replace(path, after)
        except (OSError, ValueError, RecursionError) as error:
            message = f"the file of reboot slots {path} cannot be used: {error}"
            raise OperationError(message) from error


def _lock(descriptor: int) -> None:
    # Not a lock that waits: one greenlet of this process may hold it, and could not go on.
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _checked(content: object) -> dict[str, dict[str, str]]:
    if not isinstance(content, dict):
        message = "it is no object of groups"
        raise ValueError(message)  # noqa: TRY004 - a value of the file, not of the program
    for group, holders in content.items():
        if not isinstance(holders, dict) or not all(isinstance(about, str) for about in holders.values()):
            message = f"group {group!r} is no object of hosts"
            raise ValueError(message)
    return content


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(path)


def slots_of(given: FleetLock | SlotFile) -> Slots:
    """The keeper that a policy names."""
    return ServerSlots(given) if isinstance(given, FleetLock) else FileSlots(given)


class HoldingSlot:
    """What is done around a reboot and its proof: first the slot, which is given back when both are done.

    A host that was told to reboot keeps it when it is not back, or not well; one that was not told so, as it would not
    drain, does not.
    """

    def __init__(self, target: Host, given: FleetLock | SlotFile, owner: Owner) -> None:
        self._host, self._slots, self._owner = target, slots_of(given), owner
        self._is_due = False

    def before(self) -> None:
        """Take the slot.

        Raises:
            OperationError: it is not to be had.
        """
        about = self._owner.lines()
        self._slots.take(self._host.name, f"by {about['by']}: {about['why']}")
        self._is_due = True
        connector_of(self._host).at_end(self._at_end)

    def wrapped(self, command: StringCommand) -> StringCommand:
        """The command as it is; from the reboot on only a host that is back gives the slot back."""
        if REBOOT in command.get_raw_value():
            self._is_due = False
        return command

    def after(self) -> None:
        """Give it back, as the host is as it should be.

        Raises:
            OperationError: it is still taken.
        """
        self._slots.give_back(self._host.name)
        self._is_due = False

    def _at_end(self) -> None:
        if self._is_due:
            self.after()
