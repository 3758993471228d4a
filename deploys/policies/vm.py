"""The virtual machine itself: where it is on the vCenter, what it is made of, and what it is made from.

`deploys/vm.py` makes and keeps machines by this policy; the other entries leave it alone. What the vCenter must hold
is read from it anew after the last change; nothing of it is a matter of a login on the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies.base import Check, Item, Policy, Risk
from deploys.policies.types import Cidr, Line, Word
from deploys.policies.vcenter import VCenter
from deploys.vsphere.rows import AddressRule, coded, shown


def _path(value: str) -> str:
    steps = value.strip("/").split("/")
    if not all(steps) or any(letter in value for letter in "\n\0"):
        message = f"{value!r} is no path such as DC0/prod/web: the datacenter first; a / in a name is written %2f"
        raise ValueError(message)
    return "/".join(steps)


def _text_key(value: str) -> str:
    if not re.fullmatch(r"[^\n\0]{1,80}", value):
        message = f"{value!r}: one line of at most 80 characters"
        raise ValueError(message)
    return value


InventoryPath = Annotated[str, AfterValidator(_path)]
"""A place in the vCenter's inventory from the datacenter down, without slashes at its ends."""
Name = Annotated[str, AfterValidator(_text_key)]


CONTROLLER_UNIT = 7
"""Where the SCSI controller itself is among its disks."""


class Disk(Item):
    """A virtual disk. `unit` tells it from the others: 0 is the one of the template, which may only grow."""

    identity: ClassVar[str] = "unit"

    unit: Annotated[int, Field(ge=0, le=63)]
    """Place on the first SCSI controller; 7 is the controller's own."""
    gib: Annotated[int, Field(ge=1, le=63488)]
    """Size in GiB; a disk that is larger is left alone, as none is ever made smaller."""
    datastore: Name | None = None
    """Where a new disk is; beside the machine when not given."""
    thin: bool = True

    @override
    def contradictions(self) -> Iterable[str]:
        if self.unit == CONTROLLER_UNIT:
            yield "unit: 7 is the SCSI controller's own"


class Adapter(Item):
    """A network adapter. `index` tells it from the others, in the order of the devices."""

    identity: ClassVar[str] = "index"

    index: Annotated[int, Field(ge=0, le=9)]
    network: Name
    """The name of the network or port group."""


class Address(Item):
    """Which of the machine's addresses is the one to log in to."""

    identity: ClassVar[str] = "family"

    family: Literal[4, 6] = 4
    network: Name | None = None
    within: tuple[Cidr, ...] = ()


class Vm(Policy):
    """A virtual machine on a vCenter."""

    name: ClassVar[str] = "vm"
    risk: ClassVar[Risk] = Risk.NONE
    of_host: ClassVar[bool] = False
    vcenter: VCenter
    folder: InventoryPath
    """Where the machine is, from the datacenter down: "DC0/prod/web". Made when it is not there."""
    template: InventoryPath
    """What it is cloned from, once: another template later changes nothing on a machine that is there."""
    label: Name | None = None
    """Its name on the vCenter; the host's own name when not given. Changing it renames the machine."""
    cluster: Name | None = None
    """The cluster, or host, whose root pool it is placed in. One of `cluster` and `pool` is given."""
    pool: InventoryPath | None = None
    """A resource pool: "CLUSTER/POOL"."""
    datastore: Name | None = None
    """Where it is cloned to; where the template is when not given."""
    cpus: Annotated[int, Field(ge=1, le=768)] = 2
    cores_per_socket: Annotated[int, Field(ge=1, le=256)] = 1
    memory_mib: Annotated[int, Field(ge=256, multiple_of=4)] = 2048
    disks: tuple[Disk, ...] = ()
    """The others of the machine are left alone."""
    adapters: tuple[Adapter, ...] = ()
    """The others of the machine are left alone; none given: as the template has them."""
    annotation: Annotated[str, Field(max_length=8192)] = ""
    tags: dict[Name, Word] = Field(default_factory=dict)
    """Category -> tag. Other categories' tags are left alone."""
    attributes: dict[Name, Line] = Field(default_factory=dict)
    """Custom attribute -> value. Others are left alone."""
    apart: Name | None = None
    """A rule of that name keeps all machines that say so on different hosts."""
    power: Literal["on", "off"] = "on"
    address: Address = Address()
    may_cycle_power: bool = False
    """Let changes that need it shut the machine down and start it again; without it they are told, and refused."""

    fleet: Word = "photon-fleet"
    """Part of the mark that our machines bear: two fleets of one vCenter have names of their own."""

    def label_of(self, host: str) -> str:
        """The machine's name, as the API writes it."""
        return coded(shown(self.label or host))

    def path_of(self, host: str) -> str:
        """Where the machine is to be, as the API writes it."""
        return f"{self.folder_coded()}/{self.label_of(host)}"

    def folder_coded(self) -> str:
        """Its folder, as the API writes names."""
        return "/".join(coded(shown(step)) for step in self.folder.split("/"))

    def mark_of(self, host: str) -> str:
        """What tells the machine of a host from all others."""
        return f"{self.fleet}/{host}"

    def address_rule(self) -> AddressRule:
        """Which of its addresses is the one to log in to."""
        return AddressRule(network=self.address.network, family=self.address.family, within=self.address.within)

    @override
    def problems(self) -> Iterable[str]:
        if (self.cluster is None) == (self.pool is None):
            yield "cluster: give the cluster that the machine is placed in, or else a pool"
        if self.cpus % self.cores_per_socket:
            yield f"cpus: {self.cpus} cannot be had with {self.cores_per_socket} cores_per_socket"
        wanted = sorted(adapter.index for adapter in self.adapters)
        if wanted != list(range(len(wanted))):
            yield f"adapters: the indexes are {wanted}, and must count from 0"
        if self.folder.partition("/")[0] != self.template.partition("/")[0]:
            yield f"template: {self.template} is in another datacenter than the folder {self.folder}"

    @override
    def apply(self) -> None:
        """Nothing: the machine is the business of deploys/vm.py."""

    @override
    def checks(self) -> Iterable[Check]:
        return ()
