"""A report by rule: what becomes of each rule of a host's security guide, by its inventory or on the host itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploys.errors import InputError
from deploys.policies.hardening import Hardening
from deploys.policies.hardening_rules import NOT_COVERED, RULES
from deploys.verify.verdicts import Verdict, prove
from inventories._merge import Effective, effective_of

if TYPE_CHECKING:
    from pyinfra.api.host import Host


@dataclass(frozen=True)
class Row:
    """One rule: its state is checked, holds, FAILED, excepted, not applicable or not covered."""

    rule: str
    state: str
    topic: str
    more: str


def rows(host: Host, *, live: bool = False) -> list[Row]:
    """The rules in the order of their numbers.

    Args:
        host: of an inventory made with `fleet()`; connected when `live`.
        live: read the host, and say which rules hold.

    Raises:
        InputError: the host has no hardening policy.
    """
    effective = effective_of(host)
    hardening = effective.get(Hardening.name)
    if not isinstance(hardening, Hardening):
        message = f"{host.name} has no hardening policy, and so no rules"
        raise InputError(message)
    proved = checks_of(effective)
    verdicts = prove(host, effective.policies.values()) if live else []
    excepted = {each.rule: each for each in hardening.exceptions}
    found = [Row(hardening.id_of(number), "not covered", topic, why) for number, (topic, why) in NOT_COVERED.items()]
    for rule in RULES:
        label = hardening.id_of(rule)
        if label in excepted:
            each = excepted[label]
            found.append(Row(label, "excepted", rule.topic, f"until {each.until}: {each.reason}"))
        elif label not in proved:
            found.append(Row(label, "not applicable", rule.topic, f"the host has a {rule.unless} policy"))
        else:
            state = _state(label, verdicts) if live else "checked"
            more = f"{len(proved[label])} check(s)" + (f"; {rule.limits}" if rule.limits else "")
            if state == "FAILED":
                more = ", ".join(each.check for each in verdicts if label in each.rules and not each.passed)
            found.append(Row(label, state, rule.topic, more))
    return sorted(found, key=lambda row: row.rule)


def _state(rule: str, verdicts: list[Verdict]) -> str:
    return "holds" if all(verdict.passed for verdict in verdicts if rule in verdict.rules) else "FAILED"


def checks_of(effective: Effective) -> Mapping[str, list[str]]:
    """Rule -> ids of the checks that prove it on a host."""
    found: dict[str, list[str]] = {}
    for policy in effective.policies.values():
        for check in policy.checks():
            for rule in policy.rules_of(check):
                found.setdefault(rule, []).append(check.id)
    return found
