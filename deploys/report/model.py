"""What a report says of a rollout, or of the fleet: of a bounded size, however many hosts there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from deploys.rollout.model import PolicyVerdict, Verdict, WaveState
from deploys.rollout.store.reports import Progress
from deploys.rollout.store.rows import Rollout

TO_COME = "to come"
AGES = (
    ("an hour", timedelta(hours=1)), ("six hours", timedelta(hours=6)), ("a day", timedelta(days=1)),
    ("a week", timedelta(days=7)), ("thirty days", timedelta(days=30)),
)  # fmt: skip
"""Bounds of the ages of proofs, with what they are called."""
_WORDS = {
    Verdict.OK: "proved", Verdict.FAILED: "failed", Verdict.REVERTED: "reverted by itself",
    Verdict.UNREACHABLE: "unreachable", Verdict.UNKNOWN: "unknown",
    Verdict.BUSY: "busy",
}  # fmt: skip


def said(verdict: Verdict | None, back: Verdict | None) -> str:
    """What came of a host, in words."""
    words = _WORDS[verdict] if verdict is not None else TO_COME
    if back is None:
        return words
    return f"{words}, went back" if back is Verdict.OK else f"{words}, did NOT go back ({_WORDS[back]})"


@dataclass
class Some:
    """Hosts that have something in common: how many, and the names of the first ones."""

    hosts: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str, most: int) -> None:
        """One more."""
        self.hosts += 1
        if len(self.names) < most:
            self.names.append(name)


@dataclass(frozen=True)
class Row:
    """A row of the matrix: hosts of which the same is said, policy by policy."""

    verdict: Verdict | None
    back: Verdict | None
    policies: Mapping[str, PolicyVerdict]
    some: Some

    @property
    def words(self) -> str:
        """What came of them."""
        return said(self.verdict, self.back)

    @property
    def well(self) -> bool:
        """Whether nobody needs to look."""
        return self.verdict in {None, Verdict.OK} and self.back in {None, Verdict.OK}


@dataclass(frozen=True)
class Change:
    """An operation of a policy that has changed hosts."""

    policy: str
    operation: str
    some: Some


@dataclass(frozen=True)
class Trouble:
    """Why hosts are not well, or went back."""

    verdict: Verdict | None
    back: Verdict | None
    why: str
    some: Some

    @property
    def words(self) -> str:
        """What came of them."""
        return said(self.verdict, self.back)

    @property
    def reason(self) -> str:
        """Why, in one line: the first line of several is the run's closing line, which counts."""
        lines = [line.strip() for line in self.why.splitlines() if line.strip()]
        return "".join(lines[1:2] or lines[:1])


@dataclass(frozen=True)
class Phase:
    """A wave in a state, from one moment to another (None: it still is)."""

    state: WaveState
    begin: datetime
    end: datetime | None


@dataclass(frozen=True)
class Hosts:
    """All that is said of hosts.

    Args:
        total: how many there are.
        counts: of hosts by what came of them, in words.
        policies: names, in the order of a run.
        rows: of the matrix, the worst ones first.
        unwell, back: those that are not well; those that went back, or were to.
        advisories: id -> hosts that it is open on; None when nobody has looked on any host.
        ages: bound in words -> hosts that were proved within it, and not within the one before.
        left_out: what of all this is not said, by its name: how many.
    """

    total: int
    counts: Mapping[str, int]
    policies: Sequence[str]
    rows: Sequence[Row]
    changes: Sequence[Change]
    unwell: Sequence[Trouble]
    back: Sequence[Trouble]
    advisories: Mapping[str, Some] | None
    ages: Mapping[str, int]
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Report:
    """A report: of a rollout (with its progress and phases), or of the fleet (with its newest rollouts)."""

    title: str
    at: datetime
    hosts: Hosts
    progress: Progress | None = None
    phases: Mapping[int, Sequence[Phase]] = field(default_factory=dict)
    ended: datetime | None = None
    undelivered: Sequence[str] = ()
    rollouts: Sequence[Rollout] = ()
