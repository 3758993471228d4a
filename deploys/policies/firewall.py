"""The packet filter: everything is dropped but what a named rule lets in, for IPv4 and IPv6.

The policy owns the chains INPUT, OUTPUT and DOCKER-USER of the filter table as a whole, and the policy (not the rules)
of FORWARD; Docker's own chains and the nat table are left alone. A rule holds for the host's own ports and for ports
that Docker publishes, which never pass INPUT: they are matched in DOCKER-USER by the port that was asked for.
The rules are loaded in one transaction per family and kept in Photon's ip4save and ip6save for the next boot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from deploys.policies.base import Check, Contains, Policy, Risk, Undo, file_check
from deploys.policies.firewall_rules import Interface, Rule, icmp_rules
from deploys.policies.render import render
from facts.iptables import Family
from facts.ssh import Connection
from operations import file, iptables, systemd
from operations.iptables import SAVE_FILES, canonical

if TYPE_CHECKING:
    from testinfra.host import Host

FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
DROP_IN = "/etc/systemd/system/docker.service.d/photon-fleet-firewall.conf"

BOOT_LINK = "/etc/systemd/system/multi-user.target.wants/iptables.service"


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
        entry += icmp_rules(family, ping=self.ping)
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
            content=render("firewall/docker-drop-in"), mode="644", after="systemctl daemon-reload",
        )  # fmt: skip
        systemd.unit(name="Load the rules at boot", unit="iptables.service", enabled=True)
        iptables.ruleset(name="Load the IPv4 rules", family="ipv4", chains=self.chains("ipv4"), refuse=self.locks_out)
        iptables.ruleset(name="Load the IPv6 rules", family="ipv6", chains=self.chains("ipv6"), refuse=self.locks_out)

    @override
    def undo(self) -> Undo:
        return Undo(paths=(*SAVE_FILES.values(), DROP_IN, BOOT_LINK), running=render("firewall/undo.sh"))

    @override
    def checks(self) -> Iterable[Check]:
        for family in FAMILIES:
            yield from self._family_checks(family)
        yield Check(
            id="firewall.docker", field="",
            proves="a start of Docker or of iptables.service keeps the rules for containers",
            read=lambda host: host.check_output("cat %s", DROP_IN),
            expect=render("firewall/docker-drop-in").rstrip("\n"),
        )  # fmt: skip
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
        for chain, first in iptables.FIRST.items():
            yield Check(
                id=f"firewall.first[{family}:{chain}]", field="",
                proves=f"nothing is forwarded past the {family} rules for containers",
                read=partial(rules_before, family, chain, first), expect=[],
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
        yield file_check(f"firewall.file[{family}]", "", SAVE_FILES[family], "644")
        saved = tuple(f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules)
        yield Check(
            id=f"firewall.saved[{family}]", field="rules", proves=f"the {family} rules are there after a reboot",
            read=lambda host: host.check_output("cat %s", SAVE_FILES[family]).splitlines(), expect=Contains(saved),
        )  # fmt: skip


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


def rules_before(family: Family, chain: str, first: str, host: Host) -> list[str]:
    """The rules of a chain that come before the one that must be first."""
    rules = listed(host, family).get(chain, [])[1:]
    return rules[: rules.index(first)] if first in rules else rules


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
