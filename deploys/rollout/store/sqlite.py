"""Rollouts in a file of SQLite: one controller on one machine, and nothing to set up.

Every change is one transaction with its line of audit, on the disk before the call returns.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from deploys.refusal import Refusal
from deploys.rollout.decide import Action, Ask, Become, Enter, Start
from deploys.rollout.model import Answer, Kind, State, UnitState, Verdict, View, WaveState, WaveView
from deploys.rollout.store.outbox import Event, on_approval, on_state, on_wave, told, wanted
from deploys.rollout.store.policies import reported
from deploys.rollout.store.rows import HostResult, New, Rollout, Unit, spec_from_text, spec_to_text

SCHEMA = Path(__file__).with_name("schema.sql")
VERSION = 2
BUSY_SECONDS = 30
_LOADED = 16
"""Units that are to come are read by so many more than may run at once."""


class Store:
    """The rollouts of a state directory.

    Raises:
        Refusal: the file is of another version, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(self.connect()) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                for statement in SCHEMA.read_text().split(";\n"):
                    db.execute(statement)
                db.execute("INSERT INTO meta VALUES (?)", (VERSION,))
            found = db.execute("SELECT version FROM meta").fetchone()[0]
            db.execute("COMMIT")
        if found != VERSION:
            message = f"{path} was written by another version of Photon Fleet ({found}, here {VERSION})"
            raise Refusal(message)

    def connect(self) -> sqlite3.Connection:
        """A connection of its own."""
        db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        return db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction."""
        with closing(self.connect()) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:  # noqa: ANN401 - what SQLite takes
        """What a query finds."""
        with closing(self.connect()) as db:
            return db.execute(query, values).fetchall()

    def create(self, new: New, at: datetime) -> int:
        """Write a rollout down; its hosts are nobody else's until it has ended.

        Raises:
            Refusal: a host is in another rollout that has not ended.
        """
        when = at.isoformat()
        with self.writing() as db:
            ident = db.execute(
                "INSERT INTO rollout (created, inventory, revision, base, who, why, spec, calendar, state, since)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (when, new.inventory, new.revision, new.base, new.who, new.why, spec_to_text(new.spec), new.calendar,
                 State.RUNNING, when),
            ).lastrowid  # fmt: skip
            assert ident is not None  # noqa: S101 - for the type checker
            for number, wave in enumerate(new.waves):
                db.execute(
                    "INSERT INTO wave (rollout, number, name, hosts, state, since) VALUES (?, ?, ?, ?, ?, ?)",
                    (ident, number, wave.name, len(wave.hosts), WaveState.WAITING, when),
                )
                add_units(db, ident, number, Kind.CONVERGE, wave.units)
                rows = [(ident, name, number) for name in wave.hosts]
                db.executemany("INSERT INTO host (rollout, name, wave) VALUES (?, ?, ?)", rows)
            lock(db, ident, [name for wave in new.waves for name in wave.hosts])
            audited(db, ident, at, new.who, "begun", new.why)
            wanted(db, ident, dict(new.webhooks))
            told(db, ident, Event.BEGUN, "", at)
            on_approval(db, ident, 0, at)
            return ident

    def rollout(self, ident: int) -> Rollout:
        """A rollout.

        Raises:
            Refusal: there is none of that number.
        """
        rows = self.rows("SELECT * FROM rollout WHERE id = ?", ident)
        if not rows:
            message = f"there is no rollout {ident}"
            raise Refusal(message)
        return _rollout(rows[0])

    def rollouts(self, most: int = 20) -> list[Rollout]:
        """The newest ones first."""
        return [_rollout(row) for row in self.rows("SELECT * FROM rollout ORDER BY id DESC LIMIT ?", most)]

    def view(self, ident: int, opens: datetime | None) -> View:
        """What is decided from: of units that are to come, only the next ones.

        Args:
            ident: the rollout.
            opens: when its windows let it go on.
        """
        with closing(self.connect()) as db:
            db.execute("BEGIN")
            row = db.execute("SELECT * FROM rollout WHERE id = ?", (ident,)).fetchone()
            spec = spec_from_text(row["spec"])
            waves = db.execute("SELECT * FROM wave WHERE rollout = ? ORDER BY number", (ident,)).fetchall()
            most = spec.parallel + _LOADED
            views = tuple(_wave(db, wave, most) for wave in waves)
            return View(spec, State(row["state"]), views, opens, abort=bool(row["abort"]))

    def apply(self, ident: int, actions: Sequence[Action], at: datetime) -> list[Unit]:
        """Write down what was decided; returns the units that are to be started now."""
        started = []
        with self.writing() as db:
            for action in actions:
                match action:
                    case Start(unit):
                        started.append(_start(db, unit, at))
                        audited(db, ident, at, "", "unit started", f"{started[-1].key}: {' '.join(started[-1].hosts)}")
                    case Enter(number, state, words):
                        enter(db, ident, number, state, words, at)
                        audited(db, ident, at, "", f"wave {number + 1} {state}", words)
                    case Become(state, words):
                        become(db, ident, state, words, at)
                        audited(db, ident, at, "", state, words)
                    case Ask():
                        pass
        return started

    def running(self, ident: int) -> list[Unit]:
        """The units that are under way, also those whose controller has died."""
        rows = self.rows("SELECT * FROM unit WHERE rollout = ? AND state = ?", ident, UnitState.RUNNING)
        return [_unit(row) for row in rows]

    def finish(self, unit: Unit, results: Mapping[str, HostResult], at: datetime) -> None:
        """Write down what came of a unit; a second time changes nothing."""
        column, words = ("back", "back_words") if unit.kind is Kind.BACK else ("verdict", "words")
        with self.writing() as db:
            done = db.execute(
                "UPDATE unit SET state = ?, ended = ? WHERE id = ? AND attempt = ? AND state = ?",
                (UnitState.DONE, at.isoformat(), unit.id, unit.attempt, UnitState.RUNNING),
            )
            if done.rowcount != 1:
                return
            nothing = HostResult(Verdict.UNKNOWN, words="the run ended without a word on it")
            found = {name: results.get(name, nothing) for name in unit.hosts}
            for name, result in found.items():
                db.execute(
                    f"UPDATE host SET {column} = ?, changes = ?, {words} = ? WHERE rollout = ? AND name = ?",  # noqa: S608 - ours
                    (result.verdict, result.changes, result.words, unit.rollout, name),
                )
                audited(db, unit.rollout, at, "", f"{unit.kind} {result.verdict}", name)
            reported(db, unit, found, at)

    def answered(self, ident: int, wave: int, gate: str, answer: Answer, words: str, at: datetime) -> None:
        """Write down what a gate says."""
        with self.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?)",
                (ident, wave, gate, answer, words, at.isoformat()),
            )
            audited(db, ident, at, "", f"gate {gate}: {answer}", words)


def add_units(db: sqlite3.Connection, ident: int, wave: int, kind: Kind, units: Sequence[Sequence[str]]) -> None:
    """Units that are to come."""
    db.executemany(
        "INSERT INTO unit (rollout, wave, kind, state, hosts) VALUES (?, ?, ?, ?, ?)",
        [(ident, wave, kind, UnitState.PENDING, json.dumps(list(unit))) for unit in units],
    )


def lock(db: sqlite3.Connection, ident: int, names: Sequence[str]) -> None:
    """Take hosts for a rollout.

    Raises:
        Refusal: another one has one of them.
    """
    for name in names:
        try:
            db.execute("INSERT INTO host_lock VALUES (?, ?)", (name, ident))
        except sqlite3.IntegrityError:
            query = "SELECT rollout.* FROM rollout JOIN host_lock ON rollout.id = rollout WHERE host_lock.name = ?"
            other = db.execute(query, (name,)).fetchone()
            message = (
                f"{name} is in rollout {other['id']} of {other['who']} ({other['why']}), which is {other['state']}: "
                "wait for its end, or abort it"
            )
            raise Refusal(message) from None


def _start(db: sqlite3.Connection, unit: int, at: datetime) -> Unit:
    db.execute(
        "UPDATE unit SET state = ?, attempt = attempt + 1, started = ? WHERE id = ? AND state = ?",
        (UnitState.RUNNING, at.isoformat(), unit, UnitState.PENDING),
    )
    return _unit(db.execute("SELECT * FROM unit WHERE id = ?", (unit,)).fetchone())


def enter(db: sqlite3.Connection, ident: int, number: int, state: WaveState, words: str, at: datetime) -> None:
    """A wave comes into a state."""
    db.execute(
        "UPDATE wave SET state = ?, since = ?, words = ? WHERE rollout = ? AND number = ?",
        (state, at.isoformat(), words, ident, number),
    )
    on_wave(db, ident, number, state, words, at)
    if state is WaveState.BACK:
        # Only what was touched goes back.
        units = db.execute(
            "SELECT hosts FROM unit WHERE rollout = ? AND wave = ? AND kind = ? AND state = ? ORDER BY id",
            (ident, number, Kind.CONVERGE, UnitState.DONE),
        ).fetchall()
        add_units(db, ident, number, Kind.BACK, [json.loads(row["hosts"]) for row in units])


def become(db: sqlite3.Connection, ident: int, state: State, words: str, at: datetime) -> None:
    """A rollout comes into a state; with its end its hosts are free."""
    db.execute("UPDATE rollout SET state = ?, words = ?, since = ? WHERE id = ?", (state, words, at.isoformat(), ident))
    on_state(db, ident, state, words, at)
    if state.ended:
        db.execute("DELETE FROM host_lock WHERE rollout = ?", (ident,))


def audited(db: sqlite3.Connection, ident: int, at: datetime, who: str, event: str, about: str) -> None:
    """A line of audit."""
    db.execute(
        "INSERT INTO audit (rollout, at, who, event, about) VALUES (?, ?, ?, ?, ?)",
        (ident, at.isoformat(), who, event, about),
    )


def _rollout(row: sqlite3.Row) -> Rollout:
    return Rollout(
        id=row["id"], created=datetime.fromisoformat(row["created"]), inventory=row["inventory"],
        revision=row["revision"], base=row["base"], who=row["who"], why=row["why"], spec=spec_from_text(row["spec"]),
        calendar=row["calendar"], state=State(row["state"]), words=row["words"],
        since=datetime.fromisoformat(row["since"]),
    )  # fmt: skip


def _unit(row: sqlite3.Row) -> Unit:
    hosts = tuple(json.loads(row["hosts"]))
    return Unit(row["id"], row["rollout"], row["wave"], Kind(row["kind"]), row["attempt"], hosts)


def _wave(db: sqlite3.Connection, row: sqlite3.Row, most: int) -> WaveView:
    place = (row["rollout"], row["number"])

    def units(kind: Kind, state: UnitState) -> tuple[int, ...]:
        query = "SELECT id FROM unit WHERE rollout = ? AND wave = ? AND kind = ? AND state = ? ORDER BY id LIMIT ?"
        return tuple(found["id"] for found in db.execute(query, (*place, kind, state, most)))

    counts = db.execute(
        "SELECT verdict, count(*) AS hosts FROM host WHERE rollout = ? AND wave = ? AND verdict IS NOT NULL"
        " GROUP BY verdict", place,
    )  # fmt: skip
    answers = db.execute("SELECT gate, answer FROM answer WHERE rollout = ? AND wave = ?", place)
    return WaveView(
        number=row["number"], hosts=row["hosts"], state=WaveState(row["state"]),
        since=datetime.fromisoformat(row["since"]), pending=units(Kind.CONVERGE, UnitState.PENDING),
        running=units(Kind.CONVERGE, UnitState.RUNNING) + units(Kind.BACK, UnitState.RUNNING),
        back_pending=units(Kind.BACK, UnitState.PENDING),
        counts={Verdict(found["verdict"]): found["hosts"] for found in counts},
        answers={found["gate"]: Answer(found["answer"]) for found in answers}, approved=bool(row["approved"]),
    )  # fmt: skip
