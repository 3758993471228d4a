"""What a rollout is: its hosts, waves, units and verdicts. Plain values: nothing here does anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """What came of a host."""

    OK = "ok"
    """Converged and proved."""
    FAILED = "failed"
    """It could not be brought to its policy, or is not as it says."""
    REVERTED = "reverted"
    """It failed, and is as it was before."""
    UNREACHABLE = "unreachable"
    """Nobody could log in; nothing was changed."""
    BUSY = "busy"
    """Somebody else was changing it; it is asked again, so that this is nobody's end."""
    UNKNOWN = "unknown"
    """The run ended without a word on it."""

    @property
    def bad(self) -> bool:
        """Whether it counts against the budget of failures; unreachable hosts have a budget of their own."""
        return self in {Verdict.FAILED, Verdict.REVERTED, Verdict.UNKNOWN}


class PolicyVerdict(StrEnum):
    """What came of a policy on a host."""

    PROVED = "proved"
    """As it says, and nothing had to be changed."""
    CHANGED = "changed"
    """Changed, and then proved."""
    FAILED = "failed"
    """An operation failed, or a check did not pass."""
    UNPROVED = "not proved"
    """The run did not come to its proof."""


class Kind(StrEnum):
    """What a unit does with its hosts."""

    CONVERGE = "converge"
    BACK = "back"


class UnitState(StrEnum):
    """A unit is running from before its process is started until its result is written down."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"


class WaveState(StrEnum):
    """Where a wave is. Its hosts are touched in OPEN (and in BACK) alone."""

    WAITING = "waiting"
    OPEN = "open"
    BAKING = "baking"
    GATES = "gates"
    PASSED = "passed"
    FAILED = "failed"
    BACK = "going back"
    ENDED = "ended"


class State(StrEnum):
    """Where a rollout is."""

    RUNNING = "running"
    PAUSED = "paused"
    BACK = "going back"
    DONE = "done"
    STOPPED = "stopped"
    """A gate has not let it on; what was changed stays."""
    WENT_BACK = "went back"
    ABORTED = "aborted"

    @property
    def ended(self) -> bool:
        """Whether nothing of it is to come."""
        return self in {State.DONE, State.STOPPED, State.WENT_BACK, State.ABORTED}


class Answer(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 - an answer
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class OnFail(StrEnum):
    """What is done when a wave fails."""

    STOP = "stop"
    BACK_WAVE = "wave goes back"
    BACK_ALL = "all go back"


@dataclass(frozen=True)
class Budget:
    """How many hosts may have a verdict before a wave fails: of a wave, and of the whole; absolute, and in percent.

    The smaller one counts. Percent are of the hosts of the wave, or of the rollout, rounded down.
    """

    wave: int | None = 0
    wave_percent: float | None = None
    whole: int | None = None
    whole_percent: float | None = None

    def exceeded(self, in_wave: int, wave_hosts: int, in_all: int, all_hosts: int) -> str:
        """Why it is spent; "" while it is not."""
        for found, most, hosts, percent, words in (
            (in_wave, self.wave, wave_hosts, self.wave_percent, "of the wave"),
            (in_all, self.whole, all_hosts, self.whole_percent, "of the rollout"),
        ):
            limits = [limit for limit in (most, None if percent is None else int(hosts * percent / 100))
                      if limit is not None]  # fmt: skip
            if limits and found > min(limits):
                return f"{found} of the {hosts} hosts {words}, of which {min(limits)} may"
        return ""


@dataclass(frozen=True)
class Spec:
    """How a rollout goes on, as it is written down with it.

    Args:
        gates: names of those that are asked when a wave has baked.
        bake_seconds: of each wave, by its number from 0; the last one goes for all that follow.
        approvals: numbers of the waves that a person lets begin.
        parallel: how many units run at once.
        snapshots: whether each machine has one taken before its run, which its way back begins with.
    """

    gates: tuple[str, ...] = ()
    bake_seconds: tuple[float, ...] = (0.0,)
    approvals: frozenset[int] = frozenset()
    parallel: int = 1
    failed: Budget = field(default_factory=Budget)
    unreachable: Budget = field(default_factory=lambda: Budget(wave=None, whole_percent=10.0))
    on_fail: OnFail = OnFail.STOP
    snapshots: bool = False

    def bake(self, wave: int) -> float:
        """How many seconds a wave bakes."""
        return self.bake_seconds[min(wave, len(self.bake_seconds) - 1)]


@dataclass(frozen=True)
class WaveView:
    """A wave as it is now.

    Args:
        pending: units that are to come, the next ones first; as many as may be started at the most.
        running: units under way.
        counts: hosts by verdict.
        since: when it came into its state.
        answers: of the gates that were asked since it baked.
        back_pending: units of its way back that are to come.
        later: when the first unit is due of those that wait for hosts that somebody else is busy with.
    """

    number: int
    hosts: int
    state: WaveState
    since: datetime
    pending: tuple[int, ...] = ()
    running: tuple[int, ...] = ()
    counts: Mapping[Verdict, int] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    approved: bool = False
    back_pending: tuple[int, ...] = ()
    later: datetime | None = None

    @property
    def bad(self) -> int:
        """How many hosts count against the budget of failures."""
        return sum(count for verdict, count in self.counts.items() if verdict.bad)

    @property
    def unreachable(self) -> int:
        """How many hosts could not be reached."""
        return self.counts.get(Verdict.UNREACHABLE, 0)


@dataclass(frozen=True)
class WaveHosts:
    """The hosts that a gate is asked about.

    Args:
        number: of the wave, from 0.
        hosts: those of it that were proved.
        untouched: those of later waves.
    """

    number: int
    hosts: tuple[str, ...]
    untouched: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """A rollout as it is now; what is decided is decided from this alone.

    Args:
        opens: when it may go on by its windows: now or before, later, or None for never.
        abort: whether somebody has asked for its end.
    """

    spec: Spec
    state: State
    waves: tuple[WaveView, ...]
    opens: datetime | None
    abort: bool = False

    @property
    def hosts(self) -> int:
        """How many there are."""
        return sum(wave.hosts for wave in self.waves)

    @property
    def running(self) -> int:
        """How many units are under way."""
        return sum(len(wave.running) for wave in self.waves)
