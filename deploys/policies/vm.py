"""The virtual machine itself: where it is on the vCenter, what it is made of, and what it is made from.

`deploys/vm.py` makes and keeps machines by this policy; the other entries leave it alone. What the vCenter must hold
is read from it anew after the last change; nothing of it is a matter of a login on the host.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from typing_extensions import override

from deploys.policies.base import Check, Item, Policy, Risk, of_a_group
from deploys.policies.network import Network
from deploys.policies.network_models import Mac
from deploys.policies.types import Cidr, Line, Word
from deploys.policies.vcenter import VCenter
from deploys.vsphere.fetch import RemotePackage, url_problem
from deploys.vsphere.package import LibraryEntry, Package, PackageError, package
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


def _library_item(value: str) -> str:
    library, separator, item = value.partition("/")
    if not separator or not library or not item or "/" in item or any(letter in value for letter in "\n\0"):
        message = f"{value!r} is no item of a content library, such as LIBRARY/ITEM"
        raise ValueError(message)
    return value


def _static(value: str) -> str:
    if not re.fullmatch(r"00:50:56:[0-3][0-9a-f](:[0-9a-f]{2}){2}", value):
        message = f"{value} is none that a vCenter lets people give: 00:50:56:00:00:00 to 00:50:56:3f:ff:ff"
        raise ValueError(message)
    return value


InventoryPath = Annotated[str, AfterValidator(_path)]
"""A place in the vCenter's inventory from the datacenter down, without slashes at its ends."""
Name = Annotated[str, AfterValidator(_text_key)]
StaticMac = Annotated[Mac, AfterValidator(_static)]
"""Source of the range: vSphere Networking, "Static MAC Addresses in Virtual Machines"."""


def _ovf(value: object) -> object:
    """A path on the controller, or an address."""
    if isinstance(value, str) and "://" in value:
        problem = url_problem(value)
        if problem is not None:
            raise ValueError(problem)
        return value
    return Path(value) if isinstance(value, str) else value


LibraryItem = Annotated[str, AfterValidator(_library_item)]


Source = LibraryEntry | Package | RemotePackage
"""What a template is made of."""
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
    mac: StaticMac | None = None
    """As the vCenter gives it when not given."""


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
    vcenter: VCenter = of_a_group()
    """Must be given, by one of the groups of a host."""
    folder: InventoryPath = of_a_group()
    """Where the machine is, from the datacenter down: "DC0/prod/web". Made when it is not there. Must be given."""
    template: InventoryPath | None = None
    """What it is cloned from, once: another template later changes nothing on a machine that is there."""
    ovf: Annotated[Path | str | None, BeforeValidator(_ovf)] = None
    """Instead of `template`: an OVA file on the controller, an OVF file with its files beside it, or an OVA file at an
    https URL. A template is made from it once, and cloned from then on."""
    library: LibraryItem | None = None
    """Instead of `template`: "LIBRARY/ITEM" of a content library of OVF packages. As with `ovf`, a template is made of
    it once; another content under the same name later changes nothing."""
    templates: InventoryPath | None = None
    """Where templates are that are made from `ovf` or `library`; DATACENTER/photon-fleet-templates when not given."""
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
    tags: dict[Name, Name] = Field(default_factory=dict)
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
        for name in ("vcenter", "folder"):
            if not getattr(self, name):
                yield f"{name}: is not given"
        if (self.cluster is None) == (self.pool is None):
            yield "cluster: give the cluster that the machine is placed in, or else a pool"
        if self.cpus % self.cores_per_socket:
            yield f"cpus: {self.cpus} cannot be had with {self.cores_per_socket} cores_per_socket"
        wanted = sorted(adapter.index for adapter in self.adapters)
        if wanted != list(range(len(wanted))):
            yield f"adapters: the indexes are {wanted}, and must count from 0"
        for mac, times in Counter(adapter.mac for adapter in self.adapters if adapter.mac).items():
            if times > 1:
                yield f"adapters: {times} of them have the MAC {mac}"
        yield from self._source_problems()

    def _source_problems(self) -> Iterable[str]:
        """What is wrong with what it is made from."""
        sources = [name for name in ("template", "ovf", "library") if getattr(self, name) is not None]
        if len(sources) != 1:
            found = f"{' and '.join(sources)} are given" if sources else "none is given"
            yield f"template: one of template, ovf and library says what it is made from; {found}"
        datacenter = (self.folder or "").partition("/")[0]
        for name, path in (("template", self.template), ("templates", self.templates)):
            if path is not None and datacenter and path.partition("/")[0] != datacenter:
                yield f"{name}: {path} is in another datacenter than the folder {self.folder}"
        if self.template is None:
            lacking = [name for name in ("datastore", "adapters") if not getattr(self, name)]
            yield from (f"{name}: must be given with {' and '.join(sources)}" for name in lacking if sources)
        try:
            self.source()
        except PackageError as error:
            yield f"ovf: {error}"

    @override
    def conflicts(self, others: Mapping[str, Policy]) -> Iterable[str]:
        network = others.get(Network.name)
        given = [adapter.mac for adapter in self.adapters]
        # Of adapters without one, and of those that only the template knows, it is the vCenter that says it.
        if isinstance(network, Network) and given and None not in given:
            for link in network.links:
                if link.mac is not None and link.mac not in given:
                    yield (
                        f"adapters: none has the MAC {link.mac}, by which the network policy's link {link.name} finds "
                        f"its card; they have {' and '.join(map(str, given))}"
                    )

    def source(self) -> Source | None:
        """What a template is made of; None when there is one.

        Raises:
            PackageError: it cannot be read.
        """
        if self.library is not None:
            return LibraryEntry(*self.library.split("/"))
        if isinstance(self.ovf, str):
            return RemotePackage(self.ovf)
        return package(self.ovf) if self.ovf is not None else None

    def template_path(self) -> str:
        """Where the template is that it is cloned from.

        Raises:
            PackageError: there is none yet, and what it is made of cannot be read.
        """
        source = self.source()
        if source is None:
            return self.template or ""
        folder = self.templates or f"{self.folder.partition('/')[0]}/photon-fleet-templates"
        return f"{folder}/{coded(source.label)}"

    @override
    def apply(self) -> None:
        """Nothing: the machine is the business of deploys/vm.py."""

    @override
    def checks(self) -> Iterable[Check]:
        return ()


def shared_macs(machines: Mapping[str, Policy]) -> Iterable[str]:
    """What is wrong when adapters of several hosts have one MAC.

    Args:
        machines: host -> its vm policy.
    """
    owners: dict[str, list[str]] = {}
    for host, policy in machines.items():
        for mac in {adapter.mac for adapter in policy.adapters} if isinstance(policy, Vm) else ():
            owners.setdefault(mac or "", []).append(host)
    for mac, hosts in owners.items():
        if mac and len(hosts) > 1:
            yield f"{', '.join(hosts)}: vm: adapters: each has the MAC {mac}; give each one of its own"
