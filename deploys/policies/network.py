"""Addresses, routes and name resolution through systemd-networkd and systemd-resolved.

The policy owns the files in /etc/systemd/network that carry its prefix; they come before those of the installer and of
cloud-init. Links that it does not name stay with whatever configured them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field
from pyinfra import host
from typing_extensions import override

from deploys.policies.base import Check, Contains, Item, Policy, Risk, Undo, file_check
from deploys.policies.network_models import Address, Bond, Bridge, Domain, HostEntry, Link, Macvlan, Proxy, Vlan
from deploys.policies.network_reads import (
    RESOLVED,
    addresses,
    attribute,
    content,
    files_of_ours,
    gateways,
    lower_of,
    master_of,
    resolved_setting,
    route_via,
)
from deploys.policies.render import render
from operations import file, network, systemd
from operations.network import DIRECTORY, PREFIX

if TYPE_CHECKING:
    from testinfra.host import Host

NETWORKD = "/etc/systemd/networkd.conf.d/photon-fleet.conf"
LOGIN_PROXY = "/etc/profile.d/photon-fleet-proxy.sh"
DOCKER_PROXY = "/etc/systemd/system/docker.service.d/photon-fleet-proxy.conf"
UNMANAGED = f"{PREFIX}containers.network"


def _host_name(value: str) -> str:
    if not network.HOST_NAME.fullmatch(value):
        message = f"{value!r} is no host name"
        raise ValueError(message)
    return value


class Network(Policy):
    """How the host is connected."""

    name: ClassVar[str] = "network"
    risk: ClassVar[Risk] = Risk.CONNECTIVITY

    hostname: Annotated[str, AfterValidator(_host_name)] | None = None
    links: tuple[Link, ...] = ()
    vlans: tuple[Vlan, ...] = ()
    bonds: tuple[Bond, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    macvlans: tuple[Macvlan, ...] = ()
    dns: tuple[Address, ...] = ()
    """Name servers for every link; those of a link come first."""
    domains: tuple[Domain, ...] = ()
    fallback_dns: tuple[Address, ...] = ()
    """Asked when there are no others. Empty: nobody is, where systemd's own would be public servers."""
    hosts: tuple[HostEntry, ...] = ()
    proxy: Proxy = Field(default_factory=Proxy)

    @override
    def problems(self) -> Iterable[str]:
        made = {item.name: kind for kind, items in self._stacked().items() for item in items}
        for kind, items in self._stacked().items():
            users = [name for link in self.links for name in _names_of(link, kind)]
            for item in items:
                if item.name not in users:
                    yield f"{kind}s[{item.name}]: no link has it"
                if made[item.name] != kind:
                    yield f"{kind}s[{item.name}]: there is a {made[item.name]} of that name"
            for name in users:
                if made.get(name) != kind:
                    yield f"links: {kind} {name!r} is not among {kind}s"
        for field in ("mac", "device"):
            values = [value for link in self.links if (value := getattr(link, field))]
            yield from sorted({f"links: two have the {field} {value}" for value in values if values.count(value) > 1})
        if self.links and not any(link.addresses or link.dhcp != "no" for link in self.links):
            yield "links: none of them has an address or DHCP"

    def _stacked(self) -> dict[str, tuple[Vlan, ...] | tuple[Bond, ...] | tuple[Bridge, ...] | tuple[Macvlan, ...]]:
        return {"vlan": self.vlans, "bond": self.bonds, "bridge": self.bridges, "macvlan": self.macvlans}

    def devices(self) -> dict[str, str]:
        """The .netdev files: name -> device."""
        return {f"{PREFIX}{item.name}.netdev": item.name for items in self._stacked().values() for item in items}

    def files(self) -> dict[str, str]:
        """The files in /etc/systemd/network that the policy owns: name -> text."""
        settings: dict[str, tuple[str, str, dict[str, Any]]] = {}
        settings |= {vlan.name: ("vlan", "VLAN", {"Id": vlan.id}) for vlan in self.vlans}
        settings |= {bond.name: ("bond", "Bond", _bond(bond)) for bond in self.bonds}
        settings |= {bridge.name: ("bridge", "Bridge", {"STP": _yes(bridge.stp)}) for bridge in self.bridges}
        settings |= {each.name: ("macvlan", "MACVLAN", {"Mode": each.mode}) for each in self.macvlans}
        found = {
            f"{PREFIX}{name}.netdev": render(
                "network/device.netdev", name=name, kind=kind, section=section, settings=given
            )
            for name, (kind, section, given) in settings.items()
        }
        found |= {f"{PREFIX}{link.name}.network": render("network/link.network", link=link) for link in self.links}
        return {**found, UNMANAGED: render("network/unmanaged.network")} if found else {}

    def resolved(self) -> str:
        """The text of the drop-in for systemd-resolved."""
        return render("network/resolved.conf", dns=self.dns, domains=self.domains, fallback_dns=self.fallback_dns)

    def proxies(self) -> dict[str, str]:
        """The files that tell logins and Docker of the proxies: path -> text."""
        variables = self.proxy.variables() if self.proxy.http or self.proxy.https else {}
        if not variables:
            return {}
        head = "# Written by Photon Fleet (policy: network). Changes made here are undone by the next run."
        login = "".join(f"export {name}='{value}'\n" for name, value in variables.items())
        docker = "".join(f'Environment="{name}={value}"\n' for name, value in variables.items())
        return {LOGIN_PROXY: f"{head}\n{login}", DOCKER_PROXY: f"{head}\n[Service]\n{docker}"}

    @override
    def undo(self) -> Undo:
        return Undo(
            paths=(DIRECTORY, RESOLVED, NETWORKD, "/etc/hostname", "/etc/hosts", LOGIN_PROXY, DOCKER_PROXY,
                   "/etc/systemd/system/systemd-networkd.service",
                   "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"),
            running=render("network/undo.sh", devices=list(self.devices().values())),
        )  # fmt: skip

    @override
    def apply(self) -> None:
        if self.hostname is not None:
            network.hostname(name=f"Call the host {self.hostname}", hostname=self.hostname)
        network.hosts(name="Entries of the hosts file", entries=[_line(entry) for entry in self.hosts])
        if self.links:
            file.text(
                name="Leave the routes of container networks alone", path=NETWORKD,
                content=render("network/networkd.conf"), mode="644",
            )  # fmt: skip
        network.networkd(name="Links of networkd", files=self.files(), devices=self.devices())
        file.text(
            name="Name servers", path=RESOLVED, content=self.resolved(), mode="644",
            after="if systemctl is-active --quiet systemd-resolved.service; "
                  "then systemctl restart systemd-resolved.service; fi",
        )  # fmt: skip
        if self.dns or self.domains:
            systemd.unit(name="Run resolved", unit="systemd-resolved.service", running=True, enabled=True)
        proxies = self.proxies()
        if proxies:
            file.texts(name="Proxies", files=proxies, mode="644", after=_RESTART_DOCKER)
        else:
            for path in host.loop((LOGIN_PROXY, DOCKER_PROXY)):
                file.absent(name=f"No {path}", path=path)

    @override
    def checks(self) -> Iterable[Check]:
        if self.hostname is not None:
            yield Check(
                id="network.hostname", field="hostname",
                proves=f"the host is called {self.hostname}, also after a boot",
                read=lambda host: host.check_output("uname -n; cat /etc/hostname").split(), expect=[self.hostname] * 2,
            )  # fmt: skip
        for name, text in self.files().items():
            yield Check(
                id=f"network.file[{name}]", field=_field_of(name, self), proves=f"{name} is as the policy says",
                read=partial(content, f"{DIRECTORY}/{name}"), expect=text,
            )  # fmt: skip
            yield file_check(f"network.mode[{name}]", _field_of(name, self), f"{DIRECTORY}/{name}", "644")
        yield Check(
            id="network.no-other-files", field="links", proves="no file of the policy is left that it does not have",
            read=files_of_ours, expect=sorted(self.files()),
        )  # fmt: skip
        if self.links:
            yield Check(
                id="network.boot", field="links", proves="networkd starts at boot",
                read=lambda host: host.service("systemd-networkd").is_enabled, expect=True,
            )  # fmt: skip
        for link in self.links:
            yield from _link_checks(link)
        for entry in self.hosts:
            yield Check(
                id=f"network.hosts[{entry.address}]", field=f"hosts[{entry.address}]",
                proves=f"{entry.names[0]} is {entry.address} in the hosts file",
                read=lambda host: host.check_output("cat /etc/hosts").splitlines(), expect=Contains((_line(entry),)),
            )  # fmt: skip
        for field in ("dns", "domains", "fallback_dns"):
            key = {"dns": "DNS", "domains": "Domains", "fallback_dns": "FallbackDNS"}[field]
            yield Check(
                id=f"network.{field}", field=field, proves=f"resolved is told {key}",
                read=partial(resolved_setting, key), expect=" ".join(getattr(self, field)),
            )  # fmt: skip
        if self.dns or self.domains:
            yield Check(
                id="network.resolved", field="dns", proves="resolved runs, and asks the name servers",
                read=lambda host: host.service("systemd-resolved").is_running, expect=True,
            )  # fmt: skip
        wanted = self.proxies()
        for path in (LOGIN_PROXY, DOCKER_PROXY):
            yield Check(
                id=f"network.proxy[{path.rpartition('/')[2]}]", field="proxy", proves=f"{path} tells the proxies",
                read=partial(content, path), expect=wanted.get(path, "no such file"),
            )  # fmt: skip


_RESTART_DOCKER = "systemctl daemon-reload && systemctl try-restart docker.service"


def _yes(value: bool) -> str:  # noqa: FBT001 - it renders a boolean
    return "yes" if value else "no"


def _bond(bond: Bond) -> dict[str, Any]:
    settings: dict[str, Any] = {"Mode": bond.mode, "MIIMonitorSec": f"{bond.monitor_milliseconds}ms"}
    return (
        {**settings, "LACPTransmitRate": "fast" if bond.fast_lacp else "slow"} if bond.mode == "802.3ad" else settings
    )


def _names_of(link: Link, kind: str) -> tuple[str, ...]:
    """The devices of a kind that are stacked on a link, or that it is part of."""
    if kind in {"vlan", "macvlan"}:
        return link.vlans if kind == "vlan" else link.macvlans
    name = link.bond if kind == "bond" else link.bridge
    return (name,) if name else ()


def _line(entry: HostEntry) -> str:
    return f"{entry.address} {' '.join(entry.names)}"


def _field_of(name: str, policy: Network) -> str:
    stem = name.removeprefix(PREFIX).rpartition(".")[0]
    if name.endswith(".netdev"):
        items: Mapping[str, Iterable[Item]] = policy._stacked()  # noqa: SLF001 - its own file
        return next((f"{kind}s[{stem}]" for kind, several in items.items() if stem in {i.ident for i in several}), "")
    return f"links[{stem}]" if name != UNMANAGED else "links"


def _link_checks(link: Link) -> Iterable[Check]:
    def check(field: str, proves: str, read: Callable[[Host], object], expect: object, item: str = "") -> Check:
        return Check(
            id=f"network.link[{link.name}].{field}{item}", field=f"links[{link.name}].{field}",
            proves=f"link {link.name} {proves}", read=read, expect=expect,
        )  # fmt: skip

    if link.addresses:
        yield check("addresses", "has its addresses", partial(addresses, link), Contains(tuple(link.addresses)))
    if link.mtu is not None:
        yield check("mtu", f"has the MTU {link.mtu}", partial(attribute, link, "mtu"), str(link.mtu))
    for field, gateway, family in (("gateway", link.gateway, 4), ("gateway6", link.gateway6, 6)):
        if gateway is not None:
            yield check(field, f"routes to {gateway}", partial(gateways, link, family), Contains((gateway,)))
    for route in link.routes:
        via = route.via or "the link"
        yield check("routes", f"has a route to {route.to}", partial(route_via, link, route.to), via, f"[{route.to}]")
    for field, master in (("bond", link.bond), ("bridge", link.bridge)):
        if master is not None:
            yield check(field, f"is part of {master}", partial(master_of, link), master)
    for name in (*link.vlans, *link.macvlans):
        field = "vlans" if name in link.vlans else "macvlans"
        yield check(field, f"carries {name}", partial(lower_of, name), "it does", f"[{name}]")
