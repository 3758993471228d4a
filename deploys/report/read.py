"""From rows to a report, in one pass over the hosts: what is kept is bounded, however many there are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

from deploys.report.model import AGES, Change, Hosts, Phase, Report, Row, Some, Trouble, said
from deploys.rollout.model import PolicyVerdict, Verdict, WaveState
from deploys.rollout.store.outbox import undelivered_lines
from deploys.rollout.store.policies import HostRow, hosts_in, hosts_of_fleet
from deploys.rollout.store.reports import progress
from deploys.rollout.store.rows import PolicyResult
from deploys.rollout.store.store import Store

SINGLE = 60
"""So many hosts have a row of the matrix each; of more, those of which the same is said share one."""
_NAMES = 1000
_SOME_NAMES = 20
_MOST = {"rows": 300, "changes": 300, "unwell": 100, "back": 100, "advisories": 300}
_KEPT = 20_000
"""Different things of a kind that are told apart while they are counted."""
_DIGITS = re.compile(r"([0-9]+)")
_WAVE = re.compile(r"wave (\d+) (.+)")
_LAST = {None, Verdict.UNREACHABLE}
_OVER = {WaveState.PASSED, WaveState.FAILED, WaveState.ENDED}


def of_rollout(store: Store, ident: int, at: datetime) -> Report:
    """The report of a rollout.

    Raises:
        Refusal: there is none of that number.
    """
    found = progress(store, ident)
    phases, why = _waves(store, ident)
    hosts = collected(hosts_in(store, ident), at, single=found.hosts <= SINGLE, why=why)
    ended = found.rollout.since if found.rollout.state.ended else None
    return Report(f"Rollout {ident}", at, hosts, found, phases, ended, undelivered_lines(store, ident))


def of_fleet(store: Store, at: datetime, names: Sequence[str] | None = None) -> Report:
    """The report of the fleet: the newest word on every host.

    Args:
        store: of all rollouts.
        at: now.
        names: only these hosts, also those that no rollout has touched.
    """
    rows = hosts_of_fleet(store) if names is None else of_names(hosts_of_fleet(store), names)
    total = store.rows("SELECT count(*) AS hosts FROM newest")[0]["hosts"] if names is None else len(names)
    return Report("Fleet", at, collected(rows, at, single=total <= SINGLE, why={}), rollouts=store.rollouts(10))


def of_names(rows: Iterable[HostRow], names: Iterable[str]) -> Iterator[HostRow]:
    """Only these hosts; those that no rollout has touched come last."""
    left = set(names)
    for row in rows:
        if row.name in left:
            left.remove(row.name)
            yield row
    yield from (HostRow(name, 0, None) for name in sorted(left))


def _waves(store: Store, ident: int) -> tuple[dict[int, list[Phase]], dict[int, str]]:
    """The phases of each wave, and why it failed if it did: as the audit says."""
    phases: dict[int, list[Phase]] = {}
    why: dict[int, str] = {}
    query = "SELECT at, event, about FROM audit WHERE rollout = ? AND who = '' AND event LIKE ? ORDER BY id"
    for row in store.rows(query, ident, "wave %"):
        found = _WAVE.fullmatch(row["event"])
        if found is None:
            continue
        number, state, at = int(found[1]) - 1, WaveState(found[2]), datetime.fromisoformat(row["at"])
        mine = phases.setdefault(number, [])
        if mine and mine[-1].end is None:
            mine[-1] = Phase(mine[-1].state, mine[-1].begin, at)
        if state not in _OVER:
            mine.append(Phase(state, at, None))
        if state is WaveState.FAILED:
            why[number] = row["about"]
    return phases, why


def collected(rows: Iterable[HostRow], at: datetime, *, single: bool, why: Mapping[int, str]) -> Hosts:
    """All that is said of hosts.

    Args:
        rows: the hosts.
        at: now, which ages are counted from.
        single: each host has a row of the matrix of its own.
        why: wave -> why it failed, for hosts that went back though they were well.
    """
    kept = _Collector(at, single, why)
    for row in rows:
        kept.add(row)
    return kept.hosts()


_T = TypeVar("_T")
_Key = tuple[str, Verdict | None, Verdict | None, tuple[tuple[str, PolicyVerdict], ...]]


class _Collector:
    """What is kept of hosts that were seen."""

    def __init__(self, at: datetime, single: bool, why: Mapping[int, str]) -> None:  # noqa: FBT001 - of this file alone
        self._at, self._single, self._why = at, single, why
        self._counts: Counter[str] = Counter()
        self._ages = dict.fromkeys([*(f"within {name}" for name, _ in AGES), "longer ago", "never"], 0)
        self._policies: dict[str, None] = {}
        self._rows: dict[_Key, Some] = {}
        self._changes: dict[tuple[str, str], Some] = {}
        self._troubles: dict[tuple[Verdict | None, Verdict | None, str], Some] = {}
        self._advisories: dict[str, Some] = {}
        self._looked = False

    def add(self, row: HostRow) -> None:
        """One more host."""
        self._counts[said(row.verdict, row.back)] += 1
        self._ages[_age(self._at, row.proved)] += 1
        policies = _verdicts(row.policies)
        self._policies.update(dict.fromkeys(name for name, _ in policies))
        alike = (row.name if self._single else "", row.verdict, row.back, policies)
        _counted(self._rows, alike, row.name, _NAMES)
        for policy in row.policies:
            for operation in policy.changed:
                _counted(self._changes, (policy.policy, operation), row.name, _SOME_NAMES)
        if row.verdict not in {None, Verdict.OK} or row.back is not None:
            words = row.words if row.verdict not in {None, Verdict.OK} else self._why.get(row.wave, row.words)
            _counted(self._troubles, (row.verdict, row.back, words), row.name, _NAMES)
        self._looked |= row.advisories is not None
        for advisory in row.advisories or ():
            _counted(self._advisories, advisory, row.name, _SOME_NAMES)

    def hosts(self) -> Hosts:
        """All of it."""
        rows = [Row(verdict, back, dict(policies), some) for (_, verdict, back, policies), some in self._rows.items()]
        rows.sort(key=lambda row: (row.well, row.verdict in _LAST, -row.some.hosts, _natural(row.some.names)))
        changes = [Change(*key, some) for key, some in self._changes.items()]
        order = {name: number for number, name in enumerate(self._policies)}
        changes.sort(key=lambda each: (order[each.policy], -each.some.hosts, each.operation))
        troubles = [Trouble(*key, some) for key, some in self._troubles.items()]
        troubles.sort(key=lambda each: (-each.some.hosts, each.some.names))
        unwell = [each for each in troubles if each.verdict is not Verdict.OK or each.back not in {None, Verdict.OK}]
        back = [each for each in troubles if each.back is not None or each.verdict is Verdict.REVERTED]
        advisories = dict(sorted(self._advisories.items(), key=lambda each: (-each[1].hosts, each[0])))
        lists: dict[str, Sized] = {
            "rows": rows,
            "changes": changes,
            "unwell": unwell,
            "back": back,
            "advisories": advisories,
        }
        left = {name: len(found) - _MOST[name] for name, found in lists.items() if len(found) > _MOST[name]}
        return Hosts(
            sum(self._counts.values()), dict(self._counts.most_common()), list(self._policies), rows[: _MOST["rows"]],
            changes[: _MOST["changes"]], unwell[: _MOST["unwell"]], back[: _MOST["back"]],
            dict(list(advisories.items())[: _MOST["advisories"]]) if self._looked else None, self._ages, left,
        )  # fmt: skip


@lru_cache(maxsize=1024)
def _verdicts(policies: tuple[PolicyResult, ...]) -> tuple[tuple[str, PolicyVerdict], ...]:
    return tuple((each.policy, each.verdict) for each in policies)


def _natural(names: Sequence[str]) -> list[tuple[tuple[int, str], ...]]:
    """web-9 before web-10."""
    return [
        tuple((int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name)) for name in names[:1]
    ]


def _counted(among: dict[_T, Some], key: _T, name: str, most: int) -> None:
    found = among.get(key)
    if found is None:
        if len(among) >= _KEPT:
            return
        found = among[key] = Some()
    found.add(name, most)


def _age(at: datetime, proved: datetime | None) -> str:
    if proved is None:
        return "never"
    return next((f"within {name}" for name, bound in AGES if at - proved <= bound), "longer ago")
