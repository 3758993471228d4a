"""The parts of the network policy: links, what is stacked on them, routes, entries of the hosts file, proxies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies.base import Item, Model
from deploys.policies.types import Cidr, Line, Word

_DEVICE = re.compile(r"[a-z][a-z0-9_-]{0,14}(?:\.[0-9]{1,4})?")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_DOMAIN = re.compile(r"~?(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+|~\.")
_DEVICE_LENGTH = 15


def _device(value: str) -> str:
    if not _DEVICE.fullmatch(value) or len(value) > _DEVICE_LENGTH:
        message = f"{value!r} is no name of a network device: lower-case letters and digits, 15 at the most"
        raise ValueError(message)
    return value


def _mac(value: str) -> str:
    if not _MAC.fullmatch(value.lower()):
        message = f"{value!r} is no MAC address such as 00:50:56:01:02:03"
        raise ValueError(message)
    return value.lower()


def _interface(value: str) -> str:
    try:
        found = ip_interface(value)
    except ValueError:
        found = None
    if found is None or "/" not in value:
        message = f"{value!r} is no address with its prefix length, such as 10.0.0.5/24"
        raise ValueError(message)
    return str(found)


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError as error:
        message = f"{value!r} is no IP address: {error}"
        raise ValueError(message) from None


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value):
        message = f"{value!r} is no domain name"
        raise ValueError(message)
    return value


def _proxy(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"[\s'\"\\$`%]", value):
        message = f"{value!r} is no proxy such as http://proxy.example.com:3128"
        raise ValueError(message)
    if parts.username or parts.password:
        message = "a proxy's password would be in files that everybody on the host reads; let it know hosts by address"
        raise ValueError(message)
    return value


Device = Annotated[str, AfterValidator(_device)]
Mac = Annotated[str, AfterValidator(_mac)]
Interface = Annotated[str, AfterValidator(_interface)]
Address = Annotated[str, AfterValidator(_address)]
Domain = Annotated[str, AfterValidator(_domain)]
ProxyUrl = Annotated[str, AfterValidator(_proxy)]
BondMode = Literal["active-backup", "802.3ad", "balance-rr", "balance-xor", "balance-tlb", "balance-alb"]
Mtu = Annotated[int, Field(ge=1280, le=9216)]


class Route(Item):
    """A route over a link."""

    identity: ClassVar[str] = "to"

    to: Cidr
    via: Address | None = None
    metric: int | None = Field(default=None, ge=0, le=2**32 - 1)

    @override
    def contradictions(self) -> Iterable[str]:
        if self.via is not None and ip_address(self.via).version != ip_network(self.to).version:
            yield f"via: {self.via} is of another family than {self.to}"


class Vlan(Item):
    """A VLAN, by the name of its device. The link below it lists it in `vlans`."""

    name: Device
    id: int = Field(ge=1, le=4094)


class Bond(Item):
    """A bond, by the name of its device. Its links name it in `bond`."""

    name: Device
    mode: Literal["active-backup", "802.3ad", "balance-rr", "balance-xor", "balance-tlb", "balance-alb"] = (
        "active-backup"
    )
    monitor_milliseconds: int = Field(default=100, ge=10, le=10000)
    fast_lacp: bool = True
    """Ask the switch every second; 802.3ad only."""


class Bridge(Item):
    """A bridge, by the name of its device. Its links name it in `bridge`."""

    name: Device
    stp: bool = False


class Macvlan(Item):
    """A device of its own MAC on a link, which lists it in `macvlans`: how a host reaches its macvlan containers."""

    name: Device
    mode: Literal["bridge", "private", "vepa", "passthru"] = "bridge"


class Link(Item):
    """How a device is configured: a card by its MAC or name, or a VLAN, bond, bridge or macvlan of the policy."""

    name: Word
    """What the policy calls it; the file is 05-photon-fleet-NAME.network."""
    mac: Mac | None = None
    device: Device | None = None
    addresses: tuple[Interface, ...] = ()
    dhcp: Literal["no", "yes", "ipv4", "ipv6"] = "no"
    gateway: Address | None = None
    gateway6: Address | None = None
    routes: tuple[Route, ...] = ()
    dns: tuple[Address, ...] = ()
    domains: tuple[Domain, ...] = ()
    mtu: Mtu | None = None
    accept_ra: bool = False
    link_local: bool = True
    """A link-local IPv6 address; False switches IPv6 off on this link, which sysctl should not."""
    required: bool = True
    """Whether the host counts as online only with this link."""
    vlans: tuple[Device, ...] = ()
    macvlans: tuple[Device, ...] = ()
    bond: Device | None = None
    bridge: Device | None = None

    @override
    def contradictions(self) -> Iterable[str]:
        if (self.mac is None) == (self.device is None):
            yield "mac, device: exactly one of them says which device it is"
        if self.bond and self.bridge:
            yield "bond, bridge: it can be part of one of them"
        if (self.bond or self.bridge) and (self.addresses or self.gateway or self.gateway6 or self.dhcp != "no"):
            yield "addresses: they belong to the bond or bridge, not to its parts"
        for field, version in (("gateway", 4), ("gateway6", 6)):
            gateway = getattr(self, field)
            if gateway is None:
                continue
            address = ip_address(gateway)
            if address.version != version:
                yield f"{field}: {gateway} is no IPv{version} address"
            elif (
                self.addresses
                and not address.is_link_local
                and not any(address in ip_interface(own).network for own in self.addresses)
            ):
                yield f"{field}: {gateway} is in none of the networks of {', '.join(self.addresses)}"


class HostEntry(Item):
    """A line of the hosts file."""

    identity: ClassVar[str] = "address"

    address: Address
    names: tuple[Annotated[str, AfterValidator(_domain)], ...] = Field(min_length=1)


class Proxy(Model):
    """Proxies for logins, for what they start (tdnf among it), and for Docker."""

    http: ProxyUrl | None = None
    https: ProxyUrl | None = None
    without: tuple[Line, ...] = ("localhost", "127.0.0.1", "::1")

    @override
    def contradictions(self) -> Iterable[str]:
        yield from (f"without: {word!r} is no name, domain or network" for word in self.without if not _plain(word))

    def variables(self) -> dict[str, str]:
        """Environment variables, in both spellings that programs look for."""
        values = {"http_proxy": self.http, "https_proxy": self.https, "no_proxy": ",".join(self.without)}
        given = {name: value for name, value in values.items() if value}
        return {**given, **{name.upper(): value for name, value in given.items()}}


def _plain(word: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9.*:/_-]+", word))
