"""What a rollout does next: played to its end on plain values, with whatever may happen to hosts and gates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from deploys.rollout.decide import Ask, Become, Enter, Start, Wait, decide, spent
from deploys.rollout.model import Answer, Budget, OnFail, Spec, State, Verdict, View, WaveState, WaveView

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """A rollout that is played: units of three hosts, whose verdicts and gates come from outside."""

    view: View
    verdicts: list[Verdict]
    answers: list[Answer]
    now: datetime = NOW
    touched: list[tuple[int, int]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def play(self, most: int = 2000) -> None:
        for _ in range(most):
            actions = decide(self.view, self.now)
            if not actions:
                return
            for action in actions:
                self.do(action)
            if all(isinstance(action, Wait) for action in actions) and not self.tick(actions[0]):
                return
        raise AssertionError("it does not end")

    def tick(self, wait: Wait) -> bool:
        """Something happens: a unit ends, or time passes. Nothing: a person is waited for."""
        for wave in self.view.waves:
            if wave.running:
                self.end(wave, wave.running[0])
                return True
        if wait.until is not None:
            self.now = max(self.now + timedelta(seconds=1), wait.until)
            return True
        return False

    def wave(self, number: int, **changes: object) -> None:
        waves = list(self.view.waves)
        waves[number] = replace(waves[number], **changes)
        self.view = replace(self.view, waves=tuple(waves))

    def end(self, wave: WaveView, unit: int) -> None:
        running = tuple(each for each in wave.running if each != unit)
        if self.view.state is State.BACK:
            self.wave(wave.number, running=running)
            return
        counts = dict(wave.counts)
        for _ in range(3):
            verdict = self.verdicts.pop() if self.verdicts else Verdict.OK
            counts[verdict] = counts.get(verdict, 0) + 1
        self.wave(wave.number, running=running, counts=counts)

    def do(self, action: object) -> None:
        match action:
            case Start(unit):
                wave = next(each for each in self.view.waves if unit in (*each.pending, *each.back_pending))
                self.touched.append((wave.number, unit))
                assert self.view.running < self.view.spec.parallel
                if self.view.state is not State.BACK:
                    self.may_begin(wave)
                self.wave(
                    wave.number, running=(*wave.running, unit),
                    pending=tuple(each for each in wave.pending if each != unit),
                    back_pending=tuple(each for each in wave.back_pending if each != unit),
                )  # fmt: skip
            case Ask(number, gate):
                answer = self.answers.pop() if self.answers else Answer.PASS
                self.wave(number, answers={**self.view.waves[number].answers, gate: answer})
            case Enter(number, state, _):
                back = tuple(range(number * 100 + 50, number * 100 + 52)) if state is WaveState.BACK else ()
                self.wave(number, state=state, since=self.now, back_pending=back)
                self.log.append(f"{number} {state}")
            case Become(state, _):
                self.view = replace(self.view, state=state)
                self.log.append(str(state))

    def may_begin(self, wave: WaveView) -> None:
        """What must be so when a host is touched."""
        earlier = self.view.waves[: wave.number]
        assert all(each.state is WaveState.PASSED for each in earlier)
        assert all(each.answers.get(gate) is Answer.PASS for each in earlier for gate in self.view.spec.gates)
        assert not spent(self.view, wave)
        assert self.view.opens is not None
        assert self.view.opens <= self.now
        assert wave.number not in self.view.spec.approvals or wave.approved


def world(spec: Spec, sizes: list[int], verdicts: list[Verdict], answers: list[Answer], **more: object) -> World:
    waves = tuple(
        WaveView(number=number, hosts=units * 3, state=WaveState.WAITING, since=NOW,
                 pending=tuple(number * 100 + unit for unit in range(units)))
        for number, units in enumerate(sizes)
    )  # fmt: skip
    return World(View(spec=spec, state=State.RUNNING, waves=waves, opens=NOW, **more), verdicts, answers)


BUDGETS = st.builds(
    Budget,
    wave=st.none() | st.integers(0, 4), wave_percent=st.none() | st.floats(0, 100),
    whole=st.none() | st.integers(0, 6), whole_percent=st.none() | st.floats(0, 100),
)  # fmt: skip
SPECS = st.builds(
    Spec,
    gates=st.sampled_from([(), ("alerts",), ("alerts", "web answers")]),
    bake_seconds=st.sampled_from([(0.0,), (0.0, 60.0)]),
    parallel=st.integers(1, 3), failed=BUDGETS, unreachable=BUDGETS, on_fail=st.sampled_from(list(OnFail)),
)  # fmt: skip


@settings(max_examples=150)
@given(
    spec=SPECS,
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    verdicts=st.lists(st.sampled_from([Verdict.OK, Verdict.OK, Verdict.OK, *Verdict]), max_size=30),
    answers=st.lists(st.sampled_from([Answer.PASS, Answer.PASS, *Answer]), max_size=6),
)
def test_no_host_of_a_later_wave_is_touched_before_the_earlier_gates_have_passed(
    spec, sizes, verdicts, answers
) -> None:
    played = world(spec, sizes, verdicts, answers)
    played.play()
    view = played.view
    if view.state is State.PAUSED:
        assert any(Answer.INCONCLUSIVE in wave.answers.values() for wave in view.waves)
        return
    assert view.state.ended
    assert view.running == 0
    units = [unit for _, unit in played.touched]
    assert len(units) == len(set(units)), "a unit was started twice"
    if view.state is State.DONE:
        assert all(wave.state is WaveState.PASSED and not wave.pending for wave in view.waves)
        assert not any(spent(view, wave) for wave in view.waves)
    else:
        assert "failed" in " ".join(played.log)


@settings(max_examples=50)
@given(
    spec=SPECS, sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    verdicts=st.lists(st.sampled_from(list(Verdict)), max_size=20), moment=st.integers(0, 12),
)  # fmt: skip
def test_abort_ends_it_and_begins_nothing_more(spec, sizes, verdicts, moment) -> None:
    played = world(spec, sizes, verdicts, [])
    for _ in range(moment):
        for action in decide(played.view, played.now):
            played.do(action)
        for wave in played.view.waves:
            if wave.running:
                played.end(wave, wave.running[0])
                break
    if played.view.state.ended:
        return
    played.view = replace(played.view, abort=True)
    before = len(played.touched)
    played.play()
    assert played.view.state is State.ABORTED
    assert len(played.touched) == before
    assert played.view.running == 0


def states(played: World) -> list[str]:
    played.play()
    return played.log


def test_the_simplest_rollout() -> None:
    assert states(world(Spec(gates=("alerts",)), [1, 2], [], [])) == [
        "0 open", "0 baking", "0 gates", "0 passed", "1 open", "1 baking", "1 gates", "1 passed", "done",
    ]  # fmt: skip


def test_a_bad_canary_stops_it_and_the_rest_is_never_touched() -> None:
    played = world(Spec(), [1, 5], [Verdict.FAILED], [])
    assert states(played) == ["0 open", "0 failed", "stopped"]
    assert {wave for wave, _ in played.touched} == {0}


def test_all_go_back_the_last_wave_first() -> None:
    spec = Spec(gates=("alerts",), on_fail=OnFail.BACK_ALL)
    played = world(spec, [1, 1, 1], [], [Answer.FAIL, Answer.PASS])
    assert states(played)[-6:] == ["1 failed", "going back", "1 going back", "1 ended", "0 going back", "0 ended"] or (
        played.log[-1] == "went back"
    )
    assert played.log[-7:] == [
        "1 failed", "going back", "1 going back", "1 ended", "0 going back", "0 ended", "went back",
    ]  # fmt: skip
    assert {wave for wave, _ in played.touched} == {0, 1}


def test_only_the_wave_goes_back_where_that_is_said() -> None:
    played = world(Spec(on_fail=OnFail.BACK_WAVE), [1, 1], [Verdict.FAILED, *[Verdict.OK] * 3], [])
    assert states(played)[-4:] == ["going back", "1 going back", "1 ended", "went back"]


def test_unreachable_hosts_have_a_budget_of_their_own() -> None:
    spec = Spec(unreachable=Budget(wave=1))
    assert states(world(spec, [1], [Verdict.UNREACHABLE], []))[-1] == "done"
    assert states(world(spec, [1], [Verdict.UNREACHABLE] * 2, []))[-1] == "stopped"
    words = [action.words for action in decide_at_the_end(spec, [Verdict.UNREACHABLE] * 2)]
    assert words == ["unreachable: 2 of the 3 hosts of the wave, of which 1 may"]


def decide_at_the_end(spec: Spec, verdicts: list[Verdict]) -> list[Enter]:
    played = world(spec, [1], verdicts, [])
    while True:
        actions = decide(played.view, played.now)
        found = [action for action in actions if isinstance(action, Enter) and action.state is WaveState.FAILED]
        if found:
            return found
        for action in actions:
            played.do(action)
        if isinstance(actions[0], Wait):
            played.tick(actions[0])


def test_an_inconclusive_gate_asks_a_person() -> None:
    played = world(Spec(gates=("alerts",)), [1, 1], [], [Answer.INCONCLUSIVE])
    played.play()
    assert played.view.state is State.PAUSED
    assert decide(played.view, played.now) == [Wait(None, "somebody who says resume or abort")]


def test_a_wave_waits_for_its_approval_and_its_window() -> None:
    played = world(Spec(approvals=frozenset({1})), [1, 1], [], [])
    played.play()
    assert decide(played.view, played.now) == [Wait(None, "approval of wave 2")]
    later = played.now + timedelta(hours=3)
    played.wave(1, approved=True)
    played.view = replace(played.view, opens=later)
    assert decide(played.view, played.now) == [Wait(later, "a window")]
    played.play()
    assert played.now >= later
    assert played.view.state is State.DONE


def test_a_window_that_closes_lets_what_runs_end_and_begins_nothing_more() -> None:
    played = world(Spec(), [2], [], [])
    for action in [*decide(played.view, played.now)]:
        played.do(action)
    played.do(decide(played.view, played.now)[0])
    played.view = replace(played.view, opens=NOW + timedelta(days=1))
    assert decide(played.view, played.now) == [Wait(None, "units that run")]
    played.end(played.view.waves[0], played.view.waves[0].running[0])
    assert decide(played.view, played.now) == [Wait(NOW + timedelta(days=1), "a window")]
