"""The packet filter: everything is dropped but what a named rule lets in, for IPv4 and IPv6.

The policy owns the chains INPUT, OUTPUT and DOCKER-USER of the filter table as a whole, and the policy (not the rules)
of FORWARD; Docker's own chains and the nat table are left alone. A rule holds for the host's own ports and for ports
that Docker publishes, which never pass INPUT: they are matched in DOCKER-USER by the port that was asked for.
The rules are loaded in one transaction per family and kept in Photon's ip4save and ip6save for the next boot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from pyinfra.operations import systemd
from typing_extensions import override

from deploys.policies.base import Check, Contains, Item, Policy, Risk
from deploys.policies.render import render
from deploys.policies.types import Cidr, Port, Word
from facts.iptables import Family
from facts.ssh import Connection
from operations import file, iptables
from operations.iptables import SAVE_FILES, canonical

if TYPE_CHECKING:
    from testinfra.host import Host

FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
DROP_IN = "/etc/systemd/system/docker.service.d/photon-fleet-firewall.conf"
_UNITS = {"day": ("day", 86400), "hour": ("hour", 3600), "minute": ("min", 60), "second": ("sec", 1)}
_RATE_SCALE = 10_000  # the kernel keeps a rate as ten-thousandths of a second between two packets
_MAX_INTERFACE = 15  # IFNAMSIZ without its final zero
_MAX_PORTS = 15  # of one multiport match; a range counts twice


def _port_or_range(value: int | str) -> int | str:
    if isinstance(value, int):
        return value
    low, _, high = value.partition("-")
    if not (low.isdigit() and high.isdigit() and 1 <= int(low) < int(high) <= 65535):  # noqa: PLR2004 - the last port
        message = f"{value!r} is no port and no range of ports such as '8000-8010'"
        raise ValueError(message)
    return value


def _rate(value: str) -> str:
    count, _, unit = value.partition("/")
    if not count.isdigit() or int(count) < 1 or unit not in _UNITS:
        message = f"{value!r} is no rate such as '10/minute' (second, minute, hour or day)"
        raise ValueError(message)
    return value


def _interface(value: str) -> str:
    if (
        not 1 <= len(value) <= _MAX_INTERFACE
        or not all(letter.isalnum() or letter in "-_.+" for letter in value)
        or value[0] == "-"
    ):
        message = f"{value!r} is no name of an interface"
        raise ValueError(message)
    return value


Ports = Annotated[Port | str, AfterValidator(_port_or_range)]
Rate = Annotated[str, AfterValidator(_rate)]
Interface = Annotated[str, AfterValidator(_interface)]


class Rule(Item):
    """What is let in: new connections that match all of it."""

    name: Word
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    ports: tuple[Ports, ...] = Field(min_length=1)
    """Ports (443) and ranges ("8000-8010")."""
    sources: tuple[Cidr, ...] = ()
    """Networks that may connect; everybody when empty. A rule with only IPv4 sources is no rule for IPv6."""
    interface: Interface | None = None
    limit: Rate | None = None
    """New connections from one source address, such as "10/minute"; more are dropped."""

    @model_validator(mode="after")
    def _fits_one_match(self) -> Rule:
        if sum(2 if isinstance(port, str) else 1 for port in self.ports) > _MAX_PORTS:
            message = f"ports: at most {_MAX_PORTS} in one rule (a range counts twice); make two rules of it"
            raise ValueError(message)
        return self

    def matches(self, family: Family, *, published: bool) -> list[str]:
        """The rule in iptables' words: one line for each source of this family."""
        version = 4 if family == "ipv4" else 6
        sources = [source for source in self.sources if ip_network(source).version == version]
        if self.sources and not sources:
            return []
        common = [f"-p {self.protocol}"]
        if self.interface:
            common.insert(0, f"-i {self.interface}")
        common += self._ports_asked_for() if published else [self._ports()]
        common += [f"-m comment --comment {self.name}"]
        if self.limit:
            common.append(self._limit())
        verdict = "RETURN" if published else "ACCEPT"
        lines = []
        for source in sources or [""]:
            match = ([f"-s {source}"] if source else []) + common
            lines += [" ".join([*match, f"-j {verdict}"])]
        return lines

    def _ports(self) -> str:
        words = [str(port).replace("-", ":") for port in self.ports]
        if len(words) == 1:
            return f"-m {self.protocol} --dport {words[0]}"
        return f"-m multiport --dports {','.join(words)}"

    def _ports_asked_for(self) -> list[str]:
        port = str(self.ports[0]).replace("-", ":")
        return [f"-m conntrack --ctstate DNAT --ctorigdstport {port} --ctdir ORIGINAL"]

    def single_ports(self) -> list[Rule]:
        """The same rule once per port: conntrack matches one original port (or range) at a time."""
        return [self.model_copy(update={"ports": (port,)}) for port in self.ports]

    def _limit(self) -> str:
        count = int((self.limit or "").partition("/")[0])
        return (
            f"-m hashlimit --hashlimit-upto {kernel_rate(self.limit or '')} --hashlimit-burst {max(count, 5)} "
            f"--hashlimit-mode srcip --hashlimit-name {self.name[:15]}"
        )

    def admits(self, connection: Connection | None, port: int) -> bool:
        """Whether new SSH connections like `connection` match; None stands for one from anywhere."""
        if self.protocol != "tcp" or not any(_covers(entry, port) for entry in self.ports):
            return False
        if connection is None:
            return not self.sources and self.interface is None
        client = ip_address(connection["client"])
        networks = [ip_network(source) for source in self.sources]
        if networks and not any(client in network for network in networks if network.version == client.version):
            return False
        return self.interface is None or self.interface == connection["interface"]


def kernel_rate(rate: str) -> str:
    """A rate such as 60/minute in the unit in which iptables prints it (1/sec): the finest that loses nothing.

    Source: print_rate() of iptables' libxt_hashlimit.
    """
    count, _, unit = rate.partition("/")
    period = _UNITS[unit][1] * _RATE_SCALE // int(count)
    units = list(_UNITS.values())
    chosen = units[0]
    for name, seconds in units[1:]:
        length = seconds * _RATE_SCALE
        if period > length or length // period < length % period:
            break
        chosen = (name, seconds)
    return f"{chosen[1] * _RATE_SCALE // period}/{chosen[0]}"


def _covers(entry: int | str, port: int) -> bool:
    if isinstance(entry, int):
        return entry == port
    low, _, high = entry.partition("-")
    return int(low) <= port <= int(high)


class Firewall(Policy):
    """What the host lets in."""

    name: ClassVar[str] = "firewall"
    risk: ClassVar[Risk] = Risk.CONNECTIVITY

    rules: tuple[Rule, ...] = ()
    ping: bool = True
    """Answer echo requests. ICMP that the network itself needs (errors, IPv6 neighbours) is always let in."""
    log_drops: bool = False
    """Log what is dropped, five packets a minute at the most."""
    container_interfaces: tuple[Interface, ...] = ("docker0", "br-+")
    """Where containers send from. What they send is forwarded; what is sent to them needs a rule."""

    @override
    def problems(self) -> Iterable[str]:
        if not any(rule.protocol == "tcp" for rule in self.rules):
            yield "rules: no rule lets any TCP connection in, so the host could never be reached again"

    def locks_out(self, connection: Connection | None) -> str | None:
        """Why the rules would refuse a new connection of this run, or None. Fails closed."""
        port = connection["port"] if connection else 22
        if any(rule.admits(connection, port) for rule in self.rules):
            return None
        who = (
            f"{connection['client']} (this run)" if connection else "an SSH client whose address the host does not tell"
        )
        return f"no rule would let {who} connect to port {port} again; add one, or change its sources or interface"

    def chains(self, family: Family) -> dict[str, list[str]]:
        """The rules of the chains that the policy owns, in iptables' words."""
        established = "-m conntrack --ctstate RELATED,ESTABLISHED"
        entry = ["-i lo -j ACCEPT", f"{established} -j ACCEPT", "-m conntrack --ctstate INVALID -j DROP"]
        entry += _icmp(family, ping=self.ping)
        if family == "ipv6":
            entry.append("-p udp -m udp --sport 547 --dport 546 -j ACCEPT")
        published = [f"{established} -j RETURN"]
        published += [f"-i {interface} -j RETURN" for interface in self.container_interfaces]
        for rule in self.rules:
            entry += rule.matches(family, published=False)
            for single in rule.single_ports():
                published += single.matches(family, published=True)
        log = '-m limit --limit 5/min -j LOG --log-prefix "dropped: "'
        if self.log_drops:
            entry.append(log)
            published.append(log)
        # Docker appends a RETURN to its chain unless there is one.
        published += ["-j DROP", "-j RETURN"]
        return {"INPUT": entry, "OUTPUT": ["-j ACCEPT"], "DOCKER-USER": published}

    @override
    def apply(self) -> None:
        file.text(
            name="Restart Docker with iptables.service", path=DROP_IN,
            content=render("firewall/docker-drop-in"), mode="644",
        )  # fmt: skip
        systemd.service(name="Load the rules at boot", service="iptables.service", enabled=True)
        iptables.ruleset(name="Load the IPv4 rules", family="ipv4", chains=self.chains("ipv4"), refuse=self.locks_out)
        iptables.ruleset(name="Load the IPv6 rules", family="ipv6", chains=self.chains("ipv6"), refuse=self.locks_out)

    @override
    def checks(self) -> Iterable[Check]:
        for family in FAMILIES:
            yield from self._family_checks(family)
        yield Check(
            id="firewall.boot", field="", proves="the rules are loaded at boot",
            read=lambda host: host.service("iptables").is_enabled, expect=True,
        )  # fmt: skip

    def _family_checks(self, family: Family) -> Iterable[Check]:
        chains = self.chains(family)
        for chain in ("INPUT", "FORWARD"):
            yield Check(
                id=f"firewall.default-drop[{family}:{chain}]", field="",
                proves=f"{family} packets that no rule lets in are dropped",
                read=partial(declared, family, chain), expect=f"-P {chain} DROP",
            )  # fmt: skip
        for chain, rules in chains.items():
            yield Check(
                id=f"firewall.order[{family}:{chain}]", field="rules",
                proves=f"the {family} chain {chain} has the policy's rules, all of them, in order, and no other",
                read=partial(difference, family, chain, rules),
                expect=[],
            )  # fmt: skip
        for rule in self.rules:
            lines = rule.matches(family, published=False)
            if lines:
                yield Check(
                    id=f"firewall.rule[{family}:{rule.name}]", field=f"rules[{rule.name}]",
                    proves=f"{family} rule {rule.name} is in force",
                    read=partial(missing_rules, family, "INPUT", lines),
                    expect=[],
                )  # fmt: skip
        saved = tuple(f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules)
        yield Check(
            id=f"firewall.saved[{family}]", field="rules", proves=f"the {family} rules are there after a reboot",
            read=lambda host: host.check_output("cat %s", SAVE_FILES[family]).splitlines(), expect=Contains(saved),
        )  # fmt: skip


def _icmp(family: Family, *, ping: bool) -> list[str]:
    if family == "ipv4":
        types = ["3", "11", "12"] + (["8"] if ping else [])
        return [f"-p icmp -m icmp --icmp-type {kind} -j ACCEPT" for kind in types]
    types = ["1", "2", "3", "4", "133", "134", "135", "136", "137"] + (["128"] if ping else [])
    return [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT" for kind in types]


def listed(host: Host, family: Family) -> dict[str, list[str]]:
    """`iptables -S` by chain: the policy or declaration first, then the rules without `-A CHAIN`."""
    program = "iptables" if family == "ipv4" else "ip6tables"
    chains: dict[str, list[str]] = {}
    for line in host.check_output(f"{program} -w 5 -S").splitlines():
        option, chain, *_ = line.split(maxsplit=2)
        rule = line.removeprefix(f"-A {chain} ") if option == "-A" else line
        chains.setdefault(chain, []).append(rule)
    return chains


def declared(family: Family, chain: str, host: Host) -> str:
    """The declaration of a chain, such as `-P INPUT DROP`."""
    return listed(host, family).get(chain, ["the chain is missing"])[0]


def missing_rules(family: Family, chain: str, wanted: Sequence[str], host: Host) -> list[str]:
    """Those rules that the chain does not have."""
    actual = {canonical(rule) for rule in listed(host, family).get(chain, [""])[1:]}
    return [f"missing: {rule}" for rule in wanted if canonical(rule) not in actual]


def difference(family: Family, chain: str, wanted: Sequence[str], host: Host) -> list[str]:
    """What is missing and what is too much, each in iptables' words; a wrong order when nothing else differs."""
    actual = listed(host, family).get(chain)
    if actual is None:
        return ["the chain is missing"]
    expected = {canonical(rule) for rule in wanted}
    found = missing_rules(family, chain, wanted, host)
    found += [f"not of the policy: {rule}" for rule in actual[1:] if canonical(rule) not in expected]
    if not found and [canonical(rule) for rule in actual[1:]] != [canonical(rule) for rule in wanted]:
        found.append("the rules are in another order, or doubled")
    return found
