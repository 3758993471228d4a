"""What is true of storage, read with findmnt, lsblk, swapon, df and systemctl: never through the facts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from deploys.policies.base import Check, Contains
from deploys.policies.storage_models import Disk, Subvolume, SwapFile, Volume, byte_count
from operations import _mount_units
from operations._disks import human, same_wwn, size_fits
from operations.mount import missing_options, patience
from operations.storage import by_label

if TYPE_CHECKING:
    from testinfra.host import Host

_OVERHEAD, _LOG = 0.05, 96 << 20
"""What file systems keep for themselves: a part of the device for inodes, and bytes for the log of a small one."""


def volume_checks(volume: Volume) -> Iterable[Check]:
    """Everything that is true of a volume."""
    name, base, at = volume.name, f"storage.volume[{volume.name}]", volume.mount or by_label(volume.name)
    live = f"{base}.mounted"
    for path, subvolume, options in volume.mounts():
        field = f"volumes[{name}]" + (f".subvolumes[{subvolume}]" if subvolume else "")
        check = f"{base}.subvolume[{subvolume}]" if subvolume else base
        owner = next((each for each in volume.subvolumes if each.name == subvolume), volume)
        yield from _mount_checks(volume, check, field, path, f"/{subvolume}" if subvolume else "/", options, owner)
    if volume.mount is None:
        live = f"{base}.in-use"
        yield from _swap_checks(by_label(name), base, f"volumes[{name}]")
    yield from _disk_checks(volume.disk, at, name, live)
    yield Check(
        id=f"{base}.place", field=f"volumes[{name}].partition", needs=live,
        proves=f"volume {name} is {'in a partition' if volume.partition else 'on a whole disk'}",
        read=partial(place, at), expect="partition" if volume.partition else "whole disk",
    )  # fmt: skip
    file = patience(name, volume.wait_seconds)
    yield Check(
        id=f"{base}.patience", field=f"volumes[{name}].wait_seconds",
        proves=f"a boot waits {volume.wait_seconds} s for volume {name}, and not longer",
        read=lambda host: host.check_output("cat %s", file.path).splitlines(),
        expect=Contains((f"JobRunningTimeoutSec={volume.wait_seconds}s",)),
    )  # fmt: skip
    if volume.mount is not None:
        yield Check(
            id=f"{base}.full-size", field=f"volumes[{name}].filesystem", needs=live,
            proves=f"volume {name} fills its disk", read=partial(fills_its_device, volume.mount), expect="full size",
        )  # fmt: skip
    for each in volume.subvolumes:
        yield from _subvolume_checks(volume, each)
    if volume.scrub is not None:
        yield from _scrub_checks(volume)


def _mount_checks(
    volume: Volume, base: str, field: str, path: str, root: str, options: Sequence[str], owner: Volume | Subvolume
) -> Iterable[Check]:
    unit = _mount_units.unit_of(path, "mount")
    live = f"{base}.mounted"
    yield Check(
        id=live, field=f"{field}.mount", proves=f"volume {volume.name} is mounted at {path}",
        read=partial(label_at, path), expect=f"{volume.name} ({root})",
    )  # fmt: skip
    yield Check(
        id=f"{base}.filesystem", field=f"volumes[{volume.name}].filesystem", needs=live,
        proves=f"{path} is {volume.filesystem}", read=partial(kind_at, path), expect=volume.filesystem,
    )  # fmt: skip
    yield Check(
        id=f"{base}.options", field=f"{field}.options", needs=live, proves=f"{path} has its mount options",
        read=partial(options_not_in_force, path, tuple(options)), expect=[],
    )  # fmt: skip
    yield Check(
        id=f"{base}.boot", field=f"{field}.mount", proves=f"{path} is mounted at boot, and no boot needs it",
        read=partial(at_boot, unit), expect="enabled; wanted by local-fs.target",
    )  # fmt: skip
    yield Check(
        id=f"{base}.unit", field=f"{field}.mount", proves=f"the unit of {path} is as the policy has it",
        read=lambda host: host.check_output("cat %s", f"{_mount_units.DIRECTORY}/{unit}").splitlines(),
        expect=Contains((f"Where={path}", f"Type={volume.filesystem}")),
    )  # fmt: skip
    yield Check(
        id=f"{base}.unit-options", field=f"{field}.options", proves=f"{path} has its mount options after a boot",
        read=partial(unit_options, unit), expect=Contains(tuple(options)),
    )  # fmt: skip
    if not volume.read_only:
        yield Check(
            id=f"{base}.owner", field=f"{field}.user", needs=live, proves=f"{path} has its owner and mode",
            read=partial(owner_of, path),
            expect=f"{owner.user}:{owner.group} {owner.mode.lstrip('0')}",
        )  # fmt: skip


def _subvolume_checks(volume: Volume, each: Subvolume) -> Iterable[Check]:
    base = f"storage.volume[{volume.name}]"
    yield Check(
        id=f"{base}.subvolume[{each.name}]", field=f"volumes[{volume.name}].subvolumes[{each.name}]",
        needs=f"{base}.mounted", proves=f"volume {volume.name} has the subvolume {each.name}",
        read=partial(subvolumes_of, volume.mount or ""), expect=Contains((each.name,)),
    )  # fmt: skip


def _disk_checks(disk: Disk, at: str, name: str, live: str) -> Iterable[Check]:
    given, base = disk.wanted(), f"storage.volume[{name}]"
    if disk.size is not None:
        wanted = byte_count(disk.size)
        yield Check(
            id=f"{base}.disk.size", field=f"volumes[{name}].disk.size", needs=live,
            proves=f"the disk of volume {name} has the size that it asks for",
            read=partial(disk_size, at, wanted, disk.tolerance_percent), expect=human(wanted),
        )  # fmt: skip
    for key in ("serial", "wwn", "scsi", "path"):
        if key in given:
            yield Check(
                id=f"{base}.disk.{key}", field=f"volumes[{name}].disk.{key}", needs=live,
                proves=f"the disk of volume {name} has the {key} that it asks for",
                read=partial(disk_property, at, key, given[key]), expect=given[key],
            )  # fmt: skip


def _swap_checks(source: str, base: str, field: str) -> Iterable[Check]:
    unit = _mount_units.unit_of(source, "swap")
    yield Check(
        id=f"{base}.in-use", field=field, proves=f"{source} is swap in use",
        read=partial(swap_in_use, source), expect=True,
    )  # fmt: skip
    yield Check(
        id=f"{base}.boot", field=field, proves=f"{source} is used at boot",
        read=partial(at_boot, unit), expect="enabled; wanted by swap.target",
    )  # fmt: skip


def _scrub_checks(volume: Volume) -> Iterable[Check]:
    name, timer = volume.name, f"photon-fleet-scrub-{volume.name}.timer"
    yield Check(
        id=f"storage.volume[{name}].scrub", field=f"volumes[{name}].scrub",
        proves=f"volume {name} is scrubbed {volume.scrub}",
        read=lambda host: host.check_output("cat %s", f"{_mount_units.DIRECTORY}/{timer}").splitlines(),
        expect=Contains((f"OnCalendar={volume.scrub}",)),
    )  # fmt: skip
    yield Check(
        id=f"storage.volume[{name}].scrub.timer", field=f"volumes[{name}].scrub", proves=f"{timer} runs, and at boot",
        read=lambda host: (host.service(timer).is_running, host.service(timer).is_enabled), expect=(True, True),
    )  # fmt: skip
    yield Check(
        id=f"storage.volume[{name}].scrub.command", field=f"volumes[{name}].mount",
        proves=f"the scrub is of {volume.mount}",
        read=partial(scrubbed, name), expect=[volume.mount],
    )  # fmt: skip


def swap_file_checks(each: SwapFile) -> Iterable[Check]:
    """Everything that is true of a swap file."""
    base, field = f"storage.swap[{each.path}]", f"swap_files[{each.path}]"
    yield from _swap_checks(each.path, base, field)
    yield Check(
        id=f"{base}.size", field=f"{field}.size", proves=f"{each.path} has {each.size}, for root alone",
        read=lambda host: host.check_output("stat -c %s %s", "%s %a %U", each.path),
        expect=f"{byte_count(each.size)} 600 root",
    )  # fmt: skip


def mount_point_checks(path: str) -> Iterable[Check]:
    """What is true of a mount point that is read-only."""
    yield Check(
        id=f"storage.read-only[{path}]", field="read_only", proves=f"{path} is read-only",
        read=partial(options_not_in_force, path, ("ro",)), expect=[],
    )  # fmt: skip
    yield Check(
        id=f"storage.read-only[{path}].boot", field="read_only", proves=f"{path} is read-only after a boot",
        read=lambda host: host.check_output("findmnt --fstab -nro OPTIONS %s", path).split(","),
        expect=Contains(("ro",)),
    )  # fmt: skip


def root_check() -> Check:
    """That the system cannot be changed in place."""
    return Check(
        id="storage.read-only-root", field="read_only_root", proves="the system is read-only",
        read=lambda host: host.check_output("if [ -w /usr ]; then echo writable; else echo read-only; fi"),
        expect="read-only",
    )  # fmt: skip


def _found(path: str, column: str, host: Host) -> str:
    lines = host.check_output("findmnt --mountpoint %s -nro %s", path, column).splitlines()
    return str(lines[-1]) if lines else ""


def label_at(path: str, host: Host) -> str:
    """Label and directory of what is mounted at a path."""
    source = _found(path, "SOURCE", host)
    device, _, root = source.partition("[")
    return f"{host.check_output('blkid -p -s LABEL -o value %s', device)} ({root.rstrip(']') or '/'})"


def kind_at(path: str, host: Host) -> str:
    """The file system that is mounted at a path."""
    return _found(path, "FSTYPE", host)


def options_not_in_force(path: str, wanted: Sequence[str], host: Host) -> list[str]:
    """Those options that a mount does not have."""
    live = _found(path, "VFS-OPTIONS", host).split(",") + _found(path, "FS-OPTIONS", host).split(",")
    return missing_options(wanted, live)


def unit_options(unit: str, host: Host) -> list[str]:
    """The options in the file of a mount unit."""
    text = host.check_output("cat %s", f"{_mount_units.DIRECTORY}/{unit}")
    found = re.search(r"^Options=(.*)$", text, re.MULTILINE)
    return found[1].split(",") if found else []


def at_boot(unit: str, host: Host) -> str:
    """Whether a unit is enabled, and by what it is wanted or needed."""
    shown = host.check_output("systemctl show --property=UnitFileState,WantedBy,RequiredBy %s", unit)
    values = dict(line.split("=", 1) for line in shown.splitlines())
    targets = [
        f"{verb} {word}"
        for verb, key in (("wanted by", "WantedBy"), ("needed by", "RequiredBy"))
        for word in sorted(values.get(key, "").split())
        if word in {"local-fs.target", "swap.target"}
    ]
    return "; ".join([values.get("UnitFileState", ""), *targets])


def owner_of(path: str, host: Host) -> str:
    """Owner, group and mode of a directory."""
    return str(host.check_output("stat -c %s %s", "%U:%G %a", path))


def subvolumes_of(path: str, host: Host) -> list[str]:
    """The subvolumes of a btrfs, as its own tool lists them."""
    lines = host.check_output("btrfs subvolume list %s", path).splitlines()
    return [line.partition(" path ")[2] for line in lines]


def scrubbed(name: str, host: Host) -> list[str]:
    """What the service of a scrub timer scrubs."""
    text = host.check_output("cat %s", f"{_mount_units.DIRECTORY}/photon-fleet-scrub-{name}.service")
    return [line.split()[-1] for line in text.splitlines() if line.startswith("ExecStart=")]


def swap_in_use(source: str, host: Host) -> bool:
    """Whether the kernel swaps to a device or file."""
    names = host.check_output("swapon --show=NAME --noheadings --raw").split()
    return host.check_output("readlink -f %s", source) in names


def _device(at: str, host: Host) -> str:
    """The device of a volume: what is mounted at a path, or what a link leads to."""
    if at.startswith("/dev/"):
        return str(host.check_output("readlink -f %s", at))
    return _found(at, "SOURCE", host).partition("[")[0]


def _above(at: str, host: Host) -> list[dict[str, str]]:
    """The device of a volume and those under it, the whole disk last, as lsblk lists them."""
    columns = "NAME,TYPE,SIZE,SERIAL,WWN,HCTL"
    lines = host.check_output(f"lsblk --inverse --pairs --bytes --output {columns} %s", _device(at, host)).splitlines()
    return [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in lines]


def place(at: str, host: Host) -> str:
    """Whether a volume is in a partition."""
    return "partition" if _above(at, host)[0]["TYPE"] == "part" else "whole disk"


def disk_size(at: str, wanted: int, tolerance: float, host: Host) -> str:
    """The size of a volume's disk; the wanted one when it is that within its tolerance."""
    size = int(_above(at, host)[-1]["SIZE"])
    return human(wanted if size_fits(size, {"size": wanted, "tolerance": tolerance}) else size)


def disk_property(at: str, key: str, wanted: str, host: Host) -> str:
    """A property of a volume's disk; the wanted one when both are spellings of the same."""
    disk = _above(at, host)[-1]
    if key == "path":
        node = host.check_output("readlink -f %s", f"/dev/disk/by-path/{wanted}")
        return wanted if node.rpartition("/")[2] == disk["NAME"] else f"is {disk['NAME']}, that is {node}"
    found = disk[{"scsi": "HCTL"}.get(key, key.upper())]
    same = found == wanted
    if key == "wwn":
        same = same_wwn(found, wanted)
    elif key == "scsi" and wanted.startswith("*"):
        same = found.partition(":")[2] == wanted[2:]
    return wanted if same else found


def fills_its_device(path: str, host: Host) -> str:
    """Whether a file system has the size of its device, but for what it keeps for itself."""
    device = _device(path, host)
    blocks, each = host.check_output("stat -f -c %s %s", "%b %S", path).split()
    size, whole = int(blocks) * int(each), int(host.check_output("blockdev --getsize64 %s", device))
    return "full size" if whole - size <= whole * _OVERHEAD + _LOG else f"{human(size)} of {human(whole)}"
