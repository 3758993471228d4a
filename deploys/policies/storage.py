"""Storage: volumes on disks of their own, swap, and mount points that are read-only.

A disk is taken only when it is empty, and only when no other one could be meant; a volume is known by its label from
then on, and is never made anew. Mounts and swap are systemd units that a boot does without when their disk is gone.
What leaves the policy stays on the host as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

from pyinfra import host
from typing_extensions import override

from deploys.policies._storage_checks import mount_point_checks, root_check, swap_file_checks, volume_checks
from deploys.policies.base import Check, Policy, Risk
from deploys.policies.storage_models import PlainPath, SwapFile, Volume, byte_count
from operations import _mount_units, btrfs, file, mount, storage, swap, systemd, tdnf

if TYPE_CHECKING:
    from collections.abc import Mapping


PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}


class Storage(Policy):
    """The disks of a host, beside the one that it was installed on."""

    name: ClassVar[str] = "storage"
    risk: ClassVar[Risk] = Risk.SERVICE

    volumes: tuple[Volume, ...] = ()
    swap_files: tuple[SwapFile, ...] = ()
    read_only: tuple[PlainPath, ...] = ()
    """Mount points of /etc/fstab that are read-only, such as /boot."""
    read_only_root: bool = False
    """Demand a system that cannot be changed in place: ostree, or a root that is squashfs or erofs."""
    unproved: ClassVar[Mapping[str, str]] = {
        "volumes.disk.device": "the name that the kernel gave a disk when it was chosen may change with every boot",
    }

    @override
    def problems(self) -> Iterable[str]:
        places: dict[str, str] = {}
        for volume in self.volumes:
            for path, subvolume, _ in volume.mounts():
                owner = f"volume {volume.name}" + (f", subvolume {subvolume}" if subvolume else "")
                if path in places:
                    yield f"volumes[{volume.name}]: {path} is the mount of {places[path]} already"
                places[path] = owner
        for each in self.swap_files:
            if each.path in places:
                yield f"swap_files[{each.path}]: that is the mount of {places[each.path]}"
        for one, other in combinations(self.volumes, 2):
            if one.disk == other.disk:
                yield f"volumes[{other.name}].disk: asks for the same disk as volume {one.name}"

    @override
    def apply(self) -> None:
        kinds = {volume.filesystem for volume in self.volumes} - {"swap"}
        packages = sorted(PACKAGES[kind] for kind in kinds)
        if packages:
            tdnf.packages(name="Install the file systems' tools", present=packages)
        for volume in host.loop(self.volumes):
            _apply(volume)
        for each in host.loop(self.swap_files):
            swap.file(name=f"Swap in {each.path}", path=each.path, size=byte_count(each.size))
        for path in host.loop(self.read_only):
            mount.read_only(name=f"Keep {path} read-only", where=path)
        if self.read_only_root:
            mount.read_only_root(name="Demand a read-only system")

    @override
    def checks(self) -> Iterable[Check]:
        for volume in self.volumes:
            yield from volume_checks(volume)
        for each in self.swap_files:
            yield from swap_file_checks(each)
        for path in self.read_only:
            yield from mount_point_checks(path)
        if self.read_only_root:
            yield root_check()


def _apply(volume: Volume) -> None:
    wanted, partition = volume.disk.wanted(), volume.partition
    at = volume.mount
    storage.formatted(
        name=f"Volume {volume.name}", volume=volume.name, filesystem=volume.filesystem, disk=wanted,
        where=at, partition=partition,
    )  # fmt: skip
    if at is None:
        swap.device(
            name=f"Swap on volume {volume.name}", volume=volume.name, disk=wanted, partition=partition,
            wait_seconds=volume.wait_seconds,
        )  # fmt: skip
        return
    mount.mounted(
        name=f"Mount {volume.name} at {at}", where=at, volume=volume.name, filesystem=volume.filesystem, disk=wanted,
        options=volume.mount_options(), partition=partition, wait_seconds=volume.wait_seconds, user=volume.user,
        group=volume.group, mode=volume.mode,
    )  # fmt: skip
    storage.grown(
        name=f"Let {volume.name} fill its disk", volume=volume.name, filesystem=volume.filesystem, disk=wanted, path=at,
        partition=partition,
    )  # fmt: skip
    for each in host.loop(volume.subvolumes):
        btrfs.subvolume(name=f"Subvolume {each.name} of {volume.name}", path=at, subvolume=each.name)
        if each.mount is not None:
            mount.mounted(
                name=f"Mount {each.name} of {volume.name} at {each.mount}", where=each.mount, volume=volume.name,
                filesystem="btrfs", disk=wanted, options=volume.mount_options(each.options), partition=partition,
                subvolume=each.name, wait_seconds=volume.wait_seconds, user=each.user, group=each.group, mode=each.mode,
            )  # fmt: skip
    if volume.scrub is not None:
        file.texts(
            name=f"Define the scrub of {volume.name}", files=scrub_units(volume.name, at, volume.scrub), mode="644",
            after=f"systemctl daemon-reload && systemctl try-restart {scrub_unit(volume.name)}.timer",
        )  # fmt: skip
        systemd.unit(
            name=f"Scrub {volume.name} {volume.scrub}",
            unit=f"{scrub_unit(volume.name)}.timer",
            running=True,
            enabled=True,
        )


def scrub_unit(volume: str) -> str:
    """The name of the units that scrub a volume, without a suffix."""
    return f"photon-fleet-scrub-{volume}"


def scrub_units(volume: str, path: str, often: str) -> dict[str, str]:
    """The service and the timer that scrub a volume."""
    base = f"{_mount_units.DIRECTORY}/{scrub_unit(volume)}"
    command = f"/bin/sh -c 'exec btrfs scrub start -B -c 3 \"$$0\"' {path}"
    service = {
        "Unit": {"Description": f"Scrub volume {volume}", "RequiresMountsFor": path},
        "Service": {"Type": "oneshot", "ExecStart": command},
    }
    timer = {
        "Unit": {"Description": f"Scrub volume {volume} {often}"},
        "Timer": {"OnCalendar": often, "RandomizedDelaySec": "6h", "Persistent": "true"},
        "Install": {"WantedBy": "timers.target"},
    }
    return {
        f"{base}.service": _mount_units.text("storage", service),
        f"{base}.timer": _mount_units.text("storage", timer),
    }
