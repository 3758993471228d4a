"""What both databases do alike, and what they refuse."""

from __future__ import annotations

import sqlite3
import threading
import time
from datetime import UTC, datetime

import pytest

from deploys.refusal import Refusal
from deploys.rollout.decide import Ask, Start, Wait
from deploys.rollout.model import Answer, Kind, OnFail, Spec, State, Verdict
from deploys.rollout.store.commands import Commands
from deploys.rollout.store.leases import claim, heard_of, held, machines, take_over
from deploys.rollout.store.reports import audit, progress
from deploys.rollout.store.rows import HostResult
from deploys.rollout.store.schema import VERSION, statements
from deploys.rollout.store.sqlite import Sqlite
from deploys.rollout.store.store import Store
from tests.rollout.played import new, since

OK = HostResult(Verdict.OK)
BUSY = HostResult(Verdict.BUSY, words="refused: bob is changing this host")


def now(moment: datetime) -> datetime:
    return moment


def started(store, ident):
    """Go on until something or somebody is waited for; the units that were started."""
    found = []
    while True:
        step = store.step(ident, now)
        found += step.started
        if not step.actions or isinstance(step.actions[0], Wait | Ask):
            return found


def test_a_rollout_from_its_beginning_to_its_end(store) -> None:
    ident = store.create(new([[1], [2]], Spec(parallel=2, gates=("alerts",))))
    for _ in range(2):
        (unit,) = started(store, ident)
        assert store.running(ident) == [unit]
        store.finish(unit, dict.fromkeys(unit.hosts, OK))
        started(store, ident)
        store.answered(ident, unit.wave, "alerts", Answer.PASS, "quiet", since(store, ident, unit.wave))
        store.answered(ident, unit.wave, "alerts", Answer.FAIL, "too late", since(store, ident, unit.wave))
    started(store, ident)
    assert store.rollout(ident).state is State.DONE
    assert [each.id for each in store.rollouts()] == [ident]
    assert store.unfinished() == []
    found = progress(store, ident)
    assert [wave.counts for wave in found.waves] == [{"ok": 1}, {"ok": 2}]
    assert [answer for _, _, answer, _ in found.answers] == ["pass", "pass"]
    events = [event for _, _, event, _ in audit(store, ident)]
    assert events == [
        "begun", "wave 1 open", "unit started", "converge ok", "wave 1 baking", "wave 1 gates", "gate alerts: pass",
        "wave 1 passed", "wave 2 open", "unit started", "converge ok", "converge ok", "wave 2 baking", "wave 2 gates",
        "gate alerts: pass", "wave 2 passed", "done",
    ]  # fmt: skip


def test_a_host_belongs_to_one_rollout_and_a_refused_one_leaves_nothing(store) -> None:
    first = store.create(new([[2]]))
    with pytest.raises(Refusal, match=rf"web-0 is in rollout {first} of ann@ctl \(a test\), which is running: wait"):
        store.create(new([[1]]))
    assert len(store.rollouts()) == 1
    Commands(store, "bob").say(first, "abort")
    started(store, first)
    assert store.rollout(store.create(new([[1]]))).state is State.RUNNING


def test_of_two_who_begin_at_once_one_is_refused(store) -> None:
    refused, made = [], []

    def begin() -> None:
        try:
            made.append(store.create(new([[200]])))
        except Refusal as refusal:
            refused.append(str(refusal))

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 3), refused
    assert all("web-0 is in rollout" in each for each in refused)


def test_what_is_decided_at_once_is_started_once(store) -> None:
    ident = store.create(new([[1] * 6], Spec(parallel=6)))
    found = []
    threads = [threading.Thread(target=lambda: found.extend(started(store, ident))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(unit.key for unit in found) == sorted({unit.key for unit in found})
    assert len(found) == 6


def test_a_unit_is_finished_once_and_by_its_last_attempt_alone(store) -> None:
    ident = store.create(new([[1]]))
    (unit,) = started(store, ident)
    assert claim(store, (ident, unit.id, unit.attempt), "one", now) == unit
    assert claim(store, (ident, unit.id, unit.attempt), "two", now) is None
    assert claim(store, (ident, unit.id, unit.attempt), "one", now) == unit
    assert held(store, "one") == [unit]
    heard_of(store, "one")
    assert machines(store, 60) == ["one"]
    assert take_over(store, 60) == []
    assert take_over(store, 0) == [f"run {store.running(ident)[0].key}, once more: one was not heard of for 0 s"]
    assert held(store, "one") == []
    store.finish(unit, {"web-0": HostResult(Verdict.FAILED)})
    (again,) = store.running(ident)
    assert again.attempt == 2
    store.finish(again, {"web-0": OK})
    store.finish(again, {"web-0": HostResult(Verdict.FAILED)})
    assert [wave.counts for wave in progress(store, ident).waves] == [{"ok": 1}]


def test_hosts_that_somebody_else_is_changing_are_asked_again_later(store) -> None:
    ident = store.create(new([[3]]))
    (unit,) = started(store, ident)
    store.finish(unit, {"web-0": OK, "web-1": BUSY, "web-2": OK})
    assert [wave.counts for wave in progress(store, ident).waves] == [{"ok": 2}]
    view, moment = store.view(ident, now)
    assert 0 < (view.waves[0].later - moment).total_seconds() <= 0.5
    assert started(store, ident) == []
    # Its attempts are counted on: what was begun once is not left out of a way back.
    for attempt in range(2, 5):
        (again,) = _waited(store, ident)
        assert (again.hosts, again.attempt) == (("web-1",), attempt)
        store.finish(again, {"web-1": BUSY})
    assert [wave.counts for wave in progress(store, ident).waves] == [{"ok": 2, "failed": 1}]
    assert progress(store, ident).unwell[0].words == "refused: bob is changing this host\nit was so 4 times"


def _waited(store, ident):
    while not (found := started(store, ident)):
        time.sleep(0.1)
    return found


def test_a_host_that_was_tried_twice_goes_back_once(store) -> None:
    ident = store.create(new([[2]], Spec(on_fail=OnFail.STOP)))
    (unit,) = started(store, ident)
    store.finish(unit, {"web-0": OK, "web-1": HostResult(Verdict.FAILED, words="no")})
    started(store, ident)
    say = Commands(store, "bob@ctl").say
    assert say(ident, "retry") == "1 host of wave 1 once more"
    (again,) = started(store, ident)
    store.finish(again, {"web-1": OK})
    started(store, ident)
    say(ident, "rollback")
    back = started(store, ident)
    assert [(unit.kind, unit.hosts) for unit in back] == [(Kind.BACK, ("web-0", "web-1"))]


def test_people_are_refused_what_makes_no_sense(store) -> None:
    ident = store.create(new([[1]]))
    say = Commands(store, "bob@ctl").say
    with pytest.raises(Refusal, match="there is no rollout 99"):
        say(99, "pause")
    started(store, ident)
    with pytest.raises(Refusal, match="waits for no approval"):
        say(ident, "approve")
    say(ident, "pause")
    assert isinstance(store.step(ident, now).actions[0], Wait)
    say(ident, "resume")
    assert not any(isinstance(action, Start) for action in store.step(ident, now).actions)


def test_a_rollout_of_another_version_is_refused(store) -> None:
    ident = store.create(new([[1]]))
    with store.writing(ident) as db:
        db.execute("UPDATE rollout SET spec = ? WHERE id = ?", ('{"version": 99}', ident))
    with pytest.raises(Refusal, match=r"begun by another version of Photon Fleet \(specification 99, here 1\)"):
        store.rollout(ident)
    with pytest.raises(Refusal, match="begun by another version"):
        store.step(ident, now)
    # What needs none of its specification goes on.
    assert [each.id for each in store.rollouts()] == [ident]
    assert progress(store, ident).hosts == 1


def test_a_database_of_a_newer_version_is_refused(store) -> None:
    with store.writing() as db:
        db.execute("UPDATE meta SET version = ?", (VERSION + 1,))
    with pytest.raises(Refusal, match=rf"written by a newer Photon Fleet \(schema {VERSION + 1}, here {VERSION}\)"):
        Store(store.database)


def test_a_file_of_the_first_version_is_brought_to_this_one(tmp_path) -> None:
    path = tmp_path / "rollouts.sqlite"
    db = sqlite3.connect(path)
    for statement in statements(0)[: len(statements(0)) - len(statements(1))]:
        db.execute(statement)
    db.execute("INSERT INTO meta VALUES (1)")
    db.commit()
    db.close()
    store = Store(Sqlite(path))
    ident = store.create(new([[1]]))
    assert len(started(store, ident)) == 1
    assert store.rows("SELECT version FROM meta")[0][0] == VERSION
    assert Store(Sqlite(path)).now() <= datetime.now(UTC)
