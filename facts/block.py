"""Disks, as the kernel and their own first bytes tell them."""

from __future__ import annotations

import re
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

from facts._block import LIST, RESCAN


class Partition(TypedDict):
    """`name` is the one in the GPT; `kind` and `label` are of the file system in it, "" without one."""

    node: str
    size: int
    start: int
    name: str
    kind: str
    label: str
    reasons: list[str]


class Disk(TypedDict):
    """`reasons` say why it has to be left alone; an empty disk has none."""

    node: str
    size: int
    serial: str
    wwn: str
    scsi: str
    paths: list[str]
    kind: str
    label: str
    reasons: list[str]
    partitions: list[Partition]


class Disks(TypedDict):
    """`udev`: whether there are links such as /dev/disk/by-label."""

    udev: bool
    disks: list[Disk]


class BlockDevices(FactBase[Disks]):
    """
    Returns every disk with what it is known by and what it holds:

    .. code:: python

        {"udev": True, "disks": [{
            "node": "/dev/sdb", "size": 21474836480, "serial": "6000c29a", "wwn": "naa.6000c29a", "scsi": "0:0:1:0",
            "paths": ["pci-0000:03:00.0-scsi-0:0:1:0"], "kind": "ext4", "label": "data", "reasons": ["holds ext4"],
            "partitions": [],
        }]}

    Asks the disks for their sizes first, so that one that grew is seen. Source of the format: sysfs, blkid(8)
    with `-p -o udev`, wipefs(8), proc(5).
    """

    @override
    def command(self) -> StringCommand:
        return StringCommand("sh -c", QuoteString(f"{RESCAN}\n{LIST}"))

    @override
    def process(self, output: list[str]) -> Disks:
        found: Disks = {"udev": False, "disks": []}
        here: Disk | Partition | None = None
        for line in output:
            word, _, value = line.partition("=" if line.startswith("ID_") else " ")
            value = value.strip()
            if word == "udev":
                found["udev"] = value == "yes"
            elif word == "disk":
                here = _disk(value)
                found["disks"].append(here)
            elif word == "partition" and found["disks"]:
                here = _partition(value)
                found["disks"][-1]["partitions"].append(here)
            elif here is not None:
                _add(here, word, value)
        if any(each["size"] <= 0 for each in found["disks"]):
            message = f"a disk without a size: {output!r}"
            raise FactProcessError(message)
        return found


def _disk(node: str) -> Disk:
    return {
        "node": node, "size": 0, "serial": "", "wwn": "", "scsi": "", "paths": [], "kind": "", "label": "",
        "reasons": [], "partitions": [],
    }  # fmt: skip


def _partition(node: str) -> Partition:
    return {"node": node, "size": 0, "start": 0, "name": "", "kind": "", "label": "", "reasons": []}


_BLKID = {"ID_FS_TYPE": "kind", "ID_FS_LABEL_ENC": "label", "ID_PART_ENTRY_NAME": "name"}
_SCSI = re.compile(r"\d+:\d+:\d+:\d+")


def _add(here: Disk | Partition, word: str, value: str) -> None:
    fields: dict[str, object] = here  # type: ignore[assignment]
    if word in {"size", "start"}:
        try:
            fields[word] = int(value)
        except ValueError as error:
            message = f"{word} {value!r} is no number"
            raise FactProcessError(message) from error
    elif word == "scsi":
        fields[word] = value if _SCSI.fullmatch(value) else ""
    elif word in {"serial", "wwn"}:
        fields[word] = value
    elif word == "reason":
        here["reasons"].append(value)
    elif word == "path" and "paths" in here:
        here["paths"].append(value)  # type: ignore[typeddict-item]
    elif word in _BLKID and _BLKID[word] in here:
        fields[_BLKID[word]] = _decoded(value)


def _decoded(value: str) -> str:
    """Undo blkid's encoding of blanks and the like."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), value)
