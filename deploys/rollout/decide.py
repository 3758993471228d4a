"""What a rollout does next, decided from what is written down of it. No clock, no reading, no writing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from deploys.rollout.model import Answer, Kind, OnFail, State, Verdict, View, WaveState, WaveView


@dataclass(frozen=True)
class Start:
    """Start a unit: it is written down as running before anything else."""

    unit: int


@dataclass(frozen=True)
class Ask:
    """Ask a gate of a wave."""

    wave: int
    gate: str


@dataclass(frozen=True)
class Enter:
    """A wave comes into a state."""

    wave: int
    state: WaveState
    words: str = ""


@dataclass(frozen=True)
class Become:
    """The rollout comes into a state."""

    state: State
    words: str


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done before a moment (None: before something happens). Written down nowhere."""

    until: datetime | None
    words: str


_BUSY = "hosts that somebody else is changing"
Action = Start | Ask | Enter | Become | Wait


def decide(view: View, now: datetime) -> list[Action]:
    """What is next. Doing it and asking again goes on until all that comes is a wait, or nothing.

    An empty list says that it has ended, or that only units that run can change anything.
    """
    if view.state.ended:
        return []
    if view.abort:
        return [Wait(None, "units that run")] if view.running else [Become(State.ABORTED, "somebody has asked for it")]
    if view.state is State.PAUSED:
        return [Wait(None, "somebody who says resume or abort")]
    if view.state is State.BACK:
        return list(_way_back(view))
    wave = next((each for each in view.waves if each.state is not WaveState.PASSED), None)
    if wave is None:
        return [Become(State.DONE, "every wave has passed its gates")]
    return list(_go_on(view, wave, now))


def _go_on(view: View, wave: WaveView, now: datetime) -> Iterator[Action]:
    match wave.state:
        case WaveState.WAITING:
            yield from _begin(view, wave, now)
        case WaveState.OPEN:
            yield from _run(view, wave, now)
        case WaveState.BAKING:
            ready = wave.since + timedelta(seconds=view.spec.bake(wave.number))
            yield Enter(wave.number, WaveState.GATES) if ready <= now else Wait(ready, "the end of the bake")
        case WaveState.GATES:
            yield from _ask(view, wave)
        case WaveState.FAILED:
            yield from _after_failure(view, wave)
        case _:
            message = f"wave {wave.number} is {wave.state}, and the rollout is {view.state}"
            raise ValueError(message)


def _begin(view: View, wave: WaveView, now: datetime) -> Iterator[Action]:
    if wave.number in view.spec.approvals and not wave.approved:
        yield Wait(None, f"approval of wave {wave.number + 1}")
    elif (shut := _shut(view, now)) is not None:
        yield shut
    else:
        yield Enter(wave.number, WaveState.OPEN)


def _run(view: View, wave: WaveView, now: datetime) -> Iterator[Action]:
    why = spent(view, wave)
    if why:
        # What runs is never cut off; nothing new is begun.
        yield Wait(None, "units that run") if wave.running else Enter(wave.number, WaveState.FAILED, why)
        return
    if not wave.pending:
        if wave.later is not None:
            yield Wait(wave.later, _BUSY)
        elif wave.running:
            yield Wait(None, "units that run")
        elif wave.counts.get(Verdict.OK):
            yield Enter(wave.number, WaveState.BAKING)
        else:
            # Whatever the budgets allow: what nobody has seen well is no reason to go on.
            yield Enter(wave.number, WaveState.FAILED, "no host of it was proved")
        return
    room = view.spec.parallel - view.running
    if room <= 0:
        yield Wait(None, "units that run")
    elif (shut := _shut(view, now)) is not None:
        yield shut
    else:
        yield from (Start(unit) for unit in wave.pending[:room])


def may_begin(view: View, wave: int, kind: Kind, now: datetime) -> bool:
    """Whether a unit that was started, and that nobody has begun yet, is still to begin."""
    if view.abort:
        return False
    if kind is Kind.BACK:
        return view.state is State.BACK
    of = view.waves[wave]
    going = view.state is State.RUNNING and of.state is WaveState.OPEN
    return going and not spent(view, of) and _shut(view, now) is None


def _shut(view: View, now: datetime) -> Wait | None:
    if view.opens is None:
        return Wait(None, "a window: none opens for more than a year")
    return Wait(view.opens, "a window") if view.opens > now else None


def spent(view: View, wave: WaveView) -> str:
    """Why the budgets let nothing more be begun; "" while they do."""
    budgets = (
        ("failed", view.spec.failed, wave.bad, sum(each.bad for each in view.waves)),
        ("unreachable", view.spec.unreachable, wave.unreachable, sum(each.unreachable for each in view.waves)),
    )
    for name, budget, in_wave, in_all in budgets:
        why = budget.exceeded(in_wave, wave.hosts, in_all, view.hosts)
        if why:
            return f"{name}: {why}"
    return ""


def _ask(view: View, wave: WaveView) -> Iterator[Action]:
    failed = [name for name, answer in wave.answers.items() if answer is Answer.FAIL]
    unsure = [name for name, answer in wave.answers.items() if answer is Answer.INCONCLUSIVE]
    asked = [Ask(wave.number, name) for name in view.spec.gates if name not in wave.answers]
    if failed:
        yield Enter(wave.number, WaveState.FAILED, f"the gate {failed[0]} says no")
    elif unsure:
        yield Become(
            State.PAUSED, f"the gate {unsure[0]} of wave {wave.number + 1} cannot tell: look, then resume or abort"
        )
    elif asked:
        yield from asked
    else:
        yield Enter(wave.number, WaveState.PASSED)


def _after_failure(view: View, wave: WaveView) -> Iterator[Action]:
    words = f"wave {wave.number + 1} failed"
    if view.spec.on_fail is OnFail.STOP:
        yield Become(State.STOPPED, words)
    else:
        yield Become(State.BACK, words)


def _way_back(view: View) -> Iterator[Action]:
    """The failed wave first, then, where all go back, the one before it, and so on."""
    for wave in reversed(view.waves):
        match wave.state:
            case WaveState.FAILED:
                yield Enter(wave.number, WaveState.BACK)
                return
            case WaveState.BACK:
                room = view.spec.parallel - view.running
                if wave.back_pending and room > 0:
                    yield from (Start(unit) for unit in wave.back_pending[:room])
                elif wave.later is not None:
                    yield Wait(wave.later, _BUSY)
                elif wave.running:
                    yield Wait(None, "units that run")
                elif not wave.back_pending:
                    yield Enter(wave.number, WaveState.ENDED)
                else:
                    yield Wait(None, "units that run")
                return
            case WaveState.PASSED if view.spec.on_fail is OnFail.BACK_ALL:
                yield Enter(wave.number, WaveState.BACK)
                return
            case _:
                continue
    yield Become(State.WENT_BACK, "what could go back has gone back")
