r"""What is known of the virtual machines of a vCenter: plain values, as one bulk read gives them.

Formats: vSphere Web Services API, VirtualMachine (`config`, `guest`, `runtime`). Inventory names have `/`, `\` and `%`
written as %2f, %5c and %25; here they are as a person sees them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_NAMES = (("%2f", "/"), ("%2F", "/"), ("%5c", "\\"), ("%5C", "\\"), ("%25", "%"))


def shown(name: str) -> str:
    """An inventory name as a person sees it: `a%2fb` is `a/b`."""
    for code, letter in _NAMES:
        name = name.replace(code, letter)
    return name


def coded(name: str) -> str:
    """An inventory name as the API wants it: `a/b` is `a%2fb`."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


@dataclass(frozen=True, slots=True)
class Nic:
    """A network adapter as the guest reports it (GuestNicInfo).

    Args:
        key: the device it is, of `config.hardware.device`; -1 for one that is the guest's own, such as docker0.
        network: the name of the network or port group; empty when the guest's own.
        addresses: IPv4 and IPv6 addresses as the guest has them, without prefix length.
    """

    key: int
    network: str
    mac: str
    addresses: tuple[str, ...] = ()
    connected: bool = True


@dataclass(frozen=True, slots=True)
class Vm:
    """A virtual machine or a template.

    Args:
        moid: the vCenter's id of the object; another one after it was registered anew.
        uuid: the instance UUID, which the vCenter keeps unique.
        bios_uuid: what the guest sees; a copied machine may have another one's.
        folder: names from the datacenter down, as a person sees them: ("DC0", "prod", "web").
        power: on, off or suspended.
        tools: whether VMware Tools run in the guest.
        host: the ESXi host that it runs on, or ran on the last time.
        datastores: those that its files are on, sorted.
        question: the text of a question that the machine waits on; empty when there is none.
        tags: category -> names.
    """

    moid: str
    name: str
    folder: tuple[str, ...]
    uuid: str = ""
    bios_uuid: str = ""
    template: bool = False
    power: str = "off"
    tools: bool = False
    question: str = ""
    host: str = ""
    cluster: str = ""
    datastores: tuple[str, ...] = ()
    reachable: bool = True
    guest_name: str = ""
    annotation: str = ""
    nics: tuple[Nic, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """`DC0/prod/web/web-1`, with a `/` that is part of a name written as %2f."""
        return "/".join(map(coded, (*self.folder, self.name)))


def vm_from_json(row: Mapping[str, Any]) -> Vm:
    """A row of a kept read."""
    values = dict(row)
    values["folder"] = tuple(values["folder"])
    values["datastores"] = tuple(values["datastores"])
    values["nics"] = tuple(Nic(**{**nic, "addresses": tuple(nic["addresses"])}) for nic in values["nics"])
    values["tags"] = {category: tuple(names) for category, names in values["tags"].items()}
    return Vm(**values)


@dataclass(frozen=True)
class AddressRule:
    """Which of a machine's addresses is for its management.

    Args:
        network: the name of the network that the address must be on; any that the machine is plugged into when None.
        family: 4 or 6.
        within: networks in CIDR notation, one of which must have the address; any when empty.
    """

    network: str | None = None
    family: int = 4
    within: tuple[str, ...] = ()

    def of(self, vm: Vm) -> str | None:
        """The address, or None. Only of adapters that the machine has and that are plugged in: no bridge of Docker's.

        Where several fit, the first one of the first adapter is taken, in the order of the devices.
        """
        for nic in sorted(vm.nics, key=lambda nic: nic.key):
            if nic.key < 0 or not nic.connected or self.network not in {None, nic.network}:
                continue
            for text in nic.addresses:
                if self._fits(text):
                    return text
        return None

    def _fits(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        if address.version != self.family or address.is_link_local or address.is_loopback or address.is_unspecified:
            return False
        return not self.within or any(address in net for net in _networks(self.within, address.version))

    def reason(self, vm: Vm) -> str:
        """Why a machine has no such address, for a person."""
        if vm.power != "on":
            return f"it is {vm.power}"
        if not vm.tools:
            return "VMware Tools do not run in it, which report addresses"
        own = "the guest's own"
        wanted = f"IPv{self.family} address" + (f" on {self.network}" if self.network else "")
        there = [f"{text} ({nic.network or own})" for nic in vm.nics for text in nic.addresses]
        return f"it has no {wanted}; it has {', '.join(there) or 'none at all'}"


def _networks(given: Iterable[str], version: int) -> list[Any]:
    return [net for net in map(ipaddress.ip_network, given) if net.version == version]
