"""Swap on a disk of its own, or in a file, each as a systemd unit that a boot can do without."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.command import QuoteString

from facts.file import TextFile
from facts.filesystem import SwapFileState
from facts.systemd import Unit
from operations import _mount_units
from operations._contain import Commands, operation, read
from operations._disks import Wanted, human
from operations.file import Text, is_as_wanted, write_all
from operations.mount import patience
from operations.storage import by_label, require_volume, target_of

_HOLDERS = {"ext2/ext3", "ext4", "xfs"}
"""What `stat -f` calls the file systems on which a file that was allocated at once can be swap."""
_PATH = re.compile(r"/[A-Za-z0-9_./-]+")


def unit_text(source: str) -> str:
    """The swap unit of a device or file."""
    return _mount_units.text(
        "storage",
        {
            "Unit": {"Description": f"Swap on {source}"},
            "Swap": {"What": source},
            "Install": {"WantedBy": "swap.target"},
        },
    )


def _started(source: str, files: list[Text], *, fresh: bool) -> Commands:
    """The commands that put the files of a unit in place, enable it and start it."""
    unit = _mount_units.unit_of(source, "swap")
    differing = [each for each in files if not is_as_wanted(read(TextFile, path=each.path), each.content, mode="644")]
    found = read(Unit, unit=unit)
    verbs = [] if found["file"] == "enabled" else ["enable"]
    verbs += [] if found["active"] == "active" and not fresh else ["start"]
    if differing:
        yield write_all(differing, after="systemctl daemon-reload")
    elif found["stale"]:
        yield StringCommand("systemctl daemon-reload")
    for verb in verbs:
        yield StringCommand(f"systemctl {verb}", QuoteString(unit))
    if not (differing or verbs or found["stale"] or fresh):
        host.noop(f"{source} is swap in use")


@operation()
def device(volume: str, disk: Mapping[str, Any], *, partition: bool = False, wait_seconds: int = 30) -> Commands:
    """
    Make sure that a swap volume is used, now and at boot.

    + volume: its label
    + disk: as in `storage.formatted`
    + partition: whether it is in a partition
    + wait_seconds: how long a boot waits for the disk
    """
    require_volume(volume, "swap")
    target_of(Wanted(volume, "swap", partition, disk))
    source = by_label(volume)
    path = f"{_mount_units.DIRECTORY}/{_mount_units.unit_of(source, 'swap')}"
    yield from _started(source, [Text(path, unit_text(source)), patience(volume, wait_seconds)], fresh=False)


@operation()
def file(path: str, size: int) -> Commands:
    """
    Make sure that a file is used as swap, now and at boot.

    + path: absolute path, in a directory that is there, on ext4 or xfs; a file there that is no swap is refused
    + size: bytes; a file of another size is switched off and made anew, when memory is large enough for that
    """
    if not _PATH.fullmatch(path) or posixpath.normpath(path) != path:
        message = f"{path!r} is no plain absolute path of a file"
        raise OperationError(message)
    found = read(SwapFileState, path=path)
    if found["holder"] not in _HOLDERS:
        message = f"{path} would be on {found['holder']}, where a file cannot be swap: put it on ext4 or xfs"
        raise OperationError(message)
    there = found["size"] >= 0
    if there and found["kind"] != "swap":
        message = f"{path} is there and is no swap: it is left alone"
        raise OperationError(message)
    fresh = found["size"] != size
    unit = _mount_units.unit_of(path, "swap")
    if fresh and there:
        yield StringCommand("systemctl stop", QuoteString(unit), "&& rm -f --", QuoteString(path))
    if fresh:
        quoted, new = shlex.quote(path), shlex.quote(f"{path}.new")
        yield StringCommand(
            f"rm -f -- {new} && (umask 077 && fallocate -l {size} {new} && mkswap {new} >/dev/null) && "
            f"mv -fT {new} {quoted} || {{ rm -f -- {new}; echo 'no swap file of {human(size)}' >&2; exit 1; }}"
        )
    yield from _started(path, [Text(f"{_mount_units.DIRECTORY}/{unit}", unit_text(path))], fresh=fresh)
