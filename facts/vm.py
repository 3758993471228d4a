"""A host's virtual machine as its vCenter has it."""

from __future__ import annotations

from typing import TypedDict

from facts._machine import MachineFact

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


class VirtualMachine(MachineFact[Machine]):
    """The machine of a host; None when there is none.

    One that is in its place and not ours, and a vCenter that refuses or does not answer, are errors of this host.

        {"moid": "vm-42", "label": "web-1", "power": "on", "cpus": 2, ...}
    """

    ask = ASK
    keeper = "a vCenter"
