"""Volumes on disks of their own: a file system is made on an empty disk, once, and grows with its disk.

Nothing that holds data is ever written over. A disk is looked at again by the very command that writes to it, and the
programs that make file systems are not told to force anything. A run that was killed is carried on: a partition is
known by its name, a file system by its label.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.command import QuoteString

from facts._block import FUNCTIONS
from facts.block import BlockDevices, Disks
from facts.file import TextFile
from facts.filesystem import FilesystemSize
from facts.mounts import Directory, Mount, Mounts, Place
from operations import _mount_units
from operations._contain import Commands, comes_first, operation, read
from operations._disks import SLACK, Target, Wanted, choose, human, size_fits

MAKE = {
    # No discard: a thin virtual disk that is new has nothing to give back.
    "ext4": "mkfs.ext4 -q -E nodiscard -L {label} {node}",
    "xfs": "mkfs.xfs -q -K -L {label} {node}",
    "btrfs": "mkfs.btrfs -q -K -L {label} {node}",
    "swap": "mkswap -L {label} {node}",
}
GROW = {
    "ext4": "resize2fs {node}",
    "xfs": "xfs_growfs -d {path}",
    "btrfs": "btrfs filesystem resize max {path}",
}
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,11}")
_SWAP_TYPE = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"

_EMPTY = """
size=$(blockdev --getsize64 "$node") && sys_of "$node" && look "$node" || exit 1
[ "$size" = "$seen" ] || { echo "$node has $size bytes, and had $seen when it was looked at: left alone" >&2; exit 1; }
why=$(reasons "$node" $((size / 1048576)))
[ -z "$why" ] || { echo "$node is left alone: $why" >&2; exit 1; }
"""
_OURS = """
sys_of "$node" && look "$node" || exit 1
[ "$name" = "$claim" ] || { echo "$node is not ours, but: $name" >&2; exit 1; }
why=$(reasons "$node" "")
[ -z "$why" ] || { echo "$node is left alone: $why" >&2; exit 1; }
"""
_PARTITION = """
printf 'label: gpt\\n%sname="%s"\\n' "$type" "$claim" | sfdisk --quiet --wipe never "$node" || exit 1
i=0; until [ -b "$part" ] && look "$part" && [ "$name" = "$claim" ]; do
  [ $i -lt 50 ] || { echo "$part did not appear" >&2; exit 1; }
  partx --update "$node" 2>/dev/null; i=$((i + 1)); sleep 0.1
done
"""
# What the program prints is kept back: with the connection gone, it must not die of having nobody to print to.
_QUIETLY = """
said=$({command} 2>&1) || {{ printf '%s\\n' "$said" >&2; exit 1; }}
[ ! -e /run/udev/control ] || udevadm settle --timeout=10 || :
"""


def require_volume(volume: str, filesystem: str) -> None:
    """Refuse a label that not every file system can carry, and file systems that are not known.

    Raises:
        OperationError: with what is wrong.
    """
    if not _LABEL.fullmatch(volume):
        message = f"volume {volume!r}: 1 to 12 lower-case letters, digits and dashes, no dash first"
        raise OperationError(message)
    if filesystem not in MAKE:
        message = f"volume {volume}: {filesystem!r} is none of {', '.join(MAKE)}"
        raise OperationError(message)


def by_label(volume: str) -> str:
    """The link that udev makes to a volume."""
    return f"/dev/disk/by-label/{volume}"


def require_place(where: str, place: Place, mount: Mount | None) -> None:
    """Refuse to mount over files, over another mount, or at a path that leads elsewhere.

    Raises:
        OperationError: with what is there.
    """
    if place["real"] != where:
        message = f"{where} leads to {place['real']} by a symbolic link, which systemd refuses: name {place['real']}"
        raise OperationError(message)
    if place["kind"] == "remote":
        message = f"{where} is on a network file system or an automount"
        raise OperationError(message)
    if place["kind"] == "other":
        message = f"{where} is there and is no directory"
        raise OperationError(message)
    if mount is None and not place["empty"]:
        message = f"{where} has files in it, which a mount would hide: move them away first"
        raise OperationError(message)


def target_of(wanted: Wanted) -> Target:
    """The disk of a volume on this host.

    Raises:
        OperationError: there is none that it may have; while executing, also when it has no file system yet.
    """
    target = choose(read(BlockDevices), wanted)
    if not target.formatted:
        comes_first(f"volume {wanted.volume}: there is no file system on {target.node} yet")
    return target


def _shell(script: str, **values: str) -> StringCommand:
    assignments = "; ".join(f"{key}={shlex.quote(value)}" for key, value in values.items())
    return StringCommand("sh -c", QuoteString(f"{FUNCTIONS}\n{assignments}\n{script}"))


def _first_partition(disk: str) -> str:
    return f"{disk}p1" if disk[-1].isdigit() else f"{disk}1"


@operation()
def formatted(
    volume: str, filesystem: str, disk: Mapping[str, Any], where: str | None = None, *, partition: bool = False
) -> Commands:
    """
    Make sure that a volume has its file system, on an empty disk of its own.

    + volume: its label, by which it is known from then on
    + filesystem: ext4, xfs, btrfs or swap
    + disk: what to choose a new disk by, all of it: `size` (bytes) and `tolerance` (percent), `serial`, `wwn`, `path`
      (name in /dev/disk/by-path), `device`, `scsi` (H:C:T:L, the first may be *)
    + where: the path that it is for; refused before anything is written when it cannot be mounted there. When the unit
      that mounts it is there and the file system is not, the disk was lost: no other one takes its place
    + partition: put it in one GPT partition instead of on the whole disk

    The host fails, and nothing is written, when no disk matches, when several do, and when the one that does is not
    empty.

    **Example:**

    .. code:: python

        storage.formatted(name="Make the volume", volume="data", filesystem="xfs", disk={"serial": "6000c29a"})
    """
    require_volume(volume, filesystem)
    wanted = Wanted(volume, filesystem, partition, disk)
    found: Disks = read(BlockDevices)
    target = choose(found, wanted)
    if target.formatted:
        host.noop(f"volume {volume} is on {target.node}")
        return
    _require_first_time(target, volume, where)
    node = target.node
    claim = wanted.partition_name
    if partition and target.partition is None:
        node = _first_partition(node)
        kind = f"type={_SWAP_TYPE}, " if filesystem == "swap" else ""
        yield _shell(_EMPTY + _PARTITION, node=target.node, seen=str(target.size), part=node, claim=claim, type=kind)
    make = MAKE[filesystem].format(label=shlex.quote(volume), node='"$node"')
    if partition:
        yield _shell(_OURS + _QUIETLY.format(command=make), node=node, claim=claim)
    else:
        yield _shell(_EMPTY + _QUIETLY.format(command=make), node=node, seen=str(target.size))


def _require_first_time(target: Target, volume: str, where: str | None) -> None:
    """Refuse to make a volume that cannot be mounted, or a second time."""
    if where is not None:
        mount = read(Mounts).get(where)
        require_place(where, read(Directory, path=where), mount)
        if mount is not None:
            message = f"volume {volume}: {mount['source']} is mounted at {where} already"
            raise OperationError(message)
    unit = _mount_units.unit_of(where or by_label(volume), "mount" if where else "swap")
    path = f"{_mount_units.DIRECTORY}/{unit}"
    if target.partition is None and read(TextFile, path=path) is not None:
        message = (
            f"volume {volume}: it was made before ({path} is there), and no disk has it now. Attach its disk; or "
            f"remove that file to start with an empty volume on {target.node}"
        )
        raise OperationError(message)


@operation()
def grown(volume: str, filesystem: str, disk: Mapping[str, Any], path: str, *, partition: bool = False) -> Commands:
    """
    Make sure that a mounted volume fills its disk: first its partition, then its file system. Nothing is ever shrunk.

    + volume: its label
    + filesystem: ext4, xfs or btrfs
    + disk: as in `formatted`; a disk that has another size than asked for is left as it is
    + path: where it is mounted
    + partition: whether it is in a partition

    Less than 16 MiB at the end are left unused.

    **Example:**

    .. code:: python

        storage.grown(name="Fill the disk", volume="data", filesystem="xfs", disk={"serial": "6000c29a"}, path="/data")
    """
    require_volume(volume, filesystem)
    target = target_of(Wanted(volume, filesystem, partition, disk))
    mount = read(Mounts).get(path)
    if not target.formatted or mount is None:
        host.noop(f"{path} is not mounted yet")
        return
    if mount["source"] != target.node:
        message = f"volume {volume}: {mount['source']} is mounted at {path}, not {target.node}"
        raise OperationError(message)
    if not size_fits(target.disk["size"], disk):
        host.noop(
            f"{target.disk['node']} has {human(target.disk['size'])}, not {human(disk['size'])}: not grown to that"
        )
        return
    if "ro" in mount["options"]:
        host.noop(f"{path} is read-only, and stays as large as it is")
        return
    if target.partition_can_grow:
        yield StringCommand(
            "echo ,+ | sfdisk --quiet --no-reread --force --partno 1", QuoteString(target.disk["node"]),
            "&& partx --update", QuoteString(target.disk["node"]),
        )  # fmt: skip
    size = read(FilesystemSize, kind=filesystem, path=path, node=target.node)
    if target.partition_can_grow or target.size - size > SLACK:
        command = GROW[filesystem].format(node=shlex.quote(target.node), path=shlex.quote(path))
        yield StringCommand(f'said=$({command} 2>&1) || {{ printf "%s\\n" "$said" >&2; exit 1; }}')
    elif size > target.size:
        message = f"volume {volume}: its file system is larger than {target.node}: the disk was shrunk, call for help"
        raise OperationError(message)
    else:
        host.noop(f"volume {volume} fills its disk")
