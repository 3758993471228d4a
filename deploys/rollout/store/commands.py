"""What people say to a rollout from another terminal: rows, that the controller reads before it begins anything new."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

from deploys.refusal import Refusal
from deploys.rollout.model import Answer, Kind, OnFail, State, UnitState, Verdict, WaveState
from deploys.rollout.store.database import Connection
from deploys.rollout.store.had import begun
from deploys.rollout.store.rows import spec_from_text, spec_to_text
from deploys.rollout.store.store import Store
from deploys.rollout.store.write import add_units, audited, become, enter, lock

Word = Literal["pause", "resume", "abort", "approve", "retry", "rollback"]
_BEGUN = (WaveState.OPEN, WaveState.BAKING, WaveState.GATES)


class Commands:
    """Commands of one person."""

    def __init__(self, store: Store, who: str) -> None:
        self._store = store
        self._who = who

    def say(self, ident: int, word: Word) -> str:
        """Write a command down; returns what it will do.

        Raises:
            Refusal: the rollout is not in a state for it.
        """
        with self._store.writing(ident) as db:
            at = self._store.database.now(db)
            row = db.execute("SELECT state FROM rollout WHERE id = ?", (ident,)).fetchone()
            if row is None:
                message = f"there is no rollout {ident}"
                raise Refusal(message)
            does = getattr(self, f"_{word}")(db, ident, State(row["state"]), at)
            audited(db, ident, at, self._who, word, "")
            self._store.dispatch.wake(db, ident)
            return str(does)

    def _pause(self, db: Connection, ident: int, state: State, at: datetime) -> str:
        _require(ident, state, State.RUNNING)
        become(db, ident, State.PAUSED, f"by {self._who}", at)
        return "nothing new is begun; runs that are under way end by themselves"

    def _resume(self, db: Connection, ident: int, state: State, at: datetime) -> str:
        _require(ident, state, State.PAUSED)
        # Who resumes has looked: the gates of the wave are asked again, as what they said may be days old. A no stays.
        db.execute(
            "DELETE FROM answer WHERE rollout = ? AND answer <> ? AND wave IN"
            " (SELECT number FROM wave WHERE rollout = ? AND state = ?)",
            (ident, Answer.FAIL, ident, WaveState.GATES),
        )
        # What was asked before is not an answer now.
        db.execute(
            "UPDATE wave SET since = ? WHERE rollout = ? AND state = ?", (at.isoformat(), ident, WaveState.GATES)
        )
        become(db, ident, State.RUNNING, f"by {self._who}", at)
        return "it goes on"

    def _abort(self, db: Connection, ident: int, state: State, at: datetime) -> str:  # noqa: ARG002 - as the others
        if state.ended:
            message = f"rollout {ident} has ended: {state}"
            raise Refusal(message)
        db.execute("UPDATE rollout SET abort = 1 WHERE id = ?", (ident,))
        return "it ends when the runs that are under way have ended; what was changed stays"

    def _approve(self, db: Connection, ident: int, state: State, at: datetime) -> str:  # noqa: ARG002 - as the others
        _require(ident, state, State.RUNNING, State.PAUSED)
        wave = db.execute(
            "SELECT number, state FROM wave WHERE rollout = ? AND state <> ? ORDER BY number", (ident, WaveState.PASSED)
        ).fetchone()
        if wave is None or wave["state"] != WaveState.WAITING:
            message = f"rollout {ident} waits for no approval"
            raise Refusal(message)
        db.execute("UPDATE wave SET approved = ? WHERE rollout = ? AND number = ?", (self._who, ident, wave["number"]))
        return f"wave {wave['number'] + 1} may begin"

    def _retry(self, db: Connection, ident: int, state: State, at: datetime) -> str:
        """The hosts that did not become what they should, once more, in their wave."""
        _require(ident, state, State.STOPPED)
        _require_last(db, ident)
        wave = db.execute(
            "SELECT number FROM wave WHERE rollout = ? AND state = ?", (ident, WaveState.FAILED)
        ).fetchone()["number"]
        query = "SELECT name FROM host WHERE rollout = ? AND wave = ? AND verdict <> ? ORDER BY name"
        again = [row["name"] for row in db.execute(query, (ident, wave, Verdict.OK))]
        lock(db, ident)
        marks = [(ident, name) for name in again]
        db.executemany("UPDATE host SET verdict = NULL WHERE rollout = ? AND name = ?", marks)
        db.execute("DELETE FROM answer WHERE rollout = ? AND wave = ?", (ident, wave))
        # One by one: those that failed together may have failed of each other.
        add_units(db, ident, wave, Kind.CONVERGE, [[name] for name in again])
        enter(db, ident, wave, WaveState.OPEN, "once more", at)
        become(db, ident, State.RUNNING, f"retry by {self._who}", at)
        return f"{len(again)} host{'' if len(again) == 1 else 's'} of wave {wave + 1} once more"

    def _rollback(self, db: Connection, ident: int, state: State, at: datetime) -> str:
        """Everything that was begun goes back, the last wave first."""
        _require(ident, state, State.RUNNING, State.PAUSED, State.STOPPED, State.DONE, State.ABORTED)
        _require_last(db, ident)
        running = db.execute(
            "SELECT count(*) AS units FROM unit WHERE rollout = ? AND state = ?", (ident, UnitState.RUNNING)
        ).fetchone()["units"]
        if running:
            message = f"{running} runs of rollout {ident} are under way: pause it, and wait for their end"
            raise Refusal(message)
        if state.ended:
            lock(db, ident)
        db.execute("UPDATE rollout SET abort = 0 WHERE id = ?", (ident,))
        for row in db.execute("SELECT number, state FROM wave WHERE rollout = ?", (ident,)).fetchall():
            if row["state"] in _BEGUN:
                enter(db, ident, row["number"], WaveState.FAILED, f"rollback by {self._who}", at)
        spec = spec_from_text(db.execute("SELECT spec FROM rollout WHERE id = ?", (ident,)).fetchone()["spec"])
        text = json.dumps({**json.loads(spec_to_text(spec)), "on_fail": OnFail.BACK_ALL})
        db.execute("UPDATE rollout SET spec = ? WHERE id = ?", (text, ident))
        become(db, ident, State.BACK, f"by {self._who}", at)
        return "what was changed goes back, the last wave first"


def _require(ident: int, state: State, *allowed: State) -> None:
    if state not in allowed:
        message = f"rollout {ident} is {state}; this is for one that is {' or '.join(allowed)}"
        raise Refusal(message)


def _require_last(db: Connection, ident: int) -> None:
    """Refuse where a later rollout has been at one of the hosts: what that has brought would go with this one's."""
    later = db.execute(
        "SELECT newest.name, newest.rollout FROM host JOIN newest ON newest.name = host.name"
        " WHERE host.rollout = ? AND newest.rollout > ? ORDER BY newest.rollout DESC, newest.name LIMIT 1",
        (ident, ident),
    ).fetchone()
    found = (later["name"], later["rollout"]) if later is not None else _begun_later(db, ident)
    if found is not None:
        name, number = found
        message = (
            f"rollout {number} has been at {name} since, and what it brought would be lost: "
            f"roll out the commit that the hosts of rollout {ident} are to have"
        )
        raise Refusal(message)


def _begun_later(db: Connection, ident: int) -> tuple[str, int] | None:
    mine = {row["name"] for row in db.execute("SELECT name FROM host WHERE rollout = ?", (ident,))}
    return next(((name, number) for name, number in begun(db).items() if number > ident and name in mine), None)
