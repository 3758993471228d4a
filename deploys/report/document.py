"""A report as JSON, for programs: see docs/reports.md for its fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from deploys.report.model import Report, Some
from deploys.rollout.store.policies import HostRow

SCHEMA = 1


def document(report: Report, hosts: Callable[[], Iterable[HostRow]]) -> Iterator[str]:
    """The lines of a report: a host on each, so that no more than one is in memory."""
    of = report.hosts
    head = {
        "schema": SCHEMA, "kind": "fleet" if report.progress is None else "rollout", "at": _moment(report.at),
        "rollout": None if report.progress is None else report.progress.to_json(), "total": of.total,
        "counts": of.counts, "policies": of.policies,
        "phases": [
            {"wave": number + 1, "state": each.state, "begin": _moment(each.begin), "end": _moment(each.end)}
            for number, phases in sorted(report.phases.items()) for each in phases
        ],
        "changes": [{"policy": each.policy, "operation": each.operation, **_some(each.some)} for each in of.changes],
        "advisories": None if of.advisories is None else {name: _some(some) for name, some in of.advisories.items()},
        "ages": of.ages, "undelivered": report.undelivered,
    }  # fmt: skip
    yield f'{json.dumps(head)[:-1]}, "hosts": ['
    before = ""
    for host in hosts():
        if before:
            yield f"{before},"
        before = json.dumps(_host(host))
    yield f"{before}]}}"


def _some(some: Some) -> dict[str, Any]:
    return {"hosts": some.hosts, "names": some.names}


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _host(row: HostRow) -> dict[str, Any]:
    policies = {
        each.policy: {"verdict": each.verdict, "checks": each.checks, "passed": each.passed, "changed": each.changed,
                      "failed": each.failed} for each in row.policies
    }  # fmt: skip
    return {
        "name": row.name, "rollout": row.rollout or None, "wave": row.wave + 1, "verdict": row.verdict,
        "back": row.back, "changes": row.changes, "words": row.words, "at": _moment(row.at),
        "proved": _moment(row.proved), "policies": policies, "advisories": row.advisories,
    }  # fmt: skip
