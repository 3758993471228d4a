"""What the rules of a hardening policy ask of a host's other policies, added to what these say themselves.

Where a policy says nothing, the rule decides. What it says already stays, if that fulfils the rule as well; if not, it
is a problem that names the rule: it is followed or excepted, never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploys.errors import InputError
from deploys.policies.base import Item, Model, Policy
from deploys.policies.hardening import Hardening
from deploys.policies.hardening_rules import Rule
from inventories._merge import Provenance


class _Filled:
    """A policy while rules fill it: its fields, where they are from, and which rules they fulfil."""

    def __init__(self, kind: type[Policy], policy: Policy | None, provenance: Provenance) -> None:
        self.kind = kind
        self.fields: dict[str, Any] = {}
        if policy is not None:
            self.fields = {name: getattr(policy, name) for name in kind.model_fields if name in policy.model_fields_set}
        self.provenance = {path: list(sources) for path, sources in provenance.items()}
        self.rules: dict[str, tuple[str, ...]] = {}
        self.problems: list[str] = []

    def note(self, place: str, rule: str) -> None:
        self.rules[place] = (*self.rules.get(place, ()), rule)

    def want(self, rule: Rule, label: str, wanted: Policy) -> None:
        for name in type(wanted).model_fields:
            if name not in wanted.model_fields_set:
                continue
            value = getattr(wanted, name)
            if isinstance(value, tuple) and rule.accepts is None:
                for item in value:
                    self._want_item(label, name, item)
            else:
                self._want_value(rule, label, name, value)

    def _want_value(self, rule: Rule, label: str, name: str, value: object) -> None:
        self.note(name, label)
        if name not in self.fields:
            self.fields[name] = value
            self.provenance[name] = [f"rule {label}"]
            return
        there = self.fields[name]
        if there != value and not (rule.accepts and rule.accepts(there)):
            accepted = f"{value}" + (f", or {rule.accepted}" if rule.accepted else "")
            self._disagree(name, there, label, accepted)

    def _want_item(self, label: str, name: str, item: object) -> None:
        key = item.ident if isinstance(item, Item) else str(item)
        place = f"{name}[{key}]"
        self.note(place, label)
        known = self.fields.get(name, ())
        same = [one for one in known if (one.ident if isinstance(one, Item) else str(one)) == key]
        if not same:
            self.fields[name] = (*known, item)
            self.provenance[place] = [f"rule {label}"]
        elif isinstance(item, Model) and not _agrees(same[0], item):
            self._disagree(place, same[0], label, item)

    def _disagree(self, place: str, there: object, label: str, wanted: object) -> None:
        sources = "; ".join(self.provenance.get(place, [])) or "another place"
        self.problems.append(
            f"{place}: {sources} says {there}, rule {label} wants {wanted}; follow it, or except it in the "
            "hardening policy"
        )

    def made(self) -> Policy:
        """The policy as it is now.

        Raises:
            InputError: what the rules want cannot be had together with the rest.
        """
        return self.kind(**self.fields).fulfilling(self.rules)


def _agrees(there: Model, wanted: Model) -> bool:
    """Whether an item says all that a rule's item says; whether it may be missing is its own matter."""
    fields = wanted.model_fields_set - {"optional"}
    return all(getattr(there, name) == getattr(wanted, name) for name in fields)


Hardened = tuple[dict[str, Policy], dict[str, Provenance], list[str]]


def harden(hardening: Hardening, policies: Mapping[str, Policy], provenance: Mapping[str, Provenance]) -> Hardened:
    """The policies that rules change, by name, where their values are from, and what stands against the rules."""
    filled: dict[str, _Filled] = {}
    for rule in hardening.active():
        if rule.unless and rule.unless in policies:
            continue
        label = hardening.id_of(rule)
        for wanted in rule.wants:
            name = wanted.name
            if name not in filled:
                filled[name] = _Filled(type(wanted), policies.get(name), provenance.get(name, {}))
            filled[name].want(rule, label, wanted)
        for check in rule.checks:
            filled[check.partition(".")[0]].note(f"check:{check}", label)
    made: dict[str, Policy] = {}
    problems: list[str] = []
    for name, each in filled.items():
        problems += [f"{name}: {problem}" for problem in each.problems]
        try:
            made[name] = each.made()
        except InputError as error:
            problems.append(f"{name}: with the rules of {hardening.level}: {error}")
    return made, {name: each.provenance for name, each in filled.items()}, problems
