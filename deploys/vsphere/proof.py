"""The proof of machines: what their vCenter says after the last change, read in another way than it was planned.

Plans are made from `config.*` and the devices; a proof reads `summary.*`, the machine's own list of networks, where its
folder is by walking up from it, and which machines bear a tag instead of which tags a machine bears.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from deploys.policies.vm import Vm
from deploys.vsphere.crew import Crew
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.machine import GIB, MARK
from deploys.vsphere.reads import of_these

PATHS = (
    "name", "parent", "network", "summary.config.numCpu", "summary.config.memorySizeMB", "summary.config.annotation",
    "summary.config.instanceUuid", "summary.runtime.powerState", "summary.customValue", "layoutEx.disk",
    "layoutEx.file", "config.extraConfig", "config.hardware.device",
)  # fmt: skip
_POWER = {"on": "poweredOn", "off": "poweredOff"}


@dataclass(frozen=True)
class Finding:
    """One thing that is to be so at a machine, and what is so.

    Args:
        field: of the policy.
        proves: a sentence, true when both are the same.
    """

    field: str
    proves: str
    expected: object
    actual: object

    @property
    def passed(self) -> bool:
        """Whether it is so."""
        return self.expected == self.actual

    def __str__(self) -> str:
        return f"{self.field}: not true that {self.proves}: expected {self.expected!r}, found {self.actual!r}"


def findings(crew: Crew, moid: str, host: str, policy: Vm) -> list[Finding]:
    """What a policy says of its machine, each with what is so.

    Raises:
        VSphereError: the machine is gone, or the vCenter does not answer.
    """
    vm = crew.session.managed(moid, vim.VirtualMachine)
    rows = crew.session.read(lambda content: of_these(content, [vm], PATHS))
    if moid not in rows:
        message = f"the machine of {host} is gone"
        raise VSphereError(message)
    row = rows[moid][1]
    fields = {key: name for name, key in crew.attribute_keys().items()}
    return [*_simple(row, host, policy), *_attributes(row, fields, policy), *_networks(crew, row, policy),
            *_disks(row, policy), _place(crew, row, policy), *_tags(crew, moid, policy)]  # fmt: skip


def _simple(row: Mapping[str, Any], host: str, policy: Vm) -> list[Finding]:
    marks = {each.key: each.value for each in row.get("config.extraConfig") or ()}
    get = row.get
    return [
        Finding("fleet", f"the machine bears the mark of {host}", policy.mark_of(host), marks.get(MARK)),
        Finding("label", "it has its name", policy.label_of(host), get("name")),
        Finding("cpus", f"it has {policy.cpus} CPUs", policy.cpus, get("summary.config.numCpu")),
        Finding("memory_mib", f"it has {policy.memory_mib} MiB", policy.memory_mib, get("summary.config.memorySizeMB")),
        Finding("annotation", "it has its annotation", policy.annotation, get("summary.config.annotation") or ""),
        Finding("power", f"it is {policy.power}", _POWER[policy.power], str(get("summary.runtime.powerState"))),
    ]


def _attributes(row: Mapping[str, Any], fields: Mapping[int, str], policy: Vm) -> list[Finding]:
    found = {fields.get(each.key): each.value for each in row.get("summary.customValue") or ()}
    return [
        Finding(f"attributes[{name}]", f"its attribute {name} is {value!r}", value, found.get(name))
        for name, value in policy.attributes.items()
    ]


def _networks(crew: Crew, row: Mapping[str, Any], policy: Vm) -> list[Finding]:
    known = crew.places.network_names()
    macs = {
        each.macAddress.lower() for each in row.get("config.hardware.device") or ()
        if isinstance(each, vim.vm.device.VirtualEthernetCard) and each.macAddress
    }  # fmt: skip
    plugged = {known.get(each._moId, "") for each in row.get("network") or ()}  # noqa: SLF001 - its only name
    found = []
    for each in policy.adapters:
        field, there = f"adapters[{each.index}]", each.network in plugged
        found.append(Finding(field, f"it is plugged into {each.network}", actual=there, expected=True))
        if each.mac is not None:
            has = each.mac in macs
            found.append(Finding(f"{field}.mac", f"an adapter has the MAC {each.mac}", actual=has, expected=True))
    return found


def _disks(row: Mapping[str, Any], policy: Vm) -> list[Finding]:
    """By the files that the layout gives to each disk's device; sizes are the devices' own."""
    laid_out = {each.key for each in row.get("layoutEx.disk") or ()}
    devices = {
        each.unitNumber: each for each in row.get("config.hardware.device") or ()
        if isinstance(each, vim.vm.device.VirtualDisk) and (not laid_out or each.key in laid_out)
    }  # fmt: skip
    found = []
    for disk in policy.disks:
        there = devices.get(disk.unit)
        large = there is not None and there.capacityInKB >= disk.gib * GIB
        found.append(
            Finding(f"disks[{disk.unit}]", f"disk {disk.unit} has {disk.gib} GiB or more", actual=large, expected=True)
        )
    return found


def _place(crew: Crew, row: Mapping[str, Any], policy: Vm) -> Finding:
    """Upwards from the machine, an object at a time."""
    steps: list[str] = []
    place = row.get("parent")
    while place is not None:
        found = _name_and_parent(crew, place)
        over = found.get("parent")
        if isinstance(place, vim.Datacenter) or not isinstance(over, vim.Datacenter | None):
            steps.append(found["name"])
        place = None if isinstance(place, vim.Datacenter) else over
    return Finding("folder", f"it is in {policy.folder}", policy.folder_coded(), "/".join(reversed(steps)))


def _name_and_parent(crew: Crew, place: Any) -> Mapping[str, Any]:  # noqa: ANN401 - pyvmomi's objects
    rows = crew.session.read(lambda content: of_these(content, [place], ["name", "parent"]))
    return rows[place._moId][1]  # noqa: SLF001 - its only name


def _tags(crew: Crew, moid: str, policy: Vm) -> list[Finding]:
    bearers = crew.tags.bearers(policy.tags)
    return [
        Finding(
            f"tags[{category}]",
            f"it bears the tag {tag} of {category}",
            actual=moid in bearers.get(category, ()),
            expected=True,
        )
        for category, tag in policy.tags.items()
    ]


def failed(found: Sequence[Finding]) -> list[str]:
    """The sentences of those that are not so."""
    return [str(each) for each in found if not each.passed]
