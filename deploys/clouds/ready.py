"""Waiting for a guest, and pinning the host key that it has named on its console, before anybody logs in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from deploys.clouds.console import said
from deploys.clouds.crew import LOOK_SECONDS, Crew
from deploys.clouds.machine import PENDING, RUNNING, CloudError, Instance
from deploys.vsphere.pins import Pin, pin, pinned
from deploys.vsphere.rows import AddressRule

CONSOLE_SECONDS = 5.0


class Waiting:
    """The guests of a crew. `rules`: host -> which of its addresses is meant."""

    def __init__(self, crew: Crew, rules: Mapping[str, AddressRule]) -> None:
        self._crew = crew
        self._rules = rules

    def is_settled(self, host: str, known_hosts: Path) -> bool:
        """Whether the guest can be logged in to, and its key is pinned for its address.

        Raises:
            CloudError: the machine is gone.
            InputError: the file of pinned keys cannot be read.
        """
        found = self._there(host)
        place = self._place(host, found)
        # A line that a person wrote counts as well: the console forgets, and a key can be read elsewhere.
        return any(each.address == place and each.instance in {"", found.made} for each in pinned(known_hosts, host))

    def wait_and_pin(self, host: str, known_hosts: Path, seconds: float) -> None:
        """Wait for a guest, and pin its host key; one that is pinned for this very machine serves without the console.

        Raises:
            CloudError: it is not ready in time, or another key is pinned.
            InputError: the file of pinned keys cannot be written.
        """
        end = time.monotonic() + seconds
        while True:
            self._crew.look_again(LOOK_SECONDS)
            found = self._there(host)
            place = self._place(host, found)
            why = self._rules[host].reason(found.row())
            if place is not None:
                known = [each.key for each in pinned(known_hosts, host) if each.instance == found.made != ""]
                key, why = (known[0], "") if known else self._told(host, found)
                if key:
                    pin(known_hosts, Pin(host, place, key, found.made))
                    return
            if time.monotonic() >= end:
                message = f"the guest of {host} ({found.id}) is not ready after {seconds:.0f} s: {why}"
                raise CloudError(message)
            time.sleep(CONSOLE_SECONDS if place is not None else LOOK_SECONDS)

    def _told(self, host: str, found: Instance) -> tuple[str, str]:
        """The key that the guest has told, or why there is none yet."""
        if not found.made:
            message = (
                f"{found.id} does not bear the token that {host} was made with, so nothing on its console can be known "
                "for its own. Compare its host key there, and pin it by hand"
            )
            raise CloudError(message)
        words = said(self._crew.cloud.console(found.id), found.made)
        if words.failed:
            message = f"the first boot of {host} failed, as its guest says: {words.failed}"
            raise CloudError(message)
        if not words.ready:
            return "", "its console does not say that its first boot is through"
        return words.host_key, "its console names no host key that is whole"

    def _there(self, host: str) -> Instance:
        found = self._crew.seen(host)
        if found is None:
            message = f"the machine of {host} is gone"
            raise CloudError(message)
        if found.state not in {PENDING, RUNNING}:
            message = f"the machine of {host} ({found.id}) is {found.state}"
            raise CloudError(message)
        return found

    def _place(self, host: str, found: Instance) -> str | None:
        return self._rules[host].of(found.row()) if found.state == RUNNING else None
