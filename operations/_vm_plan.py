"""What has to change at a machine: pure, from what it is and what it is to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from facts.vm import Machine

KIB_IN_GIB = 1024 * 1024


@dataclass(frozen=True)
class WantedDisk:
    """A disk on the first SCSI controller; one that is larger is left alone."""

    unit: int
    gib: int
    datastore: str | None = None
    thin: bool = True


@dataclass(frozen=True)
class WantedAdapter:
    """A network adapter; its MAC is as the vCenter says when it is None."""

    network: str
    mac: str | None = None


@dataclass(frozen=True)
class Wanted:
    """What a machine is to be made of. Adapters are the first ones; none: left alone."""

    cpus: int
    cores_per_socket: int
    memory_mib: int
    disks: Sequence[WantedDisk] = ()
    adapters: Sequence[WantedAdapter] = ()
    annotation: str = ""


@dataclass(frozen=True)
class Change:
    """One reconfiguration. What is None or empty stays as it is.

    Args:
        grow: key of a disk -> its new size in KiB.
        replug: key of an adapter -> its new network.
        macs: key of an adapter -> its new MAC.
        plug: new adapters.
        words: what changes, for a person.
        needs_off: which of it cannot be done while the machine runs.
    """

    cpus: int | None = None
    cores_per_socket: int | None = None
    memory_mib: int | None = None
    annotation: str | None = None
    grow: Mapping[int, int] = field(default_factory=dict)
    add: Sequence[WantedDisk] = ()
    replug: Mapping[int, str] = field(default_factory=dict)
    macs: Mapping[int, str] = field(default_factory=dict)
    plug: Sequence[WantedAdapter] = ()
    words: Sequence[str] = ()
    needs_off: Sequence[str] = ()


def change(seen: Machine, wanted: Wanted) -> Change | None:
    """The one reconfiguration that makes a machine what it is to be; None when it is so."""
    words: list[str] = []
    off: list[str] = []
    cpus = cores = memory = annotation = None
    if (seen["cpus"], seen["cores_per_socket"]) != (wanted.cpus, wanted.cores_per_socket):
        cpus, cores = wanted.cpus, wanted.cores_per_socket
        words.append(f"{seen['cpus']} to {cpus} CPUs, {cores} to a socket")
        if not seen["cpu_hot_add"] or cpus < seen["cpus"] or cores != seen["cores_per_socket"]:
            off.append("CPUs")
    if seen["memory_mib"] != wanted.memory_mib:
        memory = wanted.memory_mib
        words.append(f"{seen['memory_mib']} to {memory} MiB of memory")
        if not seen["memory_hot_add"] or memory < seen["memory_mib"]:
            off.append("memory")
    if seen["annotation"] != wanted.annotation:
        annotation = wanted.annotation
        words.append("annotation")
    grow, add = _disks(seen, wanted, words)
    replug, macs = _adapters(seen, wanted, words)
    if macs:
        off.append("MAC address")
    plug = list(wanted.adapters[len(seen["adapters"]) :])
    words += [f"a new adapter on {adapter.network}" for adapter in plug]
    if not words:
        return None
    return Change(cpus, cores, memory, annotation, grow, add, replug, macs, plug, words, off)


def _disks(seen: Machine, wanted: Wanted, words: list[str]) -> tuple[dict[int, int], list[WantedDisk]]:
    there = {disk["unit"]: disk for disk in seen["disks"]}
    grow, add = {}, []
    for disk in wanted.disks:
        found = there.get(disk.unit)
        if found is None:
            add.append(disk)
            words.append(f"a new disk {disk.unit} of {disk.gib} GiB")
        elif found["kib"] < disk.gib * KIB_IN_GIB:
            grow[found["key"]] = disk.gib * KIB_IN_GIB
            words.append(f"disk {disk.unit} from {found['kib'] / KIB_IN_GIB:g} to {disk.gib} GiB")
    return grow, add


def _adapters(seen: Machine, wanted: Wanted, words: list[str]) -> tuple[dict[int, str], dict[int, str]]:
    replug, macs = {}, {}
    for there, adapter in zip(seen["adapters"], wanted.adapters, strict=False):
        if there["network"] != adapter.network:
            replug[there["key"]] = adapter.network
            words.append(f"the adapter {there['mac']} from {there['network'] or 'nowhere'} to {adapter.network}")
        if adapter.mac not in {None, there["mac"]}:
            macs[there["key"]] = str(adapter.mac)
            words.append(f"the MAC of the adapter {there['mac']} to {adapter.mac}")
    return replug, macs
