"""What came of each policy of each host, as rows: one for a host and a rollout, and the newest word on every host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from deploys.rollout.model import Kind, PolicyVerdict, Verdict
from deploys.rollout.store.rows import HostResult, PolicyResult, Unit

if TYPE_CHECKING:
    from deploys.rollout.store.database import Connection, Row
    from deploys.rollout.store.store import Store

_PAGE = 500
"""Hosts that are read at once: however many there are, no more are in memory."""


@dataclass(frozen=True)
class HostRow:
    """A host of a rollout, or of the fleet.

    Args:
        wave: its number from 0.
        verdict: None while it is to come.
        back: what came of its way back; None when it has not gone back.
        rollout: the one that this is said by; 0 for a host that no rollout has touched.
        at: when it was said; None while it is to come.
        proved: when it was last proved, by whatever rollout; None if never.
        advisories: ids of those that are open; None where nobody has looked.
    """

    name: str
    wave: int
    verdict: Verdict | None
    back: Verdict | None = None
    changes: int = 0
    words: str = ""
    policies: tuple[PolicyResult, ...] = ()
    advisories: tuple[str, ...] | None = None
    rollout: int = 0
    at: datetime | None = None
    proved: datetime | None = None


def reported(db: Connection, unit: Unit, results: Mapping[str, HostResult], at: datetime) -> None:
    """Write down what a unit says of its hosts' policies, in the transaction of its end."""
    when = at.isoformat()
    for name, result in results.items():
        verdicts = {each.policy: [each.verdict, each.passed, each.checks] for each in result.policies}
        more = {
            each.policy: {"changed": each.changed, "failed": each.failed}
            for each in result.policies if each.changed or each.failed
        }  # fmt: skip
        advisories = None if result.advisories is None else json.dumps(result.advisories)
        db.execute(
            "INSERT INTO host_report (rollout, name, kind, at, policies, more, advisories) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (rollout, name, kind) DO UPDATE SET at = excluded.at, policies = excluded.policies,"
            " more = excluded.more, advisories = excluded.advisories",
            (unit.rollout, name, unit.kind, when, json.dumps(verdicts), json.dumps(more) if more else "", advisories),
        )
        proved = when if result.verdict is Verdict.OK else ""
        db.execute(
            "INSERT INTO newest (name, rollout, kind, verdict, at, proved) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET rollout = excluded.rollout, kind = excluded.kind,"
            " verdict = excluded.verdict, at = excluded.at,"
            " proved = CASE WHEN excluded.proved = '' THEN newest.proved ELSE excluded.proved END",
            (name, unit.rollout, unit.kind, result.verdict, when, proved),
        )


_OF_ROLLOUT = """
SELECT host.name, host.wave, host.verdict, host.back, host.changes, host.words, host.back_words, host.rollout,
  report.kind, report.at, report.policies, report.more, report.advisories, newest.proved
FROM host LEFT JOIN newest ON newest.name = host.name LEFT JOIN host_report AS report
  ON report.rollout = host.rollout AND report.name = host.name AND report.kind = 'converge'
WHERE host.rollout = ? AND host.name > ? ORDER BY host.name LIMIT ?
"""
_OF_FLEET = """
SELECT newest.name, host.wave, newest.verdict, host.back, host.changes, host.words, host.back_words, newest.rollout,
  newest.kind, newest.at, report.policies, report.more, report.advisories, newest.proved
FROM newest JOIN host ON host.rollout = newest.rollout AND host.name = newest.name LEFT JOIN host_report AS report
  ON report.rollout = newest.rollout AND report.name = newest.name AND report.kind = newest.kind
WHERE newest.name > ? ORDER BY newest.name LIMIT ?
"""


def hosts_in(store: Store, ident: int) -> Iterator[HostRow]:
    """The hosts of a rollout by name, with what its own runs have said (not those of the way back)."""
    yield from _paged(store, _OF_ROLLOUT, ident)


def hosts_of_fleet(store: Store) -> Iterator[HostRow]:
    """Every host that a rollout has touched, by name, with the newest word on it."""
    yield from _paged(store, _OF_FLEET)


def _paged(store: Store, query: str, *values: int) -> Iterator[HostRow]:
    last = ""
    while rows := store.rows(query, *values, last, _PAGE):
        yield from map(_host, rows)
        last = rows[-1]["name"]


def _host(row: Row) -> HostRow:
    # What a host was before it is tried once more is no word on it.
    policies = _policies(row["policies"] or "{}", row["more"] or "{}") if row["verdict"] else ()
    words = row["back_words"] if row["kind"] == Kind.BACK else row["words"]
    return HostRow(
        row["name"], row["wave"], Verdict(row["verdict"]) if row["verdict"] else None,
        Verdict(row["back"]) if row["back"] else None, row["changes"] or 0, words,
        policies,
        None if row["advisories"] is None else tuple(json.loads(row["advisories"])), row["rollout"],
        _moment(row["at"]), _moment(row["proved"]),
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _policies(said: str, more: str) -> tuple[PolicyResult, ...]:
    """Most hosts of a fleet say the same, word for word."""
    lines: dict[str, dict[str, list[str]]] = json.loads(more)
    return tuple(
        PolicyResult(
            name, PolicyVerdict(verdict), checks, passed, tuple(lines.get(name, {}).get("changed", ())),
            tuple(lines.get(name, {}).get("failed", ())),
        ) for name, (verdict, passed, checks) in json.loads(said).items()
    )  # fmt: skip


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
