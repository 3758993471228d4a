"""The profile: each rule is proved by something, exceptions end, and what stands against a rule is said."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies import POLICIES, hardening
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Sudo
from deploys.policies.docker import Docker
from deploys.policies.hardening import Exemption, Hardening
from deploys.policies.hardening_reads import LOOKS, unchecked
from deploys.policies.hardening_rules import NOT_COVERED, RULES
from deploys.policies.kernel import Kernel, Setting
from deploys.policies.network import Network
from deploys.policies.services import Service, Services
from deploys.policies.ssh import Ssh
from deploys.rules import checks_of, rows
from inventories._fleet import fleet, group, host
from inventories._merge import Effective
from operations.keyed import changed, value_of

DAY = date(2030, 1, 1)
GUIDE = Path(__file__).parents[2] / "docs" / "hardening.md"


def examples(_: Path) -> tuple[Hardening, Hardening]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Hardening(exceptions=[Exemption(rule="PHTN-50-000187", reason="shared homes", until=DAY)]),
        Hardening(
            level="stig-4.0",
            exceptions=[Exemption(rule="PHTN-50-000187", reason="another one", until=date(2031, 1, 1))],
        ),
    )


def but(*numbers: str, until: date = DAY) -> Hardening:
    return Hardening(
        exceptions=[Exemption(rule=f"PHTN-50-{each}", reason="of this test", until=until) for each in numbers]
    )


def effective(*policies, **data) -> Effective:
    (entry,) = fleet(host("web-1", *policies, **data))
    return entry[1]["policies"]


def complaint(*policies) -> str:
    with pytest.raises(InputError) as error:
        fleet(host("web-1", *policies))
    return str(error.value)


def test_each_rule_is_proved_by_a_check() -> None:
    proved = checks_of(effective(Hardening()))
    assert [rule.number for rule in RULES if not proved.get(f"PHTN-50-{rule.number}")] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.number)
def test_a_rule_that_is_excepted_is_proved_by_nothing_and_changes_nothing(rule) -> None:
    found = effective(but(rule.number))
    assert f"PHTN-50-{rule.number}" not in checks_of(found)
    assert set(checks_of(found)) == {f"PHTN-50-{each.number}" for each in RULES if each != rule}
    assert rule.number not in str(found.provenance).replace(f"exceptions[PHTN-50-{rule.number}]", "")
    if rule.wants and not rule.checks:
        assert f"rule PHTN-50-{rule.number}" in str(effective(Hardening()).provenance)


def test_the_other_release_has_the_same_numbers() -> None:
    assert set(checks_of(effective(Hardening(level="stig-4.0")))) == {f"PHTN-40-{rule.number}" for rule in RULES}


def test_rules_are_named_once_and_what_is_looked_at_can_be() -> None:
    numbers = [rule.number for rule in RULES]
    assert numbers == sorted(set(numbers))
    assert not set(numbers) & set(NOT_COVERED)
    assert {rule.number for rule in RULES if rule.looked_at} == set(LOOKS)
    assert {policy.name for rule in RULES for policy in rule.wants} <= {kind.name for kind in POLICIES}


def test_an_exception_ends(monkeypatch) -> None:
    monkeypatch.setattr(hardening, "today", lambda: DAY)
    assert list(but("000187").problems()) == []
    monkeypatch.setattr(hardening, "today", lambda: date(2030, 1, 2))
    said = complaint(but("000187"))
    assert "web-1: hardening: exceptions[PHTN-50-000187]: it ended on 2030-01-01 (of this test)" in said


@pytest.mark.parametrize(
    ("rule", "said"),
    [("PHTN-50-000999", "has no such rule"), ("PHTN-40-000187", "did you mean"), ("PHTN-50-000192", "not cover")],
)
def test_an_exception_is_of_a_rule(rule: str, said: str) -> None:
    assert said in complaint(Hardening(exceptions=[Exemption(rule=rule, reason="of this test", until=DAY)]))


def test_an_exception_has_a_reason() -> None:
    with pytest.raises(InputError, match="no reason that somebody could judge"):
        Exemption(rule="PHTN-50-000187", reason="because", until=DAY)


def test_what_a_group_says_stays_when_it_fulfils_the_rule() -> None:
    base = group("base", Ssh(max_auth_tries=3, ciphers=["aes256-ctr"], log_level="VERBOSE"), Hardening())
    found = effective(base)
    ssh = found.policies["ssh"]
    assert (ssh.max_auth_tries, ssh.ciphers, ssh.log_level) == (3, ("aes256-ctr",), "VERBOSE")
    assert "group base" in found.provenance["ssh"]["max_auth_tries"][0]
    assert found.provenance["ssh"]["login_grace_seconds"] == ["rule PHTN-50-000221"]
    assert "ssh.maxauthtries" in checks_of(found)["PHTN-50-000219"]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Ssh(max_auth_tries=9), "ssh: max_auth_tries: host web-1 .* says 9, rule PHTN-50-000219 wants 6, or 6 or less"),
        (Ssh(tcp_forwarding="local"), "ssh: tcp_forwarding: .* says local, rule PHTN-50-000220 wants no"),
        (Ssh(ciphers=["aes128-cbc"]), "ssh: ciphers: .*PHTN-50-000079"),
        (
            Kernel(settings=[Setting(key="net.ipv4.ip_forward", value=1)]),
            r"kernel: settings\[net.ipv4.ip_forward\]: .*PHTN-50-000231",
        ),
        (
            Services(units=[Service(unit="auditd.service", running=False, enabled=False)]),
            r"services: units\[auditd.service\]: .*PHTN-50-000016",
        ),
        (Kernel(modules=["sctp"]), "kernel: with the rules of stig-5.0: .*sctp is also to be loaded"),
        (Network(fallback_dns=["192.0.2.53"]), "PHTN-50-000236 wants no name servers"),
        (Accounts(sudo=[Sudo(name="ops", who=["ops"], password=False)]), "PHTN-50-000133 wants a password for sudo"),
    ],
)
def test_what_breaks_a_rule_is_said_before_a_connection(policy, said: str) -> None:
    assert re.search(said, complaint(policy, Hardening()))


def test_an_exception_leaves_the_field_to_the_others() -> None:
    found = effective(Ssh(tcp_forwarding="local"), but("000220", "000042"))
    assert found.policies["ssh"].tcp_forwarding == "local"
    assert "PASS_MAX_DAYS" not in found.policies["hardening"].values()["/etc/login.defs"]


def test_lists_are_joined() -> None:
    found = effective(Kernel(blacklist=["floppy", "sctp"]), Hardening())
    kernel = found.policies["kernel"]
    assert kernel.blacklist[:2] == ("floppy", "sctp")
    assert len(kernel.blacklist) == len(set(kernel.blacklist)) == 13
    assert "kernel.blacklist[sctp]" in checks_of(found)["PHTN-50-000047"]
    assert "kernel.blacklist[floppy]" not in checks_of(found)["PHTN-50-000047"]


def test_containers_need_forwarding() -> None:
    found = effective(Docker(engine="20.10.24"), Hardening())
    assert "net.ipv4.ip_forward" not in {each.key for each in found.policies["kernel"].settings}
    assert "PHTN-50-000231" not in checks_of(found)


def test_problems_of_a_filled_policy_are_said_once() -> None:
    said = complaint(Services(units=[Service(unit="sshd.service", masked=True)]), Hardening())
    assert said.count("sshd.service") == 1


def test_the_report_names_every_rule_once() -> None:
    class Member:
        name = "web-1"
        data = type("Data", (), {"get": staticmethod(lambda _: found)})

    found = effective(Docker(engine="20.10.24"), but("000187"))
    states = {row.rule: row.state for row in rows(Member())}
    assert len(states) == len(RULES) + len(NOT_COVERED)
    assert states["PHTN-50-000187"] == "excepted"
    assert states["PHTN-50-000231"] == "not applicable"
    assert states["PHTN-50-000192"] == "not covered"
    assert states["PHTN-50-000079"] == "checked"


def test_the_guide_names_every_rule() -> None:
    text = GUIDE.read_text()
    assert [each for each in [*(rule.number for rule in RULES), *NOT_COVERED] if f"| {each} |" not in text] == []


def test_password_ageing_is_of_new_accounts_only() -> None:
    found = effective(Hardening())
    assert "accounts" not in found.policies
    assert found.policies["hardening"].values()["/etc/login.defs"]["PASS_MAX_DAYS"] == "90"


@pytest.mark.parametrize(
    ("lines", "style", "wanted"),
    [
        (["UMASK 022"], "space", ["UMASK 077"]),
        (["# UMASK 022", "X y"], "space", ["# UMASK 022", "X y", "UMASK 077"]),
        (["UMASK\t022 ", "X y", "UMASK 027"], "space", ["UMASK 077", "X y"]),
        (["UMASKED 1"], "space", ["UMASKED 1", "UMASK 077"]),
        ([" UMASK=022"], "equals", ["UMASK = 077"]),
        (["UMASK\t077  "], "space", ["UMASK\t077  "]),
        (["UMASK = 022"], "tight", ["UMASK=077"]),
    ],
)
def test_one_line_of_a_file_gives_the_key_its_value(lines, style: str, wanted) -> None:
    assert changed(lines, {"UMASK": "077"}, style) == wanted
    assert changed(wanted, {"UMASK": "077"}, style) == wanted
    assert value_of(wanted, "UMASK", style) == "077"


def test_a_key_that_stands_alone() -> None:
    assert changed(["# silent"], {"silent": ""}, "equals") == ["# silent", "silent"]
    assert value_of(["silent"], "silent", "equals") == ""
    assert value_of(["# silent"], "silent", "equals") is None


def test_a_repository_without_a_check_of_signatures_is_seen() -> None:
    text = "/a.repo:[good]\n/a.repo:gpgcheck = 1\n/b.repo:[none]\n/b.repo:name=x\n/b.repo:[yes]\n/b.repo:gpgcheck=yes\n"
    assert unchecked(text) == ["none", "yes"]
