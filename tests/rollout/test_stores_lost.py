"""What must not be lost or begun when machines, people and gates come late: in either database."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from deploys.rollout.decide import Ask
from deploys.rollout.model import Answer, Kind, Spec, State, Verdict
from deploys.rollout.plan import HostPlan, Step
from deploys.rollout.store.commands import Commands
from deploys.rollout.store.leases import claim, heard_of, take_over, tell_again
from deploys.rollout.store.plans import plans_of
from deploys.rollout.store.reports import audit, progress
from deploys.rollout.store.rows import HostResult
from deploys.rollout.store.store import Nobody
from tests.rollout.played import new, since
from tests.rollout.test_stores import BUSY, OK, now, started


def gone(store, machine: str) -> None:
    """Nothing was heard of it for long."""
    heard_of(store, machine)
    with store.writing() as db:
        db.execute("UPDATE machine SET seen = '2000-01-01T00:00:00+00:00' WHERE name = ?", (machine,))


@pytest.mark.parametrize("word", ["abort", "pause"])
def test_what_nobody_has_begun_is_not_begun_after_a_word(store, word) -> None:
    ident = store.create(new([[1, 1, 1]], Spec(parallel=3)))
    first, second, _ = started(store, ident)
    assert claim(store, (ident, first.id, first.attempt), "one", now) == first
    Commands(store, "ann").say(ident, word)
    assert claim(store, (ident, second.id, second.attempt), "one", now) is None
    assert claim(store, (ident, first.id, first.attempt), "one", now) == first
    assert ("unit put back", second.key) in {(event, about) for _, _, event, about in audit(store, ident)}
    store.finish(first, dict.fromkeys(first.hosts, OK))
    if word == "pause":
        Commands(store, "ann").say(ident, "resume")
        (again,) = [unit for unit in started(store, ident) if unit.id == second.id]
        assert claim(store, (ident, again.id, again.attempt), "one", now) == again


def test_nor_after_a_failure_that_has_spent_the_budget(store) -> None:
    ident = store.create(new([[1, 1]], Spec(parallel=2)))
    first, second = started(store, ident)
    store.finish(first, {"web-0": HostResult(Verdict.FAILED)})
    assert claim(store, (ident, second.id, second.attempt), "one", now) is None
    assert started(store, ident) == []
    assert store.rollout(ident).state is State.STOPPED


def test_nor_when_the_window_has_closed(store) -> None:
    ident = store.create(new([[1]]))
    (unit,) = started(store, ident)
    assert claim(store, (ident, unit.id, unit.attempt), "one", lambda at: at + timedelta(hours=1)) is None


def test_hosts_of_a_machine_that_is_gone_end_as_unknown_where_nothing_more_begins(store) -> None:
    ident = store.create(new([[1, 1]], Spec(parallel=2)))
    first, second = started(store, ident)
    claim(store, (ident, first.id, first.attempt), "one", now)
    gone(store, "one")
    Commands(store, "ann").say(ident, "abort")
    assert take_over(store, 60) == [f"run {first.key} is given up: one was not heard of for 60 s"]
    claim(store, (ident, second.id, second.attempt), "two", now)
    assert started(store, ident) == []
    assert store.rollout(ident).state is State.ABORTED
    (unwell,) = progress(store, ident).unwell
    assert (unwell.host, unwell.verdict) == ("web-0", "unknown")
    assert "the rollout begins nothing more" in unwell.words


def test_a_host_that_a_lost_machine_may_have_changed_goes_back(store) -> None:
    ident = store.create(new([[1], [1]]))
    (lost,) = started(store, ident)
    claim(store, (ident, lost.id, lost.attempt), "one", now)
    gone(store, "one")
    take_over(store, 60)
    (unit,) = store.running(ident)
    store.finish(unit, dict.fromkeys(unit.hosts, BUSY))
    store.finish(lost, dict.fromkeys(lost.hosts, OK))
    Commands(store, "ann").say(ident, "rollback")
    back = started(store, ident)
    assert [(each.kind, each.hosts) for each in back] == [(Kind.BACK, ("web-0",))]


def test_a_host_that_was_busy_among_others_goes_back_too(store) -> None:
    ident = store.create(new([[2], [1]], Spec(parallel=2)))
    (unit,) = started(store, ident)
    store.finish(unit, {"web-0": OK, "web-1": BUSY})
    Commands(store, "ann").say(ident, "rollback")
    back = started(store, ident)
    assert {name for each in back for name in each.hosts} == {"web-0", "web-1"}


def test_an_answer_to_a_question_of_before_a_retry_does_not_count(store) -> None:
    ident = store.create(new([[1], [1]], Spec(gates=("first", "second"))))
    (unit,) = started(store, ident)
    store.finish(unit, dict.fromkeys(unit.hosts, OK))
    started(store, ident)
    asked = since(store, ident, 0)
    store.answered(ident, 0, "first", Answer.FAIL, "", asked)
    started(store, ident)
    assert store.rollout(ident).state is State.STOPPED
    store.answered(ident, 0, "second", Answer.PASS, "late", asked)
    Commands(store, "ann").say(ident, "retry")
    started(store, ident)
    store.answered(ident, 0, "second", Answer.PASS, "later still", asked)
    asks = [action for action in store.step(ident, now).actions if isinstance(action, Ask)]
    assert [each.gate for each in asks] == ["first", "second"]


@pytest.mark.parametrize("word", ["abort", "pause"])
def test_what_nobody_takes_does_not_keep_a_rollout_after_a_word(store, word) -> None:
    ident = store.create(new([[1, 1, 1]], Spec(parallel=3)))
    first, second, third = started(store, ident)
    claim(store, (ident, first.id, first.attempt), "one", now)
    tell_again(store)
    assert len(store.running(ident)) == 3
    Commands(store, "ann").say(ident, word)
    tell_again(store)
    assert store.running(ident) == [first]
    assert [about for *_, event, about in audit(store, ident) if event == "unit put back"] == [second.key, third.key]
    store.finish(first, dict.fromkeys(first.hosts, OK))
    started(store, ident)
    assert store.rollout(ident).state is (State.ABORTED if word == "abort" else State.PAUSED)


@pytest.mark.parametrize("by", ["claim", "sweep"])
def test_hosts_of_a_cut_off_run_that_nobody_begins_again_end_as_unknown(store, by) -> None:
    ident = store.create(new([[1]]))
    (unit,) = started(store, ident)
    claim(store, (ident, unit.id, unit.attempt), "one", now)
    gone(store, "one")
    take_over(store, 60)
    (again,) = store.running(ident)
    Commands(store, "ann").say(ident, "abort")
    if by == "claim":
        assert claim(store, (ident, again.id, again.attempt), "two", now) is None
    else:
        tell_again(store)
    started(store, ident)
    assert store.rollout(ident).state is State.ABORTED
    (unwell,) = progress(store, ident).unwell
    assert (unwell.host, unwell.verdict) == ("web-0", "unknown")
    assert "an earlier attempt of its run may have changed it" in unwell.words


def test_units_that_wait_for_a_free_worker_are_not_told_with_every_sweep(store) -> None:
    told: list[int] = []
    ident = store.create(new([[1, 1]], Spec(parallel=2)))
    units = started(store, ident)
    store.dispatch = Told(told)
    tell_again(store)
    assert told == []
    with store.writing() as db:
        db.execute("UPDATE unit SET started = '2000-01-01T00:00:00+00:00'")
    for _ in range(3):
        tell_again(store)
    assert told == [unit.id for unit in units]


class Told(Nobody):
    """Notes the units that workers are told of."""

    def __init__(self, told: list[int]) -> None:
        self._told = told

    def start(self, db, units) -> None:  # noqa: ARG002 - as Dispatch
        self._told += [unit.id for unit in units]


def test_a_rollout_of_another_version_does_not_keep_the_units_of_others(store) -> None:
    idents = [store.create(new([[1]], prefix=prefix)) for prefix in ("web", "db")]
    units = [started(store, ident)[0] for ident in idents]
    for unit in units:
        claim(store, (unit.rollout, unit.id, unit.attempt), "one", now)
    gone(store, "one")
    with store.writing() as db:
        db.execute("UPDATE rollout SET spec = ? WHERE id = ?", (json.dumps({"version": 99}), idents[0]))
    first, second = take_over(store, 60)
    assert first.startswith(f"runs that one had of rollout {idents[0]} are left to others: this rollout was begun by")
    assert second.endswith("once more: one was not heard of for 60 s")
    assert store.running(idents[0]) == [units[0]]
    with store.writing() as db:
        db.execute("UPDATE unit SET holder = '', started = '2000-01-01T00:00:00+00:00'")
    tell_again(store)
    assert [len(store.running(ident)) for ident in idents] == [1, 1]


@pytest.mark.parametrize("verdict", [Verdict.UNREACHABLE, Verdict.FAILED])
def test_a_wave_of_which_nobody_was_proved_does_not_pass(store, verdict) -> None:
    spec = Spec(failed=Spec().unreachable, unreachable=Spec().unreachable)
    ident = store.create(new([[1], [10], [10]], spec))
    (unit,) = started(store, ident)
    store.finish(unit, dict.fromkeys(unit.hosts, HostResult(verdict)))
    assert started(store, ident) == []
    assert store.rollout(ident).state is State.STOPPED
    assert progress(store, ident).waves[0].words == "no host of it was proved"


def test_a_host_that_the_plan_says_nothing_of_is_held_to_nothing_at_all(store) -> None:
    plan = HostPlan((Step("files", "Write /etc/motd"),))
    bound = store.create(replace(new([[1]]), plans={"web-9": plan}))
    (unit,) = started(store, bound)
    assert plans_of(store.rows, unit) == {}
    free = store.create(new([[1]], prefix="db"))
    (unit,) = started(store, free)
    assert plans_of(store.rows, unit) is None


def test_who_resumes_has_the_gates_of_the_wave_asked_again(store) -> None:
    ident = store.create(new([[1], [1]], Spec(gates=("first", "second"))))
    (unit,) = started(store, ident)
    store.finish(unit, dict.fromkeys(unit.hosts, OK))
    started(store, ident)
    store.answered(ident, 0, "first", Answer.PASS, "", since(store, ident, 0))
    store.answered(ident, 0, "second", Answer.INCONCLUSIVE, "", since(store, ident, 0))
    started(store, ident)
    assert store.rollout(ident).state is State.PAUSED
    Commands(store, "ann").say(ident, "resume")
    assert [each.gate for each in store.step(ident, now).actions] == ["first", "second"]
    store.answered(ident, 0, "first", Answer.FAIL, "", since(store, ident, 0))
    Commands(store, "ann").say(ident, "pause")
    Commands(store, "ann").say(ident, "resume")
    started(store, ident)
    assert store.rollout(ident).state is State.STOPPED
