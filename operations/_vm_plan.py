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
class Wanted:
    """What a machine is to be made of. Networks are those of the first adapters; none: left alone."""

    cpus: int
    cores_per_socket: int
    memory_mib: int
    disks: Sequence[WantedDisk] = ()
    networks: Sequence[str] = ()
    annotation: str = ""


@dataclass(frozen=True)
class Change:
    """One reconfiguration. What is None or empty stays as it is.

    Args:
        grow: key of a disk -> its new size in KiB.
        replug: key of an adapter -> its new network.
        plug: networks of new adapters.
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
    plug: Sequence[str] = ()
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
    replug, plug = _adapters(seen, wanted, words)
    if not words:
        return None
    return Change(cpus, cores, memory, annotation, grow, add, replug, plug, words, off)


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


def _adapters(seen: Machine, wanted: Wanted, words: list[str]) -> tuple[dict[int, str], list[str]]:
    replug = {}
    for adapter, network in zip(seen["adapters"], wanted.networks, strict=False):
        if adapter["network"] != network:
            replug[adapter["key"]] = network
            words.append(f"the adapter {adapter['mac']} from {adapter['network'] or 'nowhere'} to {network}")
    plug = list(wanted.networks[len(seen["adapters"]) :])
    words += [f"a new adapter on {network}" for network in plug]
    return replug, plug
