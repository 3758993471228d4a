"""Rollouts as rows. Every change is one transaction with its line of audit, on the disk before the call returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from deploys.refusal import Refusal
from deploys.rollout.decide import Action, decide
from deploys.rollout.model import Answer, Kind, State, UnitState, View, WaveState
from deploys.rollout.store.database import Connection, Database, Row
from deploys.rollout.store.had import held_by
from deploys.rollout.store.outbox import Event, on_approval, told, wanted
from deploys.rollout.store.plans import plan_rows
from deploys.rollout.store.rows import Backoff, HostResult, New, Rollout, Unit, rollout_of, spec_to_text, unit_of
from deploys.rollout.store.view import view_of
from deploys.rollout.store.write import add_units, apply, audited, finish, lock, new_token, put_back

Opens = Callable[[datetime], datetime | None]
"""When a rollout may go on by its windows."""


class Dispatch(Protocol):
    """Tells those who work that there is work: in the transaction that makes it, or not at all."""

    def start(self, db: Connection, units: Sequence[Unit]) -> None:
        """Units are to be carried out."""

    def wake(self, db: Connection, ident: int) -> None:
        """A rollout may go on."""


class Nobody:
    """Who works looks by itself: there is one controller."""

    def start(self, db: Connection, units: Sequence[Unit]) -> None:
        """Nothing."""

    def wake(self, db: Connection, ident: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Step:
    """What was decided and written down, and the units that are to be carried out."""

    state: State
    actions: Sequence[Action]
    started: Sequence[Unit]
    now: datetime
    since: Mapping[int, datetime] = field(default_factory=dict)
    """Of each wave: when it came into its state."""


class Store:
    """The rollouts of a repository.

    Raises:
        Refusal: the database is of another version, or cannot be written.
    """

    def __init__(self, database: Database, dispatch: Dispatch | None = None, backoff: Backoff | None = None) -> None:
        self.database = database
        self.dispatch = dispatch or Nobody()
        self._backoff = backoff or Backoff()
        database.prepare()

    def writing(self, rollout: int | None = None) -> AbstractContextManager[Connection]:
        """A transaction; while it lasts nobody else writes to the rollout."""
        return self.database.writing(rollout)

    def rows(self, query: str, *values: Any) -> list[Row]:  # noqa: ANN401 - what a database takes
        """What a query finds."""
        with self.database.reading() as db:
            return db.execute(query, values).fetchall()

    def now(self) -> datetime:
        """The time that everybody goes by, in UTC."""
        with self.database.reading() as db:
            return self.database.now(db)

    def create(self, new: New) -> int:
        """Write a rollout down; its hosts are nobody else's until it has ended.

        Raises:
            Refusal: a host is in another rollout that has not ended, or the commit is held.
        """
        with self.writing() as db:
            if not new.again and (words := held_by(db, new.inventory, new.revision)):
                raise Refusal(words)
            at = self.database.now(db)
            when = at.isoformat()
            ident: int = db.execute(
                "INSERT INTO rollout (created, inventory, revision, base, who, why, spec, calendar, state, since,"
                " token, whole) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    when, new.inventory, new.revision, new.base, new.who, new.why, spec_to_text(new.spec), new.calendar,
                    State.RUNNING, when, new_token(), int(new.whole),
                ),
            ).fetchone()["id"]  # fmt: skip
            for number, wave in enumerate(new.waves):
                db.execute(
                    "INSERT INTO wave (rollout, number, name, hosts, state, since) VALUES (?, ?, ?, ?, ?, ?)",
                    (ident, number, wave.name, len(wave.hosts), WaveState.WAITING, when),
                )
                add_units(db, ident, number, Kind.CONVERGE, wave.units)
                rows = [(ident, name, number) for name in wave.hosts]
                db.executemany("INSERT INTO host (rollout, name, wave) VALUES (?, ?, ?)", rows)
            db.executemany("INSERT INTO plan (rollout, name, plan) VALUES (?, ?, ?)", plan_rows(ident, new.plans))
            lock(db, ident)
            audited(db, ident, at, new.who, "begun", new.why)
            wanted(db, ident, dict(new.webhooks))
            told(db, ident, Event.BEGUN, "", at)
            on_approval(db, ident, 0, at)
            self.dispatch.wake(db, ident)
            return ident

    def rollout(self, ident: int) -> Rollout:
        """A rollout that this version can carry out.

        Raises:
            Refusal: there is none of that number, or another version has begun it.
        """
        found = self.known(ident)
        _ = found.spec
        return found

    def known(self, ident: int) -> Rollout:
        """A rollout, whichever version has begun it.

        Raises:
            Refusal: there is none of that number.
        """
        rows = self.rows("SELECT * FROM rollout WHERE id = ?", ident)
        if not rows:
            message = f"there is no rollout {ident}"
            raise Refusal(message)
        return rollout_of(rows[0])

    def rollouts(self, most: int = 20) -> list[Rollout]:
        """The newest ones first."""
        return [rollout_of(row) for row in self.rows("SELECT * FROM rollout ORDER BY id DESC LIMIT ?", most)]

    def unfinished(self) -> list[int]:
        """The numbers of those that have not ended, the oldest first."""
        ended = [state for state in State if state.ended]
        query = f"SELECT id FROM rollout WHERE state NOT IN ({', '.join('?' * len(ended))}) ORDER BY id"  # noqa: S608 - marks
        return [row["id"] for row in self.rows(query, *ended)]

    def view(self, ident: int, opens: Opens) -> tuple[View, datetime]:
        """A rollout as it is, and when that was."""
        with self.database.reading() as db:
            now = self.database.now(db)
            return view_of(db, ident, opens(now), now), now

    def step(self, ident: int, opens: Opens) -> Step:
        """Decide what is next, and write it down: one transaction, as people and other controllers write too."""
        with self.writing(ident) as db:
            now = self.database.now(db)
            view = view_of(db, ident, opens(now), now)
            actions = decide(view, now)
            started = apply(db, ident, actions, now)
            if started:
                self.dispatch.start(db, started)
            return Step(view.state, actions, started, now, {wave.number: wave.since for wave in view.waves})

    def running(self, ident: int) -> list[Unit]:
        """The units that are under way, also those whose controller has died."""
        rows = self.rows("SELECT * FROM unit WHERE rollout = ? AND state = ?", ident, UnitState.RUNNING)
        return [unit_of(row) for row in rows]

    def put_back(self, unit: Unit) -> None:
        """Have a unit that was started, and that nobody has begun, to come again."""
        with self.writing(unit.rollout) as db:
            if put_back(db, unit, self.database.now(db)):
                self.dispatch.wake(db, unit.rollout)

    def finish(self, unit: Unit, results: Mapping[str, HostResult]) -> None:
        """Write down what came of a unit; a second time changes nothing."""
        with self.writing(unit.rollout) as db:
            self.finish_within(db, unit, results)

    def finish_within(self, db: Connection, unit: Unit, results: Mapping[str, HostResult]) -> None:
        """The same within a transaction of its rollout's."""
        if finish(db, unit, results, self.database.now(db), self._backoff):
            self.dispatch.wake(db, unit.rollout)

    def answered(self, ident: int, wave: int, gate: str, answer: Answer, words: str, since: datetime) -> None:
        """Write down what a gate says; the first answer counts, and none to a question of before a retry or resume.

        `since` is when the wave had come to its gates when it was asked (`Step`).
        """
        with self.writing(ident) as db:
            at = self.database.now(db)
            row = db.execute("SELECT state, since FROM wave WHERE rollout = ? AND number = ?", (ident, wave)).fetchone()
            if row["state"] != WaveState.GATES or datetime.fromisoformat(row["since"]) != since:
                return
            done = db.execute(
                "INSERT INTO answer (rollout, wave, gate, answer, words, at) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (rollout, wave, gate) DO NOTHING",
                (ident, wave, gate, answer, words, at.isoformat()),
            )
            if done.rowcount == 1:
                audited(db, ident, at, "", f"gate {gate}: {answer}", words)
                self.dispatch.wake(db, ident)
