"""Who waits for what another one holds, on PostgreSQL: not for good, and nobody else waits with it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import psycopg
import pytest

from deploys.rollout.engine.procrastinate import Jobs
from deploys.rollout.engine.shared import store_at
from deploys.rollout.model import Kind, State
from deploys.rollout.store import postgres
from deploys.rollout.store.commands import Commands
from deploys.rollout.store.database import Locked, Unanswered
from deploys.rollout.store.postgres import Postgres
from deploys.rollout.store.rows import Unit
from tests.rollout.played import ROOT, new


def test_who_holds_what_another_asks_for_is_told_and_loses_nothing(prepared, monkeypatch) -> None:
    monkeypatch.setitem(postgres._SESSION, "lock_timeout", "200ms")
    first, second = store_at(prepared), store_at(prepared)
    ident = first.create(new([[1]]))
    with first.writing(ident) as db:
        db.execute("UPDATE rollout SET why = 'held' WHERE id = ?", (ident,))
        with pytest.raises(Locked, match="somebody else has held for too long what this was to change"):
            Commands(second, "ann").say(ident, "pause")
    assert first.rollout(ident).why == "held"
    assert first.rollout(ident).state is State.RUNNING
    Commands(second, "ann").say(ident, "pause")


def test_what_a_machine_holds_that_was_cut_off_is_let_go(prepared, monkeypatch) -> None:
    monkeypatch.setitem(postgres._SESSION, "idle_in_transaction_session_timeout", "200ms")
    first, second = store_at(prepared), store_at(prepared)
    ident = first.create(new([[1]]))

    def cut_off() -> None:
        with first.writing(ident) as db:
            db.execute("UPDATE rollout SET why = 'lost' WHERE id = ?", (ident,))
            Commands(second, "ann").say(ident, "pause")

    with pytest.raises(Unanswered, match="idle-in-transaction timeout"):
        cut_off()
    found = first.rollout(ident)
    assert (found.why, found.state) == ("a test", State.PAUSED)


def test_what_the_address_says_of_waiting_counts(prepared) -> None:
    names = ("lock_timeout", "idle_in_transaction_session_timeout")
    settings = "SELECT setting FROM pg_settings WHERE name IN (?, ?) ORDER BY name DESC"
    for more, expected in (("", ["10000", "30000"]), ("&options=-c%20lock_timeout%3D7", ["7", "30000"])):
        with Postgres(prepared + more).reading() as db:
            assert [row[0] for row in db.execute(settings, names)] == expected
    assert "tcp_user_timeout=7 " in f"{Postgres('postgresql://db/fleet?tcp_user_timeout=7').conninfo} "
    assert "keepalives_idle=10" in Postgres("postgresql://db/fleet").conninfo


def test_a_worker_waits_as_greenlets_do_and_who_only_looks_needs_none(prepared) -> None:
    worker = (
        "from deploys.rollout.engine import cli; cli.worker_store(sys.argv[1])\n"
        "import psycopg; print(psycopg.waiting.wait.__name__)"
    )
    looks = (
        "import deploys.rollout.steer, deploys.rollout.engine.cli; from deploys.rollout.engine import shared\n"
        "shared.store_at(sys.argv[1]).rollouts(); print('gevent' in sys.modules)"
    )
    for program, expected in ((worker, "wait_poll"), (looks, "False")):
        words = [sys.executable, "-c", f"import sys\n{program}", prepared]
        assert subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip() == expected


def test_a_unit_whose_word_still_waits_is_not_told_twice(prepared) -> None:
    unit = Unit(1, 1, 0, Kind.CONVERGE, 1, ("web-0",))
    for units in ([unit], [unit, replace(unit, id=2)], [unit]):
        with Postgres(prepared).writing() as db:
            Jobs().start(db, units)
    with psycopg.connect(prepared) as db:
        assert db.execute("SELECT args ->> 'number' FROM procrastinate_jobs ORDER BY id").fetchall() == [("1",), ("2",)]
