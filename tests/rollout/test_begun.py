"""Hosts that were begun and of which nothing is known: they are taken for nothing that they had before."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import timedelta

import pytest

from deploys.refusal import Refusal
from deploys.rollout import begin
from deploys.rollout.begin import ARRIVED, planned
from deploys.rollout.engine.work import Work
from deploys.rollout.local import Local
from deploys.rollout.model import Answer, Kind, Spec, State
from deploys.rollout.place import Place
from deploys.rollout.store.commands import Commands
from deploys.rollout.store.had import arrived
from deploys.rollout.store.leases import claim, take_over
from deploys.rollout.store.rows import Unit
from deploys.rollout.store.sqlite import Sqlite
from deploys.rollout.store.store import Store
from tests.rollout import fleets
from tests.rollout.fleets import PROD, Fleet
from tests.rollout.played import World, new, since
from tests.rollout.test_stores import BUSY, OK, now, started
from tests.rollout.test_stores_lost import gone


def lost(fleet: Fleet, ident: int) -> Unit:
    """The next unit, whose machine is gone; another machine is to begin it."""
    (unit,) = started(fleet.store, ident)
    claim(fleet.store, (ident, unit.id, unit.attempt), "one", now)
    gone(fleet.store, "one")
    take_over(fleet.store, 60)
    (again,) = fleet.store.running(ident)
    return again


def bad_one(fleet: Fleet) -> int:
    """A commit that all hosts have, and one that is begun on them."""
    first = fleet.commit("one")
    fleet.roll(first)
    return fleet.begin(fleet.commit("bad", web="bad", db="bad"), base=first)


@pytest.mark.parametrize("busy", [False, True], ids=["put back", "busy"])
def test_what_a_machine_that_is_gone_has_begun_is_not_left_out_by_the_next_commit(fleet, busy) -> None:
    ident = bad_one(fleet)
    unit = lost(fleet, ident)
    if busy:
        claim(fleet.store, (ident, unit.id, unit.attempt), "two", now)
        fleet.store.finish(unit, dict.fromkeys(unit.hosts, BUSY))
    Commands(fleet.store, "ann").say(ident, "abort")
    if not busy:
        assert claim(fleet.store, (ident, unit.id, unit.attempt), "two", now) is None
    assert fleet.play(ident) is State.ABORTED
    assert set(unit.hosts) <= fleet.due(fleet.commit("Revert bad"))[0]


def test_nor_is_what_is_under_way_now(fleet) -> None:
    ident = bad_one(fleet)
    (unit,) = started(fleet.store, ident)
    meant = fleet.meant(fleet.commit("Revert bad"), since=ARRIVED)
    found = planned(fleet.place, fleet.store, meant)
    assert {name for wave in found.new.waves for name in wave.hosts} == set(unit.hosts)
    assert found.reasons == dict.fromkeys(unit.hosts, f"rollout {ident} was begun on it, and has not ended")


def test_nor_is_a_way_back_that_was_cut_off(fleet) -> None:
    ident = bad_one(fleet)
    fleet.play(ident)
    Commands(fleet.store, "ann").say(ident, "rollback")
    unit = lost(fleet, ident)
    assert unit.kind is Kind.BACK
    Commands(fleet.store, "ann").say(ident, "abort")
    claim(fleet.store, (ident, unit.id, unit.attempt), "two", now)
    assert fleet.play(ident) is State.ABORTED
    assert set(unit.hosts) <= fleet.due(fleet.commit("the same", web="bad", db="bad"))[0]


def test_an_older_rollout_is_not_taken_back_over_what_a_later_one_has_begun(fleet) -> None:
    ident = bad_one(fleet)
    fleet.play(ident)
    later = fleet.begin(fleet.commit("three", web="y", db="y"))
    unit = lost(fleet, later)
    claim(fleet.store, (later, unit.id, unit.attempt), "two", now)
    fleet.store.finish(unit, dict.fromkeys(unit.hosts, BUSY))
    Commands(fleet.store, "ann").say(later, "abort")
    assert fleet.play(later) is State.ABORTED
    with pytest.raises(Refusal, match=f"rollout {later} has been at"):
        Commands(fleet.store, "ann").say(ident, "rollback")


def test_a_copy_that_is_taken_back_adopts_no_run_of_what_came_after_it(tmp_path) -> None:
    world = World(tmp_path / "state", bad={"web-0": "failed"})
    ident = world.begin([[1], [1]])
    assert world.play(ident) is State.STOPPED
    rows, copy = tmp_path / "state/rollouts.sqlite", tmp_path / "copy"
    with sqlite3.connect(rows) as db, sqlite3.connect(copy) as to:
        db.backup(to)
    world.become(0, {})
    Commands(world.store, "ann").say(ident, "retry")
    assert world.play(ident) is State.DONE
    for each in (tmp_path / "state").glob("rollouts.sqlite*"):
        each.unlink()
    shutil.copy(copy, rows)
    world.store = Store(Sqlite(rows))
    Commands(world.store, "ann").say(ident, "rollback")
    assert world.play(ident) is State.WENT_BACK
    assert world.touched(Kind.BACK) == ["web-0"]


def test_what_a_killed_controller_had_not_begun_is_not_begun_after_an_abort(tmp_path) -> None:
    world = World(tmp_path / "state")
    ident = world.begin([[1]])
    assert started(world.store, ident)
    Commands(world.store, "ann").say(ident, "abort")
    assert world.play(ident) is State.ABORTED
    assert world.touched() == []


def test_a_rollback_is_not_undone_by_a_commit_that_was_about_no_host(fleet) -> None:
    ident = bad_one(fleet)
    assert fleet.play(ident) is State.DONE
    docs = fleet.commit("docs", web="bad", db="bad")
    fleet.watched(docs)
    assert arrived(fleet.store, PROD) == docs
    Commands(fleet.store, "ann").say(ident, "rollback")
    assert fleet.play(ident) is State.WENT_BACK
    assert fleet.due(docs)[0] == set()


def test_rows_of_before_an_upgrade_are_taken_for_whole(fleet) -> None:
    old = fleet.commit("old")
    ident = bad_one(fleet)
    Commands(fleet.store, "ann").say(ident, "abort")
    fleet.play(ident)
    bad = fleet.store.rollout(ident).revision
    with fleet.store.writing() as db:
        db.execute("UPDATE rollout SET whole = 2, token = ''")
    assert fleet.due(bad) == (set(), f"{bad[:12]} was rollout {ident}, which is aborted")
    assert "does not follow" in fleet.due(old)[1]


def test_inventories_are_read_once_however_many_commits_hosts_have(fleet, monkeypatch) -> None:
    read = []

    def counted(*given):
        read.append(given)
        return fleet.members(*given)

    monkeypatch.setattr(begin, "members", counted)
    names = tuple(f"h{number}-1" for number in range(12))
    monkeypatch.setattr(fleets, "NAMES", names)
    fleet.roll(fleet.commit("none"))
    says = {}
    for number in range(12):
        says[f"h{number}"] = str(number)
        assert fleet.roll(fleet.commit(str(number), **says), since=ARRIVED) is State.DONE
    read.clear()
    assert fleet.due(fleet.commit("docs", **says))[0] == set()
    assert len(read) == 1


def test_a_host_that_was_only_busy_is_held_to_its_plan_all_the_same(tmp_path, monkeypatch) -> None:
    world = World(tmp_path / "state")
    ident = world.begin([[2]])
    (unit,) = started(world.store, ident)
    world.store.finish(unit, {"web-0": OK, "web-1": BUSY})
    with world.store.writing() as db:
        db.execute("UPDATE unit SET due = ''")
    (again,) = started(world.store, ident)
    assert (again.attempt, again.busy) == (2, 1)
    less = []
    monkeypatch.setattr("deploys.rollout.place.write_hosts", lambda *_, **more: less.append(more["less"]))
    Place._run(world.place, world.store.rollout(ident), again, {})
    assert less == [False]


def test_a_clock_that_is_set_back_does_not_have_gates_asked_without_end(tmp_path, monkeypatch) -> None:
    world = World(tmp_path / "state")
    ident = world.begin([[1]], Spec(gates=("alerts",)))
    (unit,) = started(world.store, ident)
    world.store.finish(unit, dict.fromkeys(unit.hosts, OK))
    started(world.store, ident)
    real = world.store.database.now
    monkeypatch.setattr(world.store.database, "now", lambda db: real(db) - timedelta(hours=1))
    asks = []

    def ask(*_: object) -> tuple[Answer, str]:
        asks.append(1)
        assert len(asks) < 5
        return Answer.PASS, ""

    assert Local(world.store, world.place, ask).play(ident) is State.DONE
    assert len(asks) == 1


def test_an_answer_to_a_question_of_before_a_pause_does_not_count_after_it(tmp_path) -> None:
    world = World(tmp_path / "state")
    ident = world.store.create(new([[1], [1]], Spec(gates=("alerts",))))
    (unit,) = started(world.store, ident)
    world.store.finish(unit, dict.fromkeys(unit.hosts, OK))
    started(world.store, ident)
    asked = since(world.store, ident, 0)
    for word in ("pause", "resume"):
        Commands(world.store, "ann").say(ident, word)
    world.store.answered(ident, 0, "alerts", Answer.PASS, "old", asked)
    assert world.store.rows("SELECT * FROM answer") == []


def taken(tmp_path) -> tuple[World, int, Unit, Work]:
    """A unit that a worker of this machine had taken when it was killed, and the machine's next worker."""
    world = World(tmp_path / "state")
    ident = world.begin([[1]])
    (unit,) = started(world.store, ident)
    work = Work(world.store, world.place, lambda *_: (Answer.PASS, ""), print)
    claim(world.store, (ident, unit.id, unit.attempt), world.place.machine, now)
    return world, ident, unit, work


def test_nor_by_the_next_worker_of_a_machine(tmp_path) -> None:
    world, ident, unit, work = taken(tmp_path)
    Commands(world.store, "ann").say(ident, "abort")
    work._go_on(unit)
    assert started(world.store, ident) == []
    assert (world.store.rollout(ident).state, world.touched()) == (State.ABORTED, [])


def test_what_the_next_worker_has_put_back_is_begun_once(tmp_path) -> None:
    world, ident, unit, work = taken(tmp_path)
    work._go_on(unit)
    (again,) = started(world.store, ident)
    assert (again.attempt, again.token != unit.token) == (unit.attempt, True)
    work.run(ident, again.id, again.attempt)
    # Who still thinks of the one before changes nothing of this one.
    work._go_on(unit)
    assert world.touched() == ["web-0"]
    assert started(world.store, ident) == []
    assert world.store.rollout(ident).state is State.DONE
