"""Policies of several groups and of the host become one; disagreements name both places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.errors import InputError
from deploys.policies.docker import Docker
from deploys.policies.docker_models import Daemon
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from deploys.policies.packages import Packages
from deploys.policies.ssh import Ssh
from inventories._merge import Source, merge

BASE, WEB, OWN = Source("group base"), Source("group web"), Source("host web-1", own=True)


def test_lists_are_joined_by_key() -> None:
    merged, _ = merge([
        (BASE, Firewall(rules=[Rule(name="ssh", ports=[22])])),
        (WEB, Firewall(rules=[Rule(name="http", ports=[80]), Rule(name="ssh", ports=[22])])),
    ])  # fmt: skip
    assert [rule.name for rule in merged.rules] == ["ssh", "http"]


def test_items_of_one_key_that_differ_are_an_error_with_both_places() -> None:
    with pytest.raises(InputError) as error:
        merge([
            (BASE, Firewall(rules=[Rule(name="ssh", ports=[22])])),
            (WEB, Firewall(rules=[Rule(name="ssh", ports=[2222])])),
        ])  # fmt: skip
    text = str(error.value)
    assert "rules[ssh]" in text
    assert "group base (tests/inventories/test_merge.py:" in text
    assert "group web (tests/inventories/test_merge.py:" in text
    assert "ports=(22,)" in text
    assert "ports=(2222,)" in text


def test_scalars_that_disagree_are_an_error_and_the_host_wins() -> None:
    given_policies = [(BASE, Ssh(max_auth_tries=3)), (WEB, Ssh(max_auth_tries=5))]
    with pytest.raises(InputError, match=r"max_auth_tries: group base .* says 3, group web .* says 5"):
        merge(given_policies)
    merged, provenance = merge([*given_policies, (OWN, Ssh(max_auth_tries=2))])
    assert merged.max_auth_tries == 2
    assert [source.partition(" (")[0] for source in provenance["max_auth_tries"]] == ["host web-1"]


def test_a_default_disagrees_with_nothing() -> None:
    merged, _ = merge([(BASE, Ssh(max_auth_tries=3)), (WEB, Ssh(tcp_forwarding="local"))])
    assert (merged.max_auth_tries, merged.tcp_forwarding) == (3, "local")


def test_nested_models_are_merged_field_by_field() -> None:
    merged, provenance = merge([
        (BASE, Docker(daemon=Daemon(log_max_size="1m"))),
        (WEB, Docker(daemon=Daemon(mtu=1400))),
    ])  # fmt: skip
    assert (merged.daemon.log_max_size, merged.daemon.mtu) == ("1m", 1400)
    assert provenance["daemon.mtu"][0].startswith("group web")
    with pytest.raises(InputError, match=r"daemon\.mtu"):
        merge([(BASE, Docker(daemon=Daemon(mtu=1300))), (WEB, Docker(daemon=Daemon(mtu=1400)))])


def test_the_whole_is_checked_after_the_merge() -> None:
    merged, _ = merge([(BASE, Packages(present=["vim"])), (WEB, Packages(absent=["vim"]))])
    assert any("vim is also to be present" in problem for problem in merged.problems())


names = st.lists(st.sampled_from(["ssh", "http", "dns", "ntp", "db"]), unique=True)


@given(st.lists(names, min_size=1, max_size=4))
def test_joining_keeps_every_rule_once_and_in_order(groups: list[list[str]]) -> None:
    ports = {"ssh": 22, "http": 80, "dns": 53, "ntp": 123, "db": 5432}
    merged, provenance = merge([
        (Source(f"group {number}"), Firewall(rules=[Rule(name=name, ports=[ports[name]]) for name in group]))
        for number, group in enumerate(groups)
    ])  # fmt: skip
    expected = list(dict.fromkeys(name for group in groups for name in group))
    assert [rule.name for rule in merged.rules] == expected
    for name in expected:
        assert len(provenance[f"rules[{name}]"]) == sum(name in group for group in groups)
