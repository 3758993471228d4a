"""What a unit is told beside its hosts: the plans that it is held to, and who may have updates that go back with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploys.rollout.model import Kind, PolicyVerdict
from deploys.rollout.plan import INSTALLED, HostPlan, hosts_from_json, hosts_to_json
from deploys.rollout.store.rows import Unit

Rows = Callable[..., Sequence[Any]]
"""A store's `rows`: what a query finds."""
_UPDATE = "update"
"""The policy by which updates are installed. It is applied, and told, outside its windows as well."""


def plan_rows(ident: int, plans: Mapping[str, HostPlan]) -> list[tuple[int, str, str]]:
    """Rollout, host and plan, for the table of that name."""
    return [(ident, name, json.dumps(plan)) for name, plan in hosts_to_json(plans).items()]


def plans_of(rows: Rows, unit: Unit) -> dict[str, HostPlan] | None:
    """What the hosts of a unit may be changed in; None for a way back, and for a rollout that is bound to no plan.

    A host that the plan says nothing of is not in it: it may be changed in nothing.
    """
    if unit.kind is Kind.BACK or not rows("SELECT 1 FROM plan WHERE rollout = ? LIMIT 1", unit.rollout):
        return None
    names = ",".join("?" * len(unit.hosts))
    query = f"SELECT name, plan FROM plan WHERE rollout = ? AND name IN ({names})"  # noqa: S608 - marks alone
    return hosts_from_json({row["name"]: json.loads(row["plan"]) for row in rows(query, unit.rollout, *unit.hosts)})


def updated_in(rows: Rows, unit: Unit) -> tuple[str, ...]:
    """Of a way back, the hosts that may have updates of its rollout: all but those that are known to take none.

    What there is to go back from is known to the host alone: a report of a second run hides what the first one did.
    """
    if unit.kind is not Kind.BACK:
        return ()
    names = ",".join("?" * len(unit.hosts))
    query = f"SELECT name, policies FROM host_report WHERE rollout = ? AND kind = ? AND name IN ({names}) ORDER BY name"  # noqa: S608 - marks alone
    found = rows(query, unit.rollout, Kind.CONVERGE, *unit.hosts)
    never = {row["name"] for row in found if _never_updates(json.loads(row["policies"]))}
    return tuple(name for name in unit.hosts if name not in never)


def _never_updates(policies: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a report names all policies of a host, as one with a proof does, and none that installs anything."""
    proved = any(verdict in {PolicyVerdict.PROVED, PolicyVerdict.CHANGED} for verdict, *_ in policies.values())
    return proved and not {INSTALLED, _UPDATE} & set(policies)


def known_of(rows: Rows, unit: Unit) -> tuple[dict[str, HostPlan] | None, tuple[str, ...]]:
    """Both, for the run of a unit."""
    return plans_of(rows, unit), updated_in(rows, unit)
