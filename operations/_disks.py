"""Which disk is a volume's: pure, from what the fact found and what the volume asks for.

A volume is known by its file system's label, wherever the kernel put its disk. Only when no file system has that label
is a new disk chosen, and then only an empty one, and only when there is no second one to choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyinfra.api import OperationError

from facts.block import Disk, Disks, Partition

SLACK = 16 << 20
"""Bytes that a partition or file system may leave unused at the end of its device."""
_WWN_DIGITS = 16


@dataclass(frozen=True)
class Wanted:
    """What a volume asks for.

    Of `disk` each key that is there must match: `size` (bytes), `tolerance` (percent), `serial`, `wwn`, `path`,
    `device`, `scsi`.
    """

    volume: str
    filesystem: str
    partition: bool = False
    disk: Mapping[str, Any] = field(default_factory=dict)

    @property
    def partition_name(self) -> str:
        """The name in the GPT that says whose partition it is, before there is a file system in it."""
        return f"photon-fleet:{self.volume}"


@dataclass(frozen=True)
class Target:
    """The disk of a volume and, with a partition, that one. `formatted`: its file system is there."""

    disk: Disk
    partition: Partition | None = None
    formatted: bool = False

    @property
    def node(self) -> str:
        """The device that the file system is on."""
        return self.partition["node"] if self.partition else self.disk["node"]

    @property
    def size(self) -> int:
        """Of the device that the file system is on."""
        return self.partition["size"] if self.partition else self.disk["size"]

    @property
    def partition_can_grow(self) -> bool:
        """Whether the disk has room behind the partition."""
        if self.partition is None:
            return False
        return self.disk["size"] - self.partition["start"] - self.partition["size"] > SLACK


def human(size: int) -> str:
    """Bytes in the unit that people buy disks in."""
    whole, unit = (size / (1 << 30), "GiB") if size >= 1 << 30 else (size / (1 << 20), "MiB")
    return f"{whole:.4g} {unit}"


def size_fits(size: int, wanted: Mapping[str, Any]) -> bool:
    """Whether a size is the one that is wanted, within its tolerance."""
    if wanted.get("size") is None:
        return True
    return bool(abs(size - wanted["size"]) <= wanted["size"] * wanted.get("tolerance", 0) / 100)


def same_wwn(found: str, wanted: str) -> bool:
    """Whether two spellings are of one World Wide Name; the short form is the beginning of the long one."""
    one, other = (
        value.lower().removeprefix("naa.").removeprefix("0x").removeprefix("eui.") for value in (found, wanted)
    )
    if min(len(one), len(other)) < _WWN_DIGITS:
        return one == other
    return one.startswith(other) or other.startswith(one)


def _is_at(disk: Disk, wanted: Mapping[str, Any]) -> bool:
    """Whether what never changes of a disk is as wanted: not its size, and not the name that the kernel gave it."""
    scsi = wanted.get("scsi")
    return (
        wanted.get("serial") in {None, disk["serial"]}
        and (wanted.get("wwn") is None or same_wwn(disk["wwn"], wanted["wwn"]))
        and (wanted.get("path") is None or wanted["path"] in disk["paths"])
        and (scsi is None or disk["scsi"] == scsi or (scsi[0] == "*" and disk["scsi"].partition(":")[2] == scsi[2:]))
    )


def _matches(disk: Disk, wanted: Mapping[str, Any]) -> bool:
    return _is_at(disk, wanted) and size_fits(disk["size"], wanted) and wanted.get("device") in {None, disk["node"]}


def choose(found: Disks, wanted: Wanted) -> Target:
    """The disk of a volume: the one that it is on, or an empty one that it may be put on.

    Raises:
        OperationError: there is none, more than one, or only such that must be left alone; the sentence names them.
    """
    own = _own(found, wanted)
    if own is not None:
        return own
    matching = [disk for disk in found["disks"] if _matches(disk, wanted.disk)]
    if not matching:
        there = "; ".join(f"{disk['node']} ({_described(disk)})" for disk in found["disks"]) or "none"
        raise _refusal(wanted, f"no disk is the one that it asks for ({_asked(wanted)}). The disks are: {there}")
    empty = [disk for disk in matching if not disk["reasons"]]
    if not empty:
        why = "; ".join(f"{disk['node']} {', '.join(disk['reasons'])}" for disk in matching)
        raise _refusal(wanted, f"no empty disk, and others are left alone: {why}")
    if len(empty) > 1:
        several = ", ".join(f"{disk['node']} ({_described(disk)})" for disk in empty)
        raise _refusal(wanted, f"{len(empty)} empty disks could be meant: {several}. Say which, by serial or path")
    return Target(empty[0])


def _own(found: Disks, wanted: Wanted) -> Target | None:
    """The volume where it is already, complete or not."""
    targets = [Target(disk, formatted=True) for disk in found["disks"] if disk["label"] == wanted.volume]
    claimed = []
    for disk in found["disks"]:
        for partition in disk["partitions"]:
            if partition["label"] == wanted.volume:
                targets.append(Target(disk, partition, formatted=True))
            elif partition["name"] == wanted.partition_name:
                claimed.append(Target(disk, partition))
    if not targets and not claimed:
        return None
    targets = [*targets, *claimed]
    if len(targets) > 1:
        raise _refusal(wanted, f"it is there more than once: {', '.join(target.node for target in targets)}")
    _require_ours(targets[0], wanted)
    return targets[0]


def _require_ours(target: Target, wanted: Wanted) -> None:
    if not _is_at(target.disk, wanted.disk):
        raise _refusal(
            wanted,
            f"{target.node} has its label, and is not the disk that it asks for ({_asked(wanted)}): "
            f"{_described(target.disk)}",
        )
    if (target.partition is not None) is not wanted.partition:
        place = "in a partition" if target.partition else "on a whole disk"
        raise _refusal(wanted, f"{target.node} has its label {place}; it stays as it was made")
    if not target.formatted and target.partition is not None and target.partition["reasons"]:
        raise _refusal(wanted, f"its partition {target.node} {', '.join(target.partition['reasons'])}")
    kind = (target.partition or target.disk)["kind"]
    if target.formatted and kind != wanted.filesystem:
        raise _refusal(
            wanted, f"{target.node} has its label and holds {kind}, not {wanted.filesystem}: it is never made anew"
        )


def _described(disk: Disk) -> str:
    words = [human(disk["size"]), *(f"{key} {disk[key]}" for key in ("serial", "wwn", "scsi") if disk[key])]
    return ", ".join([*words, *(f"path {path}" for path in disk["paths"]), *disk["reasons"]])


def _asked(wanted: Wanted) -> str:
    given = {key: value for key, value in wanted.disk.items() if value is not None and key != "tolerance"}
    if "size" in given:
        given["size"] = f"{human(given['size'])} ± {wanted.disk.get('tolerance', 0):g} %"
    return ", ".join(f"{key} {value}" for key, value in given.items()) or "any"


def _refusal(wanted: Wanted, sentence: str) -> OperationError:
    return OperationError(f"volume {wanted.volume}: {sentence}")
