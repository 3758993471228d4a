"""Which machine has which unit: its alone, for as long as the machine is heard of.

A unit is run by one machine, where its runs happen once (runonce.py) whatever becomes of the workers there. When
nothing has been heard of the machine for long enough, the unit is somebody else's, as another attempt.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

from deploys.refusal import Refusal
from deploys.rollout.decide import may_begin
from deploys.rollout.model import UnitState, Verdict
from deploys.rollout.store.database import Connection, Locked, Row, Unanswered
from deploys.rollout.store.rows import HostResult, Unit, unit_of
from deploys.rollout.store.store import Opens, Store
from deploys.rollout.store.view import view_of
from deploys.rollout.store.write import audited, put_back, start

GONE_SECONDS = 60.0
"""From the last word of a machine until its units are somebody else's."""
UNCLAIMED_SECONDS = 20
"""From the start of a unit until the word of it is taken for lost."""
_RUNNING = f"state = '{UnitState.RUNNING}'"
"""As text: only so do the databases know that it is what the index is of."""


def heard_of(store: Store, machine: str) -> None:
    """A worker of the machine is well."""
    with store.writing() as db:
        db.execute(
            "INSERT INTO machine (name, seen) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seen = excluded.seen",
            (machine, store.database.now(db).isoformat()),
        )


def machines(store: Store, within: float) -> list[str]:
    """Those that were heard of within so many seconds."""
    since = store.now() - timedelta(seconds=within)
    return [
        row["name"] for row in store.rows("SELECT name FROM machine WHERE seen > ? ORDER BY name", since.isoformat())
    ]


def claim(store: Store, told: tuple[int, int, int], machine: str, opens: Opens) -> Unit | None:
    """Take a unit for a machine; None when it is another's, done, another attempt's, or is not to begin any more.

    Args:
        store: the rows.
        told: rollout, unit and attempt.
        machine: whose it becomes.
        opens: when the windows let the rollout go on.
    """
    ident, number, attempt = told
    with store.writing(ident) as db:
        row = db.execute(
            f"SELECT * FROM unit WHERE id = ? AND attempt = ? AND {_RUNNING} AND holder IN ('', ?)",  # noqa: S608 - ours
            (number, attempt, machine),
        ).fetchone()
        if row is None:
            return None
        unit = unit_of(row)
        if row["holder"] == "" and not _may_begin(store, db, unit, opens):
            _not_begun(store, db, unit)
            return None
        db.execute("UPDATE unit SET holder = ? WHERE id = ?", (machine, unit.id))
        return unit


def _not_begun(store: Store, db: Connection, unit: Unit) -> None:
    """Nobody has begun it, and nobody is to: it is as if it had not been started."""
    aborted = db.execute("SELECT abort FROM rollout WHERE id = ?", (unit.rollout,)).fetchone()["abort"]
    if aborted and unit.attempt > 1:
        # An earlier attempt was begun, and no later one will say what came of it.
        words = "an earlier attempt of its run may have changed it, and the rollout begins nothing more"
        store.finish_within(db, unit, dict.fromkeys(unit.hosts, HostResult(Verdict.UNKNOWN, words=words)))
        return
    put_back(db, unit, store.database.now(db))
    store.dispatch.wake(db, unit.rollout)


def _may_begin(store: Store, db: Connection, unit: Unit, opens: Opens) -> bool:
    now = store.database.now(db)
    return may_begin(view_of(db, unit.rollout, opens(now), now), unit.wave, unit.kind, now)


def held(store: Store, machine: str) -> list[Unit]:
    """The units that a machine has."""
    rows = store.rows(f"SELECT * FROM unit WHERE {_RUNNING} AND holder = ? ORDER BY id", machine)  # noqa: S608 - ours
    return [unit_of(row) for row in rows]


def tell_again(store: Store) -> None:
    """Units whose word was lost (who had it was killed before it took them), and rollouts that may go on.

    Those that nobody has taken, and that their rollout may not begin any more, are put back: it would wait for them
    until a worker is free.
    """
    unclaimed = store.rows(f"SELECT DISTINCT rollout FROM unit WHERE {_RUNNING} AND holder = ''")  # noqa: S608 - ours
    for row in unclaimed:
        # One that somebody holds must not keep the others; the next sweep comes to it again.
        with contextlib.suppress(Locked), store.writing(row["rollout"]) as db:
            _look_at_unclaimed(store, db, row["rollout"])
    going = store.unfinished()
    with store.writing() as db:
        for ident in going:
            store.dispatch.wake(db, ident)


def _look_at_unclaimed(store: Store, db: Connection, ident: int) -> None:
    now = store.database.now(db)
    view = None
    # Of another version's a worker of that version says whether they may begin.
    with contextlib.suppress(Refusal):
        # Their windows were asked when they were started.
        view = view_of(db, ident, now, now)
    before, again = (now - timedelta(seconds=UNCLAIMED_SECONDS)).isoformat(), []
    query = f"SELECT * FROM unit WHERE rollout = ? AND {_RUNNING} AND holder = '' ORDER BY id"  # noqa: S608 - ours
    for row in db.execute(query, (ident,)).fetchall():
        unit = unit_of(row)
        if view and not may_begin(view, unit.wave, unit.kind, now):
            _not_begun(store, db, unit)
        elif row["started"] < before:
            again.append(unit)
    if again:
        # Told anew, and so not with each sweep: all workers may be at other units.
        db.executemany("UPDATE unit SET started = ? WHERE id = ?", [(now.isoformat(), unit.id) for unit in again])
        store.dispatch.start(db, again)


def take_over(store: Store, seconds: float) -> list[str]:
    """Start the units of machines that were not heard of for so long once more; returns sentences.

    Where their rollout may begin nothing more, their hosts end as unknown: nobody knows how far they came. Those of
    another version's rollout are left to a worker of that version.
    """
    told = []
    since = (store.now() - timedelta(seconds=seconds)).isoformat()
    query = (
        f"SELECT unit.id, unit.rollout, unit.attempt, unit.holder FROM unit LEFT JOIN machine ON name = holder"  # noqa: S608 - ours
        f" WHERE unit.{_RUNNING} AND holder <> '' AND (seen IS NULL OR seen < ?) ORDER BY unit.id"
    )
    for row in store.rows(query, since):
        try:
            with store.writing(row["rollout"]) as db:
                sentence = _taken_over(store, db, row, since, f"{row['holder']} was not heard of for {seconds:g} s")
        except Refusal as refusal:
            if isinstance(refusal, Unanswered) and not isinstance(refusal, Locked):
                raise
            # It is about one rollout alone; the next sweep comes to it again.
            sentence = f"runs that {row['holder']} had of rollout {row['rollout']} are left to others: {refusal}"
        if sentence and sentence not in told:
            told.append(sentence)
    return told


def _taken_over(store: Store, db: Connection, row: Row, since: str, words: str) -> str:
    """Take a unit from a machine that is gone; what was done, or nothing where it was heard of meanwhile."""
    gone = db.execute(
        f"SELECT * FROM unit WHERE id = ? AND attempt = ? AND holder = ? AND {_RUNNING} AND NOT EXISTS"  # noqa: S608 - ours
        " (SELECT 1 FROM machine WHERE name = ? AND seen >= ?)",
        (row["id"], row["attempt"], row["holder"], row["holder"], since),
    ).fetchone()
    if gone is None:
        return ""
    unit = unit_of(gone)
    # Its windows were asked when it was begun.
    if _may_begin(store, db, unit, lambda moment: moment):
        return f"run {_once_more(store, db, unit, words, store.database.now(db))}, once more: {words}"
    lost = HostResult(Verdict.UNKNOWN, words=f"{words}, and the rollout begins nothing more")
    store.finish_within(db, unit, dict.fromkeys(unit.hosts, lost))
    return f"run {unit.key} is given up: {words}"


def _once_more(store: Store, db: Connection, gone: Unit, words: str, now: datetime) -> str:
    db.execute("UPDATE unit SET state = ?, holder = '' WHERE id = ?", (UnitState.PENDING, gone.id))
    unit = start(db, gone.id, now)
    audited(db, unit.rollout, now, "", "unit started", f"{unit.key}: {' '.join(unit.hosts)}; {words}")
    store.dispatch.start(db, [unit])
    return unit.key
