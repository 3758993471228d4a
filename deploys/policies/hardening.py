"""Hardening: a profile of rules of a security guide, which fills the other policies of a host.

The rules are VMware's STIG content for Photon OS (hardening_rules). Each says what it asks of which policy; the merge
of the inventory adds that to what groups and hosts give (inventories/_hardened.py). What no policy owns, the profile
does itself: values of packaged files, and reads. An exception leaves a rule's fields to the others until its day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator
from pyinfra import host
from typing_extensions import override

from deploys.errors import near
from deploys.policies.accounts import Accounts
from deploys.policies.base import Check, Item, Policy, Risk
from deploys.policies.hardening_reads import LOOKS, value_in
from deploys.policies.hardening_rules import KEY_FILES, NOT_COVERED, RULES, Rule
from deploys.policies.network import Network
from deploys.policies.types import Line
from operations import keyed

Level = Literal["stig-5.0", "stig-4.0"]
PREFIXES: Mapping[Level, str] = {"stig-5.0": "PHTN-50-", "stig-4.0": "PHTN-40-"}
_SUDO, _FALLBACK = "000133", "000236"


def _reason(value: str) -> str:
    if len(value.split()) < 2:  # noqa: PLR2004 - one word is no reason
        message = f"{value!r} is no reason that somebody could judge"
        raise ValueError(message)
    return value


class Exemption(Item):
    """A rule that does not hold on a host, why, and the last day on which that is so."""

    identity: ClassVar[str] = "rule"

    rule: Line
    """Its id, such as PHTN-50-000235."""
    reason: Annotated[Line, AfterValidator(_reason)]
    until: date


class Hardening(Policy):
    """The rules of a guide that a host follows."""

    name: ClassVar[str] = "hardening"
    risk: ClassVar[Risk] = Risk.SERVICE
    unproved: ClassVar[Mapping[str, str]] = {
        "exceptions.reason": "it is for people; python -m deploys rules shows it",
        "exceptions.until": "a day that has passed is a problem before any connection",
    }

    level: Level = "stig-5.0"
    exceptions: tuple[Exemption, ...] = ()

    def id_of(self, rule: Rule | str) -> str:
        """The id of a rule, or of a number, in this guide."""
        return PREFIXES[self.level] + (rule if isinstance(rule, str) else rule.number)

    def active(self) -> tuple[Rule, ...]:
        """The rules without those that are excepted."""
        excepted = {exemption.rule for exemption in self.exceptions}
        return tuple(rule for rule in RULES if self.id_of(rule) not in excepted)

    @override
    def problems(self) -> Iterable[str]:
        known = [self.id_of(rule) for rule in RULES]
        uncovered = {self.id_of(number): why for number, (_, why) in NOT_COVERED.items()}
        for each in self.exceptions:
            where = f"exceptions[{each.rule}]"
            if each.rule in uncovered:
                yield f"{where}: the profile does not cover this rule anyway: {uncovered[each.rule]}"
            elif each.rule not in known:
                yield f"{where}: {self.level} has no such rule{near(each.rule, known)}"
            if each.until < today():
                yield f"{where}: it ended on {each.until} ({each.reason}): follow the rule, or decide anew"

    @override
    def conflicts(self, others: Mapping[str, Policy]) -> Iterable[str]:
        numbers = {rule.number for rule in self.active()}
        network = others.get("network")
        if isinstance(network, Network) and network.fallback_dns and _FALLBACK in numbers:
            yield f"level: {self.id_of(_FALLBACK)} wants no name servers as a last resort: empty network.fallback_dns"
        accounts = others.get("accounts")
        if isinstance(accounts, Accounts) and _SUDO in numbers:
            for sudo in accounts.sudo:
                if not sudo.password:
                    yield (
                        f"level: {self.id_of(_SUDO)} wants a password for sudo, and accounts.sudo[{sudo.name}] asks "
                        "for none; a run that logs in as a user of that rule needs an exception"
                    )

    def values(self) -> dict[str, dict[str, str]]:
        """Path -> key -> value: what is decided in files that packages bring."""
        wanted: dict[str, dict[str, str]] = {}
        for rule in self.active():
            if rule.file:
                wanted.setdefault(rule.file, {}).update(rule.keys)
        return wanted

    @override
    def apply(self) -> None:
        for path, values in host.loop(list(self.values().items())):
            file = KEY_FILES[path]
            keyed.values(
                name=f"Values of {path}", path=path, values=values, style=file.style, package=file.package,
                after=file.after,
            )  # fmt: skip

    @override
    def checks(self) -> Iterable[Check]:
        for rule in self.active():
            label = self.id_of(rule)
            for key, value in rule.keys.items():
                yield Check(
                    id=f"hardening.{label}[{key}]", field="level",
                    proves=f"{rule.topic}: {rule.file} says {key} {value}".rstrip(),
                    read=partial(value_in, rule.file, key, KEY_FILES[rule.file].style), expect=value or "set",
                    rules=(label,),
                )  # fmt: skip
            if rule.looked_at:
                proves, read, expect = LOOKS[rule.number]
                yield Check(
                    id=f"hardening.{label}", field="level", proves=proves, read=read, expect=expect, rules=(label,)
                )


def today() -> date:
    """The day by the controller's clock."""
    return date.today()  # noqa: DTZ011 - a day of people, where they are
