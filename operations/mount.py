"""Mounts as systemd units that a lost disk cannot hold up, and mount points that are read-only.

A unit is enabled for local-fs.target, which wants it and does not need it: a boot waits for its disk as long as it was
told to, and then goes on without. Nothing is mounted over files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.command import QuoteString

from facts.block import BlockDevices
from facts.file import TextFile
from facts.mounts import Directory, Fstab, Mounts, RootFilesystem
from facts.systemd import Unit
from operations import _mount_units
from operations._contain import Commands, operation, read
from operations._disks import Wanted
from operations.file import Text, is_as_wanted, write, write_all
from operations.storage import by_label, require_place, require_volume, target_of

FSTAB = "/etc/fstab"
_FIELDS = 4


def patience(volume: str, seconds: int) -> Text:
    """The file that limits how long a boot waits for the disk of a volume."""
    device = _mount_units.unit_of(by_label(volume), "device")
    content = _mount_units.text("storage", {"Unit": {"JobRunningTimeoutSec": f"{seconds}s"}})
    return Text(f"{_mount_units.DIRECTORY}/{device}.d/photon-fleet.conf", content)


def unit_text(where: str, source: str, kind: str, options: Sequence[str]) -> str:
    """The mount unit of a volume."""
    checked = kind == "ext4" and source.startswith("/dev/disk/")
    fsck = f"systemd-fsck@{_mount_units.escaped(source)}.service" if checked else None
    unit = {"Description": f"Volume at {where}", "Wants": fsck, "After": fsck}
    mount = {"What": source, "Where": where, "Type": kind, "Options": ",".join(options), "DirectoryMode": "0755"}
    return _mount_units.text("storage", {"Unit": unit, "Mount": mount, "Install": {"WantedBy": "local-fs.target"}})


def missing_options(wanted: Sequence[str], live: Sequence[str]) -> list[str]:
    """Options that are not in force. The kernel completes some: compress=zstd is shown as compress=zstd:3.

    A file system that fell back to read-only after an error shows both rw and ro: then rw is not in force.
    """
    missing = [each for each in wanted if not any(one == each or one.startswith(f"{each}:") for one in live)]
    if "rw" in wanted and "ro" in live:
        missing.append("rw")
    return list(dict.fromkeys(missing))


@operation()
def mounted(
    where: str,
    volume: str,
    filesystem: str,
    disk: Mapping[str, Any],
    options: Sequence[str] = (),
    *,
    partition: bool = False,
    subvolume: str | None = None,
    wait_seconds: int = 30,
    user: str = "root",
    group: str = "root",
    mode: str = "755",
) -> Commands:
    """
    Make sure that a volume is mounted, now and at boot, with these options, and who owns its root directory.

    + where: absolute path without symbolic links; made when missing, refused when something is in it
    + volume: its label
    + filesystem: ext4, xfs or btrfs
    + disk: as in `storage.formatted`
    + options: as /proc/mounts shows them, `rw` or `ro` among them
    + partition: whether it is in a partition
    + subvolume: of a btrfs, by its path in it
    + wait_seconds: how long a boot waits for the disk
    + user: owner of the root directory; a read-only one is left as it is
    + group: its group
    + mode: octal

    Where udev runs the volume is mounted by its label, elsewhere by the device that it is on.
    """
    require_volume(volume, filesystem)
    found = read(BlockDevices)
    target = target_of(Wanted(volume, filesystem, partition, disk))
    place = read(Directory, path=where)
    mount = read(Mounts).get(where)
    require_place(where, place, mount)
    root = f"/{subvolume}" if subvolume else "/"
    if mount is not None and (mount["source"], mount["root"]) != (target.node, root):
        message = f"{where}: {mount['source']} ({mount['root']}) is mounted there, not volume {volume}"
        raise OperationError(message)
    source = by_label(volume) if found["udev"] else target.node
    given = [*options, *([f"subvol=/{subvolume}"] if subvolume else [])]
    unit = _mount_units.unit_of(where, "mount")
    files = [
        Text(f"{_mount_units.DIRECTORY}/{unit}", unit_text(where, source, filesystem, given)),
        patience(volume, wait_seconds),
    ]
    differing = [each for each in files if not is_as_wanted(read(TextFile, path=each.path), each.content, mode="644")]
    state = read(Unit, unit=unit)
    if differing:
        yield write_all(differing, after="systemctl daemon-reload")
    elif state["stale"]:
        yield StringCommand("systemctl daemon-reload")
    verbs = ["enable"] if state["file"] != "enabled" else []
    if mount is None:
        verbs.append("start")
    elif missing_options(given, mount["options"]):
        verbs.append("reload")
    for verb in verbs:
        yield StringCommand(
            f"systemctl {verb}", QuoteString(unit),
            "|| { systemctl status --no-pager --lines=5", QuoteString(unit), ">&2; exit 1; }",
        )  # fmt: skip
    owned = (place["mode"], place["user"], place["group"]) == (mode.lstrip("0"), user, group)
    if "ro" not in options and (mount is None or not owned):
        quoted = QuoteString(where)
        yield StringCommand("chown", QuoteString(f"{user}:{group}"), quoted, "&& chmod", QuoteString(mode), quoted)
    elif not differing and not verbs and not state["stale"]:
        host.noop(f"{where} is mounted as wanted")


@operation()
def read_only(where: str) -> Commands:
    """
    Make sure that a mount point of /etc/fstab is read-only, now and at boot.

    + where: its path, such as /boot; packages that write there cannot be updated until it is writable again

    **Example:**

    .. code:: python

        mount.read_only(name="Keep /boot as it is", where="/boot")
    """
    lines = read(Fstab)
    at = [number for number, line in enumerate(lines) if _place_of(line) == where]
    if len(at) != 1:
        message = f"{where}: {FSTAB} has {len(at) or 'no'} line{'s' if len(at) > 1 else ''} for it, and needs one"
        raise OperationError(message)
    text = with_option(lines[at[0]])
    live = read(Mounts).get(where)
    changed = text != lines[at[0]]
    if changed:
        content = "\n".join([*lines[: at[0]], text, *lines[at[0] + 1 :]])
        yield write(FSTAB, content, mode="644", after="systemctl daemon-reload")
    if live is None or "ro" not in live["options"]:
        yield StringCommand("mount -o remount,ro" if live else "mount", QuoteString(where))
    elif not changed:
        host.noop(f"{where} is read-only")


def _place_of(line: str) -> str | None:
    words = line.split()
    return words[1] if len(words) >= _FIELDS and not words[0].startswith("#") else None


def with_option(line: str) -> str:
    """A line of fstab with `ro` instead of `rw` among its options, and all else as it is."""
    words = line.split()
    options = [option for option in words[3].split(",") if option not in {"rw", "ro", "defaults"}]
    wanted = ",".join(["ro", *options])
    return line if "ro" in words[3].split(",") else "\t".join([*words[:3], wanted, *words[_FIELDS:]])


@operation()
def read_only_root() -> Commands:
    """
    Make sure that the host's own system is on a read-only file system; refused where the host cannot have that.

    Photon has it with rpm-ostree, and with an image whose root is squashfs or erofs. An ordinary root file system that
    is mounted read-only has no place for what a host must be able to write.
    """
    found = read(RootFilesystem)
    if not found["writable"]:
        host.noop("the system is read-only")
        yield from ()
        return
    if found["ostree"]:
        message = "/usr of this ostree host can be written: somebody has unlocked it (ostree admin unlock); reboot it"
        raise OperationError(message)
    message = (
        f"the root file system is {found['kind']}, and cannot be read-only: that needs an ostree host, or an image "
        "whose root is squashfs or erofs. Mount points such as /boot can be made read-only one by one"
    )
    raise OperationError(message)
