"""Rules to iptables' words, and the promise that no rule set cuts the run that loads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploys.errors import InputError
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule, kernel_rate
from facts.ssh import Connection
from operations.iptables import canonical, saved_text, transaction_text

SSH = Rule(name="ssh", ports=[22], sources=["10.0.0.0/8"])


def examples(_: Path) -> tuple[Firewall, Firewall]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Firewall(rules=[Rule(name="a", ports=[80])]),
        Firewall(
            rules=[
                Rule(
                    name="a",
                    protocol="udp",
                    ports=["100-200"],
                    sources=["10.0.0.0/8"],
                    interface="eth1",
                    limit="5/minute",
                )
            ],
            ping=False,
            log_drops=True,
            container_interfaces=["podman0"],
        ),
    )


def connection(client: str = "10.1.2.3", port: int = 22, interface: str = "eth0") -> Connection:
    return {
        "user": "root", "groups": ["root"], "client": client, "server": "10.0.0.9", "port": port,
        "interface": interface,
    }  # fmt: skip


def test_a_rule_holds_for_the_host_and_for_published_ports() -> None:
    chains = Firewall(rules=[Rule(name="web", ports=[80, 443])]).chains("ipv4")
    assert "-p tcp -m multiport --dports 80,443 -m comment --comment web -j ACCEPT" in chains["INPUT"]
    for port in (80, 443):
        wanted = f"--ctorigdstport {port} --ctdir ORIGINAL -m comment --comment web -j RETURN"
        assert any(rule.endswith(wanted) for rule in chains["DOCKER-USER"])


def test_everything_else_to_containers_is_dropped_last() -> None:
    rules = Firewall(rules=[SSH]).chains("ipv4")["DOCKER-USER"]
    assert rules[-2:] == ["-j DROP", "-j RETURN"]
    assert rules.index("-i docker0 -j RETURN") < rules.index("-j DROP")


def test_a_rule_with_ipv4_sources_is_no_rule_for_ipv6() -> None:
    firewall = Firewall(rules=[SSH])
    assert any("--dport 22" in rule for rule in firewall.chains("ipv4")["INPUT"])
    assert not any("--dport 22" in rule for rule in firewall.chains("ipv6")["INPUT"])


def test_one_line_for_each_source() -> None:
    rule = Rule(name="x", ports=[1], sources=["10.0.0.0/8", "192.168.0.0/16", "2001:db8::/32"])
    assert [line.split()[1] for line in rule.matches("ipv4", published=False)] == ["10.0.0.0/8", "192.168.0.0/16"]
    assert [line.split()[1] for line in rule.matches("ipv6", published=False)] == ["2001:db8::/32"]


def test_the_texts_name_only_chains_of_the_policy() -> None:
    chains = Firewall(rules=[SSH]).chains("ipv4")
    table = {"policies": {}, "chains": {"FORWARD": ["-j ACCEPT", "-j DOCKER-USER"]}}
    saved, live = saved_text(chains), transaction_text(chains, table)
    assert "-F" not in saved
    assert [line for line in live.splitlines() if line.startswith("-F")] == ["-F INPUT", "-F OUTPUT", "-F DOCKER-USER"]
    assert [line for line in live.splitlines() if " FORWARD " in line] == [
        "-D FORWARD -j DOCKER-USER",
        "-I FORWARD 1 -j DOCKER-USER",
    ]
    for text in (saved, live):
        assert ":FORWARD DROP [0:0]" in text
        assert text.endswith("COMMIT\n")


@pytest.mark.parametrize(
    ("rate", "printed"),
    [
        ("60/minute", "1/sec"),
        ("10/minute", "10/min"),
        ("90/minute", "90/min"),
        ("24/day", "1/hour"),
        ("5/second", "5/sec"),
    ],
)
def test_rates_are_written_as_the_kernel_gives_them_back(rate: str, printed: str) -> None:
    assert kernel_rate(rate) == printed


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"ports": [0]}, "0 is no port"),
        ({"ports": [65536]}, "65536 is no port"),
        ({"ports": ["20-10"]}, "no range of ports"),
        ({"ports": list(range(1, 17))}, "at most 15"),
        ({"ports": [1], "sources": ["10.0.0.1/8"]}, "has host bits set"),
        ({"ports": [1], "sources": ["example.com"]}, "no network in CIDR notation"),
        ({"ports": [1], "interface": "-j ACCEPT"}, "no name of an interface"),
        ({"ports": [1], "limit": "10/fortnight"}, "no rate"),
        ({"ports": [1], "name": "a b"}, "letters, digits"),
        ({"ports": [1], "name": "--x"}, "letters, digits"),
        ({"ports": [1], "sorces": []}, "did you mean 'sources'"),
    ],
)
def test_bad_rules_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Rule(**{"name": "x", **fields})


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="'x' is given 2 times"):
        Firewall(rules=[Rule(name="x", ports=[1]), Rule(name="x", ports=[2])])


@pytest.mark.parametrize(
    ("rules", "who", "cut"),
    [
        ([SSH], connection(), False),
        ([SSH], connection(client="192.168.1.1"), True),
        ([SSH], connection(port=2222), True),
        ([SSH], None, True),
        ([Rule(name="ssh", ports=[22])], None, False),
        ([Rule(name="ssh", ports=["20-30"], interface="eth1")], connection(), True),
        ([Rule(name="ssh", ports=["20-30"], interface="eth0")], connection(), False),
        ([Rule(name="web", ports=[80])], connection(), True),
        ([Rule(name="ssh", protocol="udp", ports=[22])], connection(), True),
        ([SSH], connection(client="2001:db8::1"), True),
    ],
)
def test_rules_that_would_cut_this_run_are_known(rules: list[Rule], who: Connection | None, cut: bool) -> None:
    assert (Firewall(rules=rules).locks_out(who) is not None) is cut


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("-p tcp --dport 22 -j ACCEPT", "-p tcp -m tcp --dport 22 -j ACCEPT"),
        ("-s 10.0.0.1 -j DROP", "-s 10.0.0.1/32 -j DROP"),
        (
            "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ),
        ("-p tcp -m comment --comment x -s 1.2.3.4 -j DROP", "-s 1.2.3.4/32 -p tcp -m comment --comment x -j DROP"),
    ],
)
def test_two_spellings_of_a_rule_are_equal(written: str, printed: str) -> None:
    assert canonical(written) == canonical(printed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-p tcp --dport 22 -j ACCEPT", "-p tcp --dport 23 -j ACCEPT"),
        ("-p tcp --dport 22 -j ACCEPT", "-p tcp ! --dport 22 -j ACCEPT"),
        ("-s 10.0.0.0/8 -j ACCEPT", "-j ACCEPT"),
        ("-m conntrack --ctstate NEW -j ACCEPT", "-m conntrack --ctstate ESTABLISHED -j ACCEPT"),
    ],
)
def test_different_rules_are_different(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


ports = st.integers(1, 65535)
rules = st.builds(
    Rule,
    name=st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True),
    protocol=st.sampled_from(["tcp", "udp"]),
    ports=st.lists(ports, min_size=1, max_size=5, unique=True),
    sources=st.lists(st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/24", "2001:db8::/32"]), unique=True),
    limit=st.sampled_from([None, "10/minute", "7/hour"]),
)


@settings(deadline=None)
@given(st.lists(rules, max_size=6, unique_by=lambda rule: rule.name), ports)
def test_a_rule_set_is_refused_exactly_when_no_line_matches_the_run(given_rules: list[Rule], port: int) -> None:
    """Against the rendered text: the decision and the rules cannot drift apart."""
    firewall = Firewall(rules=given_rules)
    who = connection(port=port)
    matching = [
        line
        for line in firewall.chains("ipv4")["INPUT"]
        if "-p tcp" in line
        and str(port) in _ports(line)
        and (not line.startswith("-s ") or line.split()[1] in {"10.0.0.0/8", "10.1.0.0/16"})
    ]
    assert (firewall.locks_out(who) is None) == bool(matching)


def _ports(line: str) -> list[str]:
    words = line.split()
    option = "--dports" if "--dports" in words else "--dport"
    return words[words.index(option) + 1].split(",") if option in words else []


def test_the_whole_internet_is_no_option_of_a_rule() -> None:
    assert canonical("-s ::/0 -p udp -j ACCEPT") == canonical("-p udp -j ACCEPT")
    assert canonical("-s 0.0.0.0/0 -j ACCEPT") == canonical("-j ACCEPT")
    assert canonical("! -s ::/0 -j ACCEPT") != canonical("-j ACCEPT")
