"""What people say in the middle of each state: taken or refused, written down, and the rollout comes to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from deploys.refusal import Refusal
from deploys.rollout.decide import Ask, Wait
from deploys.rollout.model import Answer, Budget, Kind, OnFail, Spec, State
from deploys.rollout.store.commands import Commands, Word
from deploys.rollout.store.reports import audit
from deploys.rollout.store.rows import HostResult, Verdict
from tests.rollout.played import World, since

WHO = "bob@ctl"


class Steered:
    """A rollout of two waves, brought into a state step by step; runs end when the test says so."""

    def __init__(self, world: World, spec: Spec, bad: bool = False) -> None:
        self.store, self.bad = world.store, bad
        self.ident = world.begin([[1], [2]], spec)
        self.ran: list[str] = []

    def say(self, word: Word) -> str:
        return Commands(self.store, WHO).say(self.ident, word)

    def step(self) -> str:
        """One decision: the words of what is waited for, if it is for anything."""
        for action in self.store.step(self.ident, lambda now: now).actions:
            if isinstance(action, Wait):
                return action.words
            if isinstance(action, Ask):
                return f"gate {action.gate}"
        return ""

    def finish(self) -> bool:
        """End a run that is under way."""
        for unit in self.store.running(self.ident)[:1]:
            verdict = Verdict.FAILED if self.bad and unit.kind is Kind.CONVERGE else Verdict.OK
            self.ran += [f"{unit.kind} {name}" for name in unit.hosts]
            self.store.finish(unit, dict.fromkeys(unit.hosts, HostResult(verdict)))
            return True
        return False

    def answer(self, answer: Answer = Answer.PASS) -> None:
        number = next(wave.number for wave in self.store.view(self.ident, lambda now: now)[0].waves
                      if wave.state == "gates")  # fmt: skip
        self.store.answered(
            self.ident, number, "alerts", answer, "as the test says", since(self.store, self.ident, number)
        )

    def until(self, wanted: Callable[[State, str, bool], bool]) -> Steered:
        """Go on until state, words and whether a run is under way are as wanted."""
        for _ in range(60):
            words = self.step()
            if wanted(self.state, words, bool(self.store.running(self.ident))):
                return self
            if self.finish():
                continue
            if "gate" in words:
                self.answer()
        message = f"never: {self.state}, {words}"
        raise AssertionError(message)

    def end(self) -> State:
        """To its end, with a person who says yes to everything."""
        for _ in range(80):
            if self.state.ended:
                return self.state
            words = self.step()
            if self.state is State.PAUSED:
                self.say("resume")
            elif not self.finish() and "gate" in words:
                self.answer()
            elif "approve" in words or "approval" in words:
                self.say("approve")
        message = f"it does not end: {self.state}, {words}"
        raise AssertionError(message)

    @property
    def state(self) -> State:
        return self.store.rollout(self.ident).state


GATED, QUIET = Spec(gates=("alerts",)), Spec()
BAD = Spec(failed=Budget(wave=0))


def paused(world: World) -> Steered:
    made = Steered(world, QUIET).until(lambda _state, _words, runs: runs)
    made.say("pause")
    return made


def asks(world: World) -> Steered:
    """A gate could not tell."""
    made = Steered(world, GATED).until(lambda _state, words, _runs: "gate" in words)
    made.answer(Answer.INCONCLUSIVE)
    return made.until(lambda state, _words, _runs: state is State.PAUSED)


def ended(word: Word) -> Callable[[World], Steered]:
    def make(world: World) -> Steered:
        made = Steered(world, QUIET).until(lambda _state, _words, runs: runs)
        made.finish()
        made.say(word)
        made.end()
        return made

    return make


STATES: dict[str, tuple[Callable[[World], Steered], str]] = {
    "to come": (lambda world: Steered(world, QUIET), "pause abort approve rollback"),
    "waits for approval": (
        lambda world: Steered(world, Spec(approvals=frozenset({0}))).until(lambda _state, words, _runs: bool(words)),
        "pause abort approve rollback",
    ),
    "a run is under way": (
        lambda world: Steered(world, QUIET).until(lambda _state, _words, runs: runs), "pause abort"
    ),
    "bakes": (
        lambda world: Steered(world, Spec(bake_seconds=(3600.0,))).until(lambda _state, words, _runs: "bake" in words),
        "pause abort rollback",
    ),
    "gates": (
        lambda world: Steered(world, GATED).until(lambda _state, words, _runs: "gate" in words), "pause abort rollback"
    ),
    "a gate cannot tell": (asks, "resume abort rollback"),
    "paused with a run under way": (paused, "resume abort"),
    "goes back": (
        lambda world: Steered(world, Spec(on_fail=OnFail.BACK_ALL), bad=True).until(
            lambda state, _words, runs: state is State.BACK and runs
        ),
        "abort",
    ),
    "stopped": (
        lambda world: Steered(world, BAD, bad=True).until(lambda state, _words, _runs: state is State.STOPPED),
        "retry rollback",
    ),
    "done": (lambda world: Steered(world, QUIET).until(lambda state, _words, _runs: state is State.DONE), "rollback"),
    "aborted": (ended("abort"), "rollback"),
    "went back": (ended("rollback"), ""),
}  # fmt: skip


@pytest.mark.parametrize("word", get_args(Word))
@pytest.mark.parametrize("name", STATES)
def test_in_the_middle_of(tmp_path, name: str, word: Word) -> None:
    make, taken = STATES[name]
    made = make(World(tmp_path))
    before, events = made.state, len(audit(made.store, made.ident))
    if word not in taken.split():
        with pytest.raises(Refusal, match=f"rollout {made.ident}"):
            made.say(word)
        assert (made.state, len(audit(made.store, made.ident))) == (before, events)
        return
    made.say(word)
    told = audit(made.store, made.ident)[events:]
    assert [event for _, who, event, _ in told if who == WHO] == [word]
    made.bad = False
    end = made.end() if name != "bakes" or word in {"abort", "rollback"} else None
    expected = {"abort": State.ABORTED, "rollback": State.WENT_BACK}.get(word, State.DONE)
    if end is not None:
        assert end is expected or (name, word, end) == ("goes back", "abort", State.WENT_BACK)
        assert made.store.rows("SELECT * FROM host_lock") == []
    # A host goes forward once, unless it failed and somebody wanted that; and back once at the most.
    again = {"retry"} & {word}
    assert again or len(made.ran) == len(set(made.ran))


def test_a_way_back_that_was_aborted_goes_on(tmp_path) -> None:
    made = STATES["goes back"][0](World(tmp_path))
    made.say("abort")
    assert made.end() is State.ABORTED
    made.say("rollback")
    assert made.end() is State.WENT_BACK
    assert len(made.ran) == len(set(made.ran))
    assert {each.removeprefix("back ") for each in made.ran if each.startswith("back")} == {
        each.removeprefix("converge ") for each in made.ran if each.startswith("converge")
    }


@pytest.mark.parametrize(("name", "word"), [("done", "rollback"), ("stopped", "rollback"), ("stopped", "retry")])
def test_what_a_later_rollout_has_brought_is_not_taken_away(tmp_path, name: str, word: Word) -> None:
    world = World(tmp_path)
    made = STATES[name][0](world)
    later = Steered(world, QUIET).until(lambda state, _words, _runs: state is State.DONE)
    with pytest.raises(Refusal, match=f"rollout {later.ident} has been at web-[0-9] since"):
        made.say(word)
    assert made.state.ended
    later.say("rollback")
    assert later.end() is State.WENT_BACK
