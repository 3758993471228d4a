"""Waiting for guests: all machines of a run that wait are looked at together, by one read a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploys.vsphere.crew import Crew, Seen
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.pins import Pin, holds, pin
from deploys.vsphere.rows import AddressRule
from deploys.vsphere.seed.cloud_init import FAILED, HOST_KEY, READY
from deploys.vsphere.seed.host_keys import read_back

LOOK_SECONDS = 1.0
INSTANCE = "guestinfo.fleet.instance"
"""The instance id that a machine was made with: what its first boot writes back when it is through."""


@dataclass(frozen=True)
class Guest:
    """A guest that can be logged in to.

    Args:
        address: where.
        host_key: the public key that it has made itself, as it is in guestinfo; empty when it has none to tell.
    """

    address: str
    host_key: str
    instance: str

    def pin(self, host: str) -> Pin:
        """What is to be pinned for it."""
        return Pin(host, self.address, self.host_key, self.instance)


class Waiting:
    """The machines of a crew whose guests are waited for.

    Args:
        crew: the machines.
        rules: host -> which of its addresses is meant.
    """

    def __init__(self, crew: Crew, rules: Mapping[str, AddressRule]) -> None:
        self._crew = crew
        self._rules = rules
        self._hosts: set[str] = set()
        self._lock = threading.Lock()
        self._looked = 0.0

    def is_settled(self, host: str, known_hosts: Path) -> bool:
        """Whether the guest can be logged in to, and its key is pinned.

        Raises:
            VSphereError: it will never be ready by itself.
        """
        guest, _ = _judged(host, self._crew.seen(host), self._rules[host])
        return guest is not None and (not guest.host_key or holds(known_hosts, guest.pin(host)))

    def wait_and_pin(self, host: str, known_hosts: Path, seconds: float) -> None:
        """Wait for a guest, and pin its host key.

        Raises:
            VSphereError: it is not ready in time, or another key is pinned.
            InputError: the file of pinned keys cannot be written.
        """
        guest = self._until_ready(host, seconds)
        if guest.host_key:
            pin(known_hosts, guest.pin(host))

    def _until_ready(self, host: str, seconds: float) -> Guest:
        end = time.monotonic() + seconds
        with self._lock:
            self._hosts.add(host)
        try:
            while True:
                self._look()
                seen = self._crew.seen(host)
                guest, why = _judged(host, seen, self._rules[host])
                if guest is not None:
                    return guest
                if time.monotonic() >= end:
                    message = f"the guest of {host} is not ready after {seconds:.0f} s: {why}"
                    raise VSphereError(message)
                time.sleep(LOOK_SECONDS)
        finally:
            with self._lock:
                self._hosts.discard(host)

    def _look(self) -> None:
        with self._lock:
            if time.monotonic() - self._looked < LOOK_SECONDS:
                return
            self._crew.look_again(sorted(self._hosts))
            self._looked = time.monotonic()


def _judged(host: str, seen: Seen | None, rule: AddressRule) -> tuple[Guest | None, str]:
    """The guest, or why it is not ready yet.

    Raises:
        VSphereError: it will not be.
    """
    if seen is None:
        message = f"the machine of {host} is gone"
        raise VSphereError(message)
    vm, marks = seen.vm, seen.machine.marks
    if vm.question:
        message = f"the machine of {host} waits for an answer, on its console in the vCenter: {vm.question}"
        raise VSphereError(message)
    if marks.get(FAILED):
        message = f"the first boot of {host} failed, as its guest says: {marks[FAILED]}"
        raise VSphereError(message)
    instance = marks.get(INSTANCE, "")
    if instance and marks.get(READY) != instance:
        return None, "its first boot is not through" if vm.tools else "VMware Tools do not run in it"
    place = rule.of(vm) if vm.power == "on" else None
    if place is None:
        return None, rule.reason(vm)
    return Guest(place, read_back(marks[HOST_KEY]) if HOST_KEY in marks else "", instance), ""
