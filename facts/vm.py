"""A host's virtual machine as its vCenter has it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

ASK = "vcenter-machine"
"""The word by which the @vm connector knows that its vCenter is asked; no shell has such a command."""


class Disk(TypedDict):
    """A virtual disk on the first SCSI controller."""

    key: int
    unit: int
    kib: int


class Adapter(TypedDict):
    """A network adapter, in the order of the devices."""

    key: int
    mac: str
    network: str


class Snapshot(TypedDict):
    """A snapshot. `at` is when it was made, in ISO 8601."""

    moid: str
    name: str
    description: str
    at: str


class Machine(TypedDict):
    """A machine.

    Its `folder` is the path from the datacenter down and `label` its name, both as the API writes names; `power` is
    on, off or suspended; `marks` are the guestinfo keys; `version` is that of its configuration; `addresses` are those
    of its own adapters, and `why_not` says why it has none.
    """

    moid: str
    uuid: str
    folder: str
    label: str
    power: str
    tools: bool
    question: str
    cpus: int
    cores_per_socket: int
    memory_mib: int
    cpu_hot_add: bool
    memory_hot_add: bool
    disks: list[Disk]
    adapters: list[Adapter]
    annotation: str
    attributes: dict[str, str]
    tags: dict[str, list[str]]
    marks: dict[str, str]
    version: str
    snapshots: list[Snapshot]
    address: str
    why_not: str


class VirtualMachine(FactBase[Machine | None]):
    """The machine of a host; None when there is none.

    One that is in its place and not ours, and a vCenter that refuses or does not answer, are errors of this host.

        {"moid": "vm-42", "label": "web-1", "power": "on", "cpus": 2, ...}
    """

    @staticmethod
    @override
    def default() -> None:
        return None

    @override
    def command(self, host: str) -> StringCommand:
        return StringCommand(ASK, QuoteString(host))

    @override
    def process(self, output: Iterable[str]) -> Machine | None:
        try:
            found: Machine | None = json.loads("\n".join(output))
        except ValueError as error:
            message = f"no answer of a vCenter: {error}"
            raise FactProcessError(message) from error
        return found
