"""One of our machines in detail: what it is made of, and what it bears of ours.

Formats: VirtualMachineConfigInfo, VirtualDisk, VirtualEthernetCard, VirtualMachineSnapshotTree of the vSphere Web
Services API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyVmomi import vim

from deploys.vsphere.reads import Found, of_these
from deploys.vsphere.rows import shown
from deploys.vsphere.session import Session

MARK = "guestinfo.fleet.id"
"""The key that every machine of ours bears from its first moment: it is part of what makes it."""
OURS = "guestinfo.fleet."

PATHS = (
    "config.hardware.numCPU", "config.hardware.numCoresPerSocket", "config.hardware.memoryMB",
    "config.hardware.device", "config.cpuHotAddEnabled", "config.memoryHotAddEnabled", "config.changeVersion",
    "config.extraConfig", "snapshot", "resourcePool",
)  # fmt: skip
GIB = 1024 * 1024
"""KiB in a GiB; the vCenter gives sizes in KiB."""


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """A virtual disk.

    Args:
        key: of the device.
        bus: the SCSI controller that it is on, counted from 0; -1 for another kind of controller.
        kib: its size.
        file: "[datastore] folder/name.vmdk"
    """

    key: int
    bus: int
    unit: int
    kib: int
    file: str


@dataclass(frozen=True, slots=True)
class AdapterSeen:
    """A network adapter; `network` is its network's or port group's name, empty when that is not to be found."""

    key: int
    mac: str
    network: str


@dataclass(frozen=True, slots=True)
class SnapshotSeen:
    """A snapshot. `at` is when it was made."""

    moid: str
    name: str
    description: str
    at: datetime


@dataclass(frozen=True)
class Machine:
    """What there is of a machine.

    Args:
        marks: our own keys of its extraConfig, and the guestinfo keys that we gave it.
        version: of its configuration; a change that was planned for another one is refused.
    """

    moid: str
    cpus: int = 0
    cores_per_socket: int = 1
    memory_mib: int = 0
    cpu_hot_add: bool = False
    memory_hot_add: bool = False
    disks: tuple[DiskSeen, ...] = ()
    adapters: tuple[AdapterSeen, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    snapshots: tuple[SnapshotSeen, ...] = ()
    pool: str = ""


def machines(session: Session, moids: Sequence[str], networks: Mapping[str, str]) -> dict[str, Machine]:
    """Machines by moid, in one read; those that are gone are missing.

    Args:
        session: whose they are.
        moids: which ones.
        networks: moid of a network, or key of a distributed port group -> its name.

    Raises:
        VSphereError: the vCenter refuses or does not answer.
    """
    objects = [session.managed(moid, vim.VirtualMachine) for moid in moids]
    found: Found = session.read(lambda content: of_these(content, objects, PATHS))
    return {moid: machine_of(moid, properties, networks) for moid, (_, properties) in found.items()}


def machine_of(moid: str, properties: Mapping[str, Any], networks: Mapping[str, str]) -> Machine:
    """A machine from its properties, which are those of `PATHS`."""
    get = properties.get
    devices = get("config.hardware.device") or ()
    snapshot = get("snapshot")
    pool = get("resourcePool")
    return Machine(
        moid=moid,
        cpus=get("config.hardware.numCPU") or 0,
        cores_per_socket=get("config.hardware.numCoresPerSocket") or 1,
        memory_mib=get("config.hardware.memoryMB") or 0,
        cpu_hot_add=bool(get("config.cpuHotAddEnabled")),
        memory_hot_add=bool(get("config.memoryHotAddEnabled")),
        disks=tuple(_disks(devices)),
        adapters=tuple(_adapters(devices, networks)),
        marks={each.key: str(each.value) for each in get("config.extraConfig") or () if each.key.startswith(
            "guestinfo.")},
        version=get("config.changeVersion") or "",
        snapshots=tuple(_tree(snapshot.rootSnapshotList)) if snapshot is not None else (),
        pool=pool._moId if pool is not None else "",  # noqa: SLF001 - its only name
    )  # fmt: skip


def _disks(devices: Sequence[Any]) -> Iterator[DiskSeen]:
    buses = {each.key: each.busNumber for each in devices if isinstance(each, vim.vm.device.VirtualSCSIController)}
    for each in devices:
        if isinstance(each, vim.vm.device.VirtualDisk):
            yield DiskSeen(
                key=each.key, bus=buses.get(each.controllerKey or 0, -1), unit=each.unitNumber or 0,
                kib=each.capacityInKB, file=getattr(each.backing, "fileName", "") or "",
            )  # fmt: skip


def _adapters(devices: Sequence[Any], networks: Mapping[str, str]) -> Iterator[AdapterSeen]:
    for each in sorted(devices, key=lambda device: device.key):
        if isinstance(each, vim.vm.device.VirtualEthernetCard):
            yield AdapterSeen(each.key, (each.macAddress or "").lower(), _network(each.backing, networks))


def _network(backing: Any, networks: Mapping[str, str]) -> str:  # noqa: ANN401 - pyvmomi's objects
    port = getattr(backing, "port", None)
    if port is not None:
        return networks.get(port.portgroupKey, "")
    network = getattr(backing, "network", None)
    known = networks.get(network._moId, "") if network is not None else ""  # noqa: SLF001 - its only name
    return known or shown(getattr(backing, "deviceName", "") or "")


def _tree(snapshots: Sequence[Any]) -> Iterator[SnapshotSeen]:
    for each in snapshots:
        yield SnapshotSeen(each.snapshot._moId, each.name, each.description or "", each.createTime)  # noqa: SLF001
        yield from _tree(each.childSnapshotList or ())
