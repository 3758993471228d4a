"""Rules of the firewall policy: what is let in, typed, and its words for iptables."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies.base import Item
from deploys.policies.types import Cidr, Word
from facts.iptables import Family
from facts.ssh import Connection

_UNITS = {"day": ("day", 86400), "hour": ("hour", 3600), "minute": ("min", 60), "second": ("sec", 1)}
_RATE_SCALE = 10_000  # the kernel keeps a rate as ten-thousandths of a second between two packets
_MAX_INTERFACE = 15  # IFNAMSIZ without its final zero
_LAST_PORT = 65535
_MAX_PORTS = 15  # of one multiport match; a range counts twice


def _port_or_range(value: int | str) -> int | str:
    if isinstance(value, int):
        if not 1 <= value <= _LAST_PORT:
            message = f"{value} is no port (1 to {_LAST_PORT})"
            raise ValueError(message)
        return value
    low, _, high = value.partition("-")
    if not (low.isdigit() and high.isdigit() and 1 <= int(low) < int(high) <= _LAST_PORT):
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


Ports = Annotated[int | str, AfterValidator(_port_or_range)]
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

    @override
    def contradictions(self) -> Iterable[str]:
        if sum(2 if isinstance(port, str) else 1 for port in self.ports) > _MAX_PORTS:
            yield f"ports: at most {_MAX_PORTS} in one rule (a range counts twice); make two rules of it"

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


def icmp_rules(family: Family, *, ping: bool) -> list[str]:
    """What of ICMP is let in: what the network itself needs, and echo requests when `ping`."""
    if family == "ipv4":
        types = ["3", "11", "12"] + (["8"] if ping else [])
        return [f"-p icmp -m icmp --icmp-type {kind} -j ACCEPT" for kind in types]
    types = ["1", "2", "3", "4", "133", "134", "135", "136", "137"] + (["128"] if ping else [])
    return [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT" for kind in types]
