"""Plans that rollouts are bound to, as rows: a host's plan with its rollout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploys.rollout.model import Kind
from deploys.rollout.plan import HostPlan, hosts_from_json, hosts_to_json
from deploys.rollout.store.rows import Unit

Rows = Callable[..., Sequence[Any]]
"""A store's `rows`: what a query finds."""


def plan_rows(ident: int, plans: Mapping[str, HostPlan]) -> list[tuple[int, str, str]]:
    """Rollout, host and plan, for the table of that name."""
    return [(ident, name, json.dumps(plan)) for name, plan in hosts_to_json(plans).items()]


def plans_of(rows: Rows, unit: Unit) -> dict[str, HostPlan]:
    """What the hosts of a unit may be changed in; empty for a way back, and for a rollout that is bound to no plan."""
    if unit.kind is Kind.BACK:
        return {}
    names = ",".join("?" * len(unit.hosts))
    query = f"SELECT name, plan FROM plan WHERE rollout = ? AND name IN ({names})"  # noqa: S608 - marks alone
    return hosts_from_json({row["name"]: json.loads(row["plan"]) for row in rows(query, unit.rollout, *unit.hosts)})
