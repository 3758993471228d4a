"""The machines of a run in one cloud: all read together, and found by what they bear and what is written down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deploys.clouds.machine import GONE, KNOWN, RUNNING, STOPPED, Cloud, CloudError, Instance, Order, token

SETTLE_SECONDS = 600
LOOK_SECONDS = 3.0
_REPLACEMENTS = 5
"""How many machines of one host, one after the other, may be gone and still answer to their tokens."""


@dataclass(frozen=True)
class Identity:
    """How a host's machine is found. `id` is what is written down; empty when nothing is."""

    mark: str
    id: str = ""


class Crew:
    """What is known, in this run, of the machines of its hosts; read when it is first asked for."""

    def __init__(self, cloud: Cloud, identities: Mapping[str, Identity]) -> None:
        self.cloud = cloud
        self.touched: set[str] = set()
        """Hosts at whose machines this run has changed something."""
        self._identities = dict(identities)
        self._lock = threading.RLock()
        self._found: list[Instance] | None = None
        self._read_at = 0.0

    def seen(self, host: str) -> Instance | None:
        """The machine of a host; None when there is none.

        Raises:
            CloudError: what is written down is not ours, or there are two; the cloud refuses or does not answer.
        """
        identity = self._identities[host]
        there = self._known()
        written = next((each for each in there if each.id == identity.id and each.state != GONE), None)
        if written is not None and written.mark != identity.mark:
            bears = f"it bears the mark {written.mark!r}" if written.mark else "it bears no mark of ours"
            message = f"{written.id} is written down as {host}'s, and {bears}. Nothing is done to it"
            raise CloudError(message)
        live = [each for each in there if each.mark == identity.mark and each.state != GONE]
        if len(live) > 1:
            names = " and ".join(sorted(each.id for each in live))
            message = f"{names} all bear the mark of {host}: nothing is done until one of them is left"
            raise CloudError(message)
        if live and live[0].state not in KNOWN:
            message = f"{live[0].id} is {live[0].state}, a state that is not known here: nothing is done to it"
            raise CloudError(message)
        return live[0] if live else None

    def changed(self) -> None:
        """Read anew when it is next asked for."""
        with self._lock:
            self._found = None

    def look_again(self, seconds: float) -> None:
        """Read anew unless what is known is younger than that: those that wait together read together."""
        with self._lock:
            if time.monotonic() - self._read_at >= seconds:
                self._found = None

    def make(self, host: str, order: Callable[[str], Order]) -> None:
        """Make the machine of a host, as `order` says with a token; one that is there already is taken.

        The token is the same until the machine is there, so that an answer that is lost, or a controller that dies
        while it waits for one, leaves no second machine.

        Raises:
            CloudError: the cloud refuses or does not answer.
        """
        identity = self._identities[host]
        gone = {each.id for each in self._known() if each.mark == identity.mark and each.state == GONE}
        before = sorted(gone | ({identity.id} if identity.id else set()))
        for _ in range(_REPLACEMENTS):
            made = self.cloud.make(order(token(identity.mark, before)))
            # A machine that is gone still answers to its token for a while.
            if self._appears(host, made):
                return
            before.append(made)
        message = f"{self.cloud.place}: {host} is made again and again, and each time it is gone: {', '.join(before)}"
        raise CloudError(message)

    def _appears(self, host: str, made: str) -> bool:
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            self.changed()
            found = next((each for each in self.cloud.ours([made]) if each.id == made), None)
            if found is not None:
                return found.state != GONE
            time.sleep(LOOK_SECONDS)
        message = f"{self.cloud.place} has made {made} for {host}, and does not show it after {SETTLE_SECONDS} s"
        raise CloudError(message)

    def stop(self, host: str) -> None:
        """Shut a machine down, and wait for that.

        Raises:
            CloudError: the cloud refuses, or it is not down in time.
        """
        end = time.monotonic() + SETTLE_SECONDS
        asked = False
        while (found := self.seen(host)) is not None and found.state != STOPPED:
            # One that only begins to run cannot be told to stop.
            if found.state == RUNNING and not asked:
                self.cloud.stop(found.id)
                self.changed()
                asked = True
                continue
            if time.monotonic() >= end:
                message = f"{found.id} is {found.state}, and not stopped after {SETTLE_SECONDS} s"
                raise CloudError(message)
            time.sleep(LOOK_SECONDS)
            self.look_again(LOOK_SECONDS)

    def terminate(self, host: str) -> None:
        """Remove the machine of a host: only the one that is written down, and bears the host's mark.

        Raises:
            CloudError: it is another one, or the cloud refuses.
        """
        found = self.seen(host)
        if found is None:
            return
        if found.id != self._identities[host].id:
            written = self._identities[host].id or "nothing"
            message = f"{found.id} bears the mark of {host}, and {written} is written down: it is not removed"
            raise CloudError(message)
        self.cloud.terminate(found.id)
        self.changed()

    def _known(self) -> list[Instance]:
        with self._lock:
            if self._found is None:
                ids = [identity.id for identity in self._identities.values() if identity.id]
                self._found = self.cloud.ours(ids)
                self._read_at = time.monotonic()
            return self._found
