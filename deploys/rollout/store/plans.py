"""What a unit is told beside its hosts: the plans that it is held to, and whose updates go back with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploys.rollout.model import Kind, PolicyVerdict
from deploys.rollout.plan import INSTALLED, HostPlan, hosts_from_json, hosts_to_json
from deploys.rollout.store.rows import Unit

Rows = Callable[..., Sequence[Any]]
"""A store's `rows`: what a query finds."""


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
    """Of a way back, the hosts on which its rollout has installed updates."""
    if unit.kind is not Kind.BACK:
        return ()
    names = ",".join("?" * len(unit.hosts))
    query = f"SELECT name, policies FROM host_report WHERE rollout = ? AND kind = ? AND name IN ({names}) ORDER BY name"  # noqa: S608 - marks alone
    found = rows(query, unit.rollout, Kind.CONVERGE, *unit.hosts)
    return tuple(row["name"] for row in found if _installed(json.loads(row["policies"])))


def _installed(policies: Mapping[str, Sequence[Any]]) -> bool:
    """Changed, or failed half-way: where there is nothing to go back from, nothing is done."""
    verdict, *_ = policies.get(INSTALLED, (PolicyVerdict.PROVED,))
    return bool(verdict != PolicyVerdict.PROVED)


def known_of(rows: Rows, unit: Unit) -> tuple[dict[str, HostPlan] | None, tuple[str, ...]]:
    """Both, for the run of a unit."""
    return plans_of(rows, unit), updated_in(rows, unit)
