"""A planned change of a machine as the API's ConfigSpec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyVmomi import vim

from deploys.vsphere.errors import VSphereError
from deploys.vsphere.places import Places
from operations._vm_plan import KIB_IN_GIB, Change, WantedAdapter, WantedDisk

_Device = Any
"""vim.vm.device.VirtualDevice"""


def fields(needed: Change, devices: Sequence[_Device], places: Places, datacenter: str) -> dict[str, Any]:
    """The fields of a ConfigSpec.

    Args:
        needed: the change.
        devices: those of the machine as it is now.
        places: where networks and datastores are found.
        datacenter: in which.

    Raises:
        VSphereError: a network or a datastore is not there, or the machine has no SCSI controller for a new disk.
    """
    simple = {"numCPUs": needed.cpus, "numCoresPerSocket": needed.cores_per_socket, "memoryMB": needed.memory_mib,
              "annotation": needed.annotation}  # fmt: skip
    by_key = {each.key: each for each in devices}
    several = [
        *(_grown(by_key[key], kib) for key, kib in needed.grow.items()),
        *(_new_disk(disk, devices, -100 - number, places, datacenter) for number, disk in enumerate(needed.add)),
        *(_edited_adapter(by_key[key], needed, places, datacenter) for key in {**needed.replug, **needed.macs}),
        *(_new_adapter(adapter, -200 - number, places, datacenter) for number, adapter in enumerate(needed.plug)),
    ]
    spec = {name: value for name, value in simple.items() if value is not None}
    return {**spec, "deviceChange": several} if several else spec


def _edit(device: _Device) -> Any:  # noqa: ANN401 - pyvmomi's objects
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=device)


def _grown(disk: _Device, kib: int) -> Any:  # noqa: ANN401 - pyvmomi's objects
    disk.capacityInKB = kib
    # Where both are given the API takes this one.
    disk.capacityInBytes = kib * 1024
    return _edit(disk)


def _new_disk(disk: WantedDisk, devices: Sequence[_Device], key: int, places: Places, datacenter: str) -> Any:  # noqa: ANN401
    controllers = [each for each in devices if isinstance(each, vim.vm.device.VirtualSCSIController)]
    first = next((each for each in controllers if each.busNumber == 0), None)
    if first is None:
        message = f"the machine has no SCSI controller 0 for a disk {disk.unit}: give its template one"
        raise VSphereError(message)
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        diskMode="persistent", thinProvisioned=disk.thin, fileName=f"[{disk.datastore}]" if disk.datastore else ""
    )
    if disk.datastore:
        backing.datastore = places.datastore(datacenter, disk.datastore)
    made = vim.vm.device.VirtualDisk(
        key=key, controllerKey=first.key, unitNumber=disk.unit, capacityInKB=disk.gib * KIB_IN_GIB, backing=backing
    )
    return vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=made)


def _backing(places: Places, datacenter: str, name: str) -> Any:  # noqa: ANN401 - pyvmomi's objects
    network = places.network(datacenter, name)
    if isinstance(network, vim.dvs.DistributedVirtualPortgroup):
        switch = places.switch_of(network)
        port = vim.dvs.PortConnection(portgroupKey=network._moId, switchUuid=switch)  # noqa: SLF001 - its only name
        return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    return vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(network=network, deviceName=name)


def _edited_adapter(adapter: _Device, needed: Change, places: Places, datacenter: str) -> Any:  # noqa: ANN401
    if adapter.key in needed.replug:
        adapter.backing = _backing(places, datacenter, needed.replug[adapter.key])
    if adapter.key in needed.macs:
        adapter.addressType, adapter.macAddress = "manual", needed.macs[adapter.key]
    return _edit(adapter)


def _new_adapter(wanted: WantedAdapter, key: int, places: Places, datacenter: str) -> Any:  # noqa: ANN401
    plugged = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, connected=True, allowGuestControl=True)
    address = {"addressType": "manual", "macAddress": wanted.mac} if wanted.mac else {"addressType": "assigned"}
    backing = _backing(places, datacenter, wanted.network)
    made = vim.vm.device.VirtualVmxnet3(key=key, backing=backing, connectable=plugged, **address)
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=made)
