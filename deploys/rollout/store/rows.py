"""What is written down of a rollout, and how: values of the rows, and the specification as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from deploys.refusal import Refusal
from deploys.rollout.model import Budget, Kind, OnFail, PolicyVerdict, Spec, State, Verdict
from deploys.rollout.plan import HostPlan
from deploys.rollout.store.database import Row
from deploys.rollout.waves import Wave

SPEC_VERSION = 1


@dataclass(frozen=True)
class New:
    """A rollout that is to begin.

    Args:
        inventory: path of the file, from the top of the repository.
        revision, base: the commit that is rolled out, and the one that hosts go back to.
        who, why: for people, other runs and the hosts.
    """

    inventory: str
    revision: str
    base: str
    who: str
    why: str
    spec: Spec
    calendar: str
    """Windows and freezes, as JSON."""
    waves: Sequence[Wave]
    plans: Mapping[str, HostPlan] = field(default_factory=dict)
    """What each host may be changed in; its runs are held to that. Empty when there is no plan."""
    webhooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> the events that it is told."""
    whole: bool = False
    """Whether it is about every host that the commit concerns: only then it can be said to have arrived."""
    again: bool = False
    """Also when the commit is held."""


@dataclass(frozen=True)
class Rollout:
    """A rollout as it is written down."""

    id: int
    created: datetime
    inventory: str
    revision: str
    base: str
    who: str
    why: str
    spec_text: str
    calendar: str
    state: State
    words: str
    since: datetime
    token: str = ""
    """Tells it from a rollout of the same number in other rows: such as those of before a backup was taken back."""
    whole: bool = False
    """Also of those that were begun before this was written down."""

    @property
    def label(self) -> str:
        """What hosts and machines know it by: the name of its snapshots, and whose their updates are."""
        return f"rollout-{self.id}{f'-{self.token}' if self.token else ''}"

    @property
    def spec(self) -> Spec:
        """How it goes on.

        Raises:
            Refusal: another version has begun it; whatever else is said of it is understood.
        """
        return spec_from_text(self.spec_text)


@dataclass(frozen=True)
class Unit:
    """Hosts that one run takes. `key` names this attempt among all runs there ever were, by a token of its own.

    `busy` of its attempts came to nothing, as somebody else was changing the hosts.
    """

    id: int
    rollout: int
    wave: int
    kind: Kind
    attempt: int
    hosts: tuple[str, ...]
    token: str = ""
    busy: int = 0

    @property
    def key(self) -> str:
        """Rollout, unit, attempt and token."""
        return f"{self.rollout}.{self.id}.{self.attempt}{f'.{self.token}' if self.token else ''}"


@dataclass(frozen=True)
class PolicyResult:
    """What came of a policy on a host.

    Args:
        checks, passed: of its proof.
        changed: names of the operations that changed something, as the run shows them.
        failed: the checks that did not pass, each with what it proves, and operations that failed.
    """

    policy: str
    verdict: PolicyVerdict
    checks: int = 0
    passed: int = 0
    changed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostResult:
    """What came of a host in a unit. `words` are what a person is to know, one sentence a line.

    `advisories` are the ids of those that are open on the host; None where the run did not look.
    """

    verdict: Verdict
    changes: int = 0
    words: str = ""
    policies: tuple[PolicyResult, ...] = ()
    advisories: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Backoff:
    """How long a host is left alone that somebody else is busy with, and how often it is asked.

    Args:
        first: seconds; each wait is twice the one before.
        most: seconds of the longest wait.
        times: how often it is asked again.
    """

    first: float = 30
    most: float = 600
    times: int = 8

    def after(self, times: int) -> timedelta | None:
        """The wait after so many; None when it has been asked often enough."""
        return None if times >= self.times else timedelta(seconds=min(self.most, self.first * 2**times))


def rollout_of(row: Row) -> Rollout:
    """What a row of `rollout` says."""
    return Rollout(
        id=row["id"], created=datetime.fromisoformat(row["created"]), inventory=row["inventory"],
        revision=row["revision"], base=row["base"], who=row["who"], why=row["why"], spec_text=row["spec"],
        calendar=row["calendar"], state=State(row["state"]), words=row["words"],
        since=datetime.fromisoformat(row["since"]), token=row["token"], whole=bool(row["whole"]),
    )  # fmt: skip


def unit_of(row: Row) -> Unit:
    """What a row of `unit` says."""
    hosts = tuple(json.loads(row["hosts"]))
    return Unit(
        row["id"], row["rollout"], row["wave"], Kind(row["kind"]), row["attempt"], hosts, row["token"], row["busy"]
    )


def spec_to_text(spec: Spec) -> str:
    """A specification as JSON, with its version."""
    return json.dumps({"version": SPEC_VERSION, **asdict(spec), "approvals": sorted(spec.approvals)})


def spec_from_text(text: str) -> Spec:
    """The specification of a rollout.

    Raises:
        Refusal: written by another version, whose fields mean something else.
    """
    given: dict[str, Any] = json.loads(text)
    version = given.pop("version", None)
    if version != SPEC_VERSION:
        message = (
            f"this rollout was begun by another version of Photon Fleet (specification {version}, here {SPEC_VERSION})"
        )
        raise Refusal(message)
    return Spec(
        gates=tuple(given["gates"]), bake_seconds=tuple(given["bake_seconds"]), approvals=frozenset(given["approvals"]),
        parallel=given["parallel"], failed=Budget(**given["failed"]), unreachable=Budget(**given["unreachable"]),
        on_fail=OnFail(given["on_fail"]), snapshots=given.get("snapshots", False),
    )  # fmt: skip
