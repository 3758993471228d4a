"""What a volume is: the disk it asks for, its file system, and where it is mounted."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies.base import Item, Model
from deploys.policies.types import Word

_UNITS = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PLACE = re.compile(r"/[A-Za-z0-9_.:@/-]*")
_KEPT_FREE = ("/etc", "/usr", "/proc", "/sys", "/dev", "/run", "/boot", "/bin", "/sbin", "/lib", "/lib64", "/root",
              "/var/lib/photon-fleet")  # fmt: skip
_EXACTLY = ("/", "/var", "/var/lib", "/var/log", "/tmp", "/srv", "/media")  # noqa: S108 - refused, not used
DECIDED = {"ro", "rw", "defaults", "remount", "bind", "subvol", "subvolid", "nofail", "auto", "noauto", "_netdev"}
"""Options that the policy itself decides."""


def _matching(pattern: str, sentence: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            message = f"{value!r}: {sentence}"
            raise ValueError(message)
        return value

    return AfterValidator(check)


def canonical_place(value: str) -> str:
    """An absolute path without doubled slashes, dots and blanks.

    Raises:
        ValueError: it is none.
    """
    if not _PLACE.fullmatch(value) or posixpath.normpath(value) != value:
        message = f"{value!r}: an absolute path of letters, digits and _.:@-, without `..` and no slash at its end"
        raise ValueError(message)
    return value


def _free_place(value: str) -> str:
    canonical_place(value)
    if value in _EXACTLY or any(value == kept or value.startswith(f"{kept}/") for kept in _KEPT_FREE):
        message = f"nothing is mounted at {value}: the host itself lives there"
        raise ValueError(message)
    return value


def _decided(value: str) -> str:
    if value.partition("=")[0] in DECIDED or value.startswith("x-"):
        message = f"{value!r} is decided by the policy itself"
        raise ValueError(message)
    return value


Label = Annotated[
    str, _matching(r"[a-z0-9][a-z0-9-]{0,11}", "1 to 12 lower-case letters, digits and dashes, no dash first")
]
Size = Annotated[str, _matching(r"[1-9][0-9]{0,5}[MGT]", "a whole number with M, G or T (1024s), such as 20G")]
PlainPath = Annotated[str, AfterValidator(canonical_place)]
MountPath = Annotated[str, AfterValidator(_free_place)]
Option = Annotated[
    str, _matching(r"[a-z0-9_]+(=[A-Za-z0-9_.:-]+)?", "one option, such as noatime"), AfterValidator(_decided)
]
Wwn = Annotated[
    str, _matching(r"(naa\.|0x|eui\.)?[0-9a-fA-F]{16,32}", "16 to 32 hexadecimal digits, such as naa.6000c29a...")
]
ScsiAddress = Annotated[str, _matching(r"(\d+|\*):\d+:\d+:\d+", "host:channel:target:lun, such as 0:0:1:0 or *:0:1:0")]
Device = Annotated[str, _matching(r"/dev/[a-z][a-z0-9]+", "the device of a whole disk, such as /dev/sdb")]
LinkName = Annotated[str, _matching(r"[A-Za-z0-9][A-Za-z0-9_.:+-]*", "a name in /dev/disk/by-path")]
Owner = Annotated[str, _matching(r"[a-z_][a-z0-9_-]*", "no name of a user or group")]
Mode = Annotated[str, _matching(r"[0-7]{3,4}", "three or four octal digits, such as 750")]
SubvolumeName = Annotated[
    str, _matching(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "letters, digits and _.-, and a letter or digit first")
]


def byte_count(size: str) -> int:
    """The bytes of a size such as 20G."""
    return int(size[:-1]) * _UNITS[size[-1]]


class Disk(Model):
    """Which disk to make a volume on. All that is given must match; without `size`, a disk of any size does."""

    size: Size | None = None
    """Of the whole disk. The volume grows when this and the virtual disk have grown; it is never shrunk."""
    tolerance_percent: float = Field(default=1, ge=0, le=20)
    serial: Word | None = None
    wwn: Wwn | None = None
    path: LinkName | None = None
    """Its name in /dev/disk/by-path."""
    device: Device | None = None
    """Only for choosing an empty disk: after a boot the kernel may name it otherwise."""
    scsi: ScsiAddress | None = None

    @override
    def contradictions(self) -> Iterable[str]:
        if not any((self.size, self.serial, self.wwn, self.path, self.device, self.scsi)):
            yield "give at least one of size, serial, wwn, path, device, scsi"

    def wanted(self) -> dict[str, Any]:
        """What the operations choose by."""
        given: dict[str, Any] = (
            {"size": byte_count(self.size), "tolerance": self.tolerance_percent} if self.size else {}
        )
        for key in ("serial", "wwn", "path", "device", "scsi"):
            if getattr(self, key) is not None:
                given[key] = getattr(self, key)
        return given


class Subvolume(Item):
    """A subvolume of a btrfs; mounted at a place of its own when it has one."""

    name: SubvolumeName
    mount: MountPath | None = None
    options: tuple[Option, ...] = ()
    user: Owner = "root"
    group: Owner = "root"
    mode: Mode = "755"

    @override
    def contradictions(self) -> Iterable[str]:
        if self.mount is None and (self.options or (self.user, self.group, self.mode) != ("root", "root", "755")):
            yield "options, user, group and mode are for a subvolume with a mount"


class Volume(Item):
    """A file system on a disk of its own; `name` is its label, by which it is known."""

    name: Label
    disk: Disk
    filesystem: Literal["ext4", "xfs", "btrfs", "swap"] = "ext4"
    mount: MountPath | None = None
    """Where; needed for all but swap."""
    partition: bool = False
    """In one GPT partition instead of on the whole disk."""
    read_only: bool = False
    options: tuple[Option, ...] = ()
    """As /proc/mounts shows them, such as noatime."""
    user: Owner = "root"
    group: Owner = "root"
    mode: Mode = "755"
    wait_seconds: int = Field(default=30, ge=1, le=300)
    """How long a boot waits for the disk before it goes on without."""
    subvolumes: tuple[Subvolume, ...] = ()
    scrub: Literal["weekly", "monthly"] | None = None
    """How often all of a btrfs is read and compared with its checksums."""

    @override
    def contradictions(self) -> Iterable[str]:
        if self.filesystem == "swap":
            if self.mount is not None or self.options or self.read_only:
                yield "swap has no mount, no options and is not read-only"
        elif self.mount is None:
            yield "mount is missing"
        if self.filesystem != "btrfs" and (self.subvolumes or self.scrub):
            yield f"subvolumes and scrub are for btrfs, not {self.filesystem}"
        names = [each.name for each in self.subvolumes]
        yield from sorted(
            {f"subvolumes: {name!r} is given {names.count(name)} times" for name in names if names.count(name) > 1}
        )

    def mount_options(self, own: Iterable[str] = ()) -> list[str]:
        """The options of a mount, whether it can be written to first."""
        return ["ro" if self.read_only else "rw", *(own or self.options)]

    def mounts(self) -> list[tuple[str, str | None, list[str]]]:
        """Every place where it is mounted: path, subvolume, options."""
        own = [(self.mount, None, self.mount_options())] if self.mount is not None else []
        return [
            *own,
            *((each.mount, each.name, self.mount_options(each.options)) for each in self.subvolumes if each.mount),
        ]


class SwapFile(Item):
    """A file that is used as swap."""

    identity: ClassVar[str] = "path"

    path: MountPath
    size: Size
