"""Virtual disks of container hosts: loop devices on sparse files, bound into the host as /dev/sdb, /dev/sdc, ...

A device is held open by the lab's first process and told to go away with its last user: it is gone when that process
is, however it ends. Partitions cannot be shown this way, as nothing makes their nodes in a container.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.machine import run

MEBIBYTE = 1 << 20
_LETTERS = "bcdefghij"


@dataclass(frozen=True)
class LoopDisk:
    """A file, the loop device on it, and the descriptor that keeps the device."""

    file: Path
    device: str
    held: int

    def grow(self, mebibytes: int) -> None:
        """Make the disk larger, as somebody does in vCenter."""
        if mebibytes * MEBIBYTE < self.file.stat().st_size:
            message = f"{self.file} is larger than {mebibytes} MiB already"
            raise LabError(message)
        os.truncate(self.file, mebibytes * MEBIBYTE)
        run("losetup", "--set-capacity", self.device)


def attach(directory: Path, sizes: Sequence[int]) -> list[LoopDisk]:
    """The disks of a host, in MiB each; files that are there are used as they are."""
    disks = []
    for number, mebibytes in enumerate(sizes):
        file = directory / f"disk{number}.img"
        if not file.exists():
            with file.open("wb") as new:
                new.truncate(mebibytes * MEBIBYTE)
        device = run("losetup", "--find", "--show", file).strip()
        held = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        run("losetup", "--detach", device)
        disks.append(LoopDisk(file, device, held))
    return disks


def detach(disks: Sequence[LoopDisk]) -> None:
    """Let go of disks; each device ends with its last user."""
    for disk in disks:
        with contextlib.suppress(OSError):
            os.close(disk.held)


def binds(disks: Sequence[LoopDisk]) -> list[str]:
    """The options of systemd-nspawn that put the disks into a host."""
    return [f"--bind={disk.device}:/dev/sd{_LETTERS[number]}" for number, disk in enumerate(disks)]
