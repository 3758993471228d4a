"""Which machine has which unit: its alone, for as long as the machine is heard of.

A unit is run by one machine, where its runs happen once (runonce.py) whatever becomes of the workers there. When
nothing has been heard of the machine for long enough, the unit is somebody else's, as another attempt.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from deploys.rollout.decide import may_begin
from deploys.rollout.model import UnitState, Verdict
from deploys.rollout.store.database import Connection
from deploys.rollout.store.rows import HostResult, Unit, unit_of
from deploys.rollout.store.store import Opens, Store
from deploys.rollout.store.view import view_of
from deploys.rollout.store.write import audited, new_token, put_back

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
            # Nobody has begun it: it is as if it had not been started.
            put_back(db, unit, store.database.now(db))
            store.dispatch.wake(db, ident)
            return None
        db.execute("UPDATE unit SET holder = ? WHERE id = ?", (machine, unit.id))
        return unit


def _may_begin(store: Store, db: Connection, unit: Unit, opens: Opens) -> bool:
    now = store.database.now(db)
    return may_begin(view_of(db, unit.rollout, opens(now), now), unit.wave, unit.kind, now)


def held(store: Store, machine: str) -> list[Unit]:
    """The units that a machine has."""
    rows = store.rows(f"SELECT * FROM unit WHERE {_RUNNING} AND holder = ? ORDER BY id", machine)  # noqa: S608 - ours
    return [unit_of(row) for row in rows]


def tell_again(store: Store) -> None:
    """Units whose word was lost (who had it was killed before it took them), and rollouts that may go on."""
    before = (store.now() - timedelta(seconds=UNCLAIMED_SECONDS)).isoformat()
    rows = store.rows(f"SELECT * FROM unit WHERE {_RUNNING} AND holder = '' AND started < ?", before)  # noqa: S608 - ours
    going = store.unfinished()
    with store.writing() as db:
        if rows:
            store.dispatch.start(db, [unit_of(row) for row in rows])
        for ident in going:
            store.dispatch.wake(db, ident)


def take_over(store: Store, seconds: float) -> list[str]:
    """Start the units of machines that were not heard of for so long once more; returns sentences.

    Where their rollout may begin nothing more, their hosts end as unknown: nobody knows how far they came.
    """
    told = []
    since = (store.now() - timedelta(seconds=seconds)).isoformat()
    query = (
        f"SELECT unit.id, unit.rollout, unit.attempt, unit.holder FROM unit LEFT JOIN machine ON name = holder"  # noqa: S608 - ours
        f" WHERE unit.{_RUNNING} AND holder <> '' AND (seen IS NULL OR seen < ?) ORDER BY unit.id"
    )
    for row in store.rows(query, since):
        with store.writing(row["rollout"]) as db:
            now = store.database.now(db)
            gone = db.execute(
                f"SELECT * FROM unit WHERE id = ? AND attempt = ? AND holder = ? AND {_RUNNING} AND NOT EXISTS"  # noqa: S608 - ours
                " (SELECT 1 FROM machine WHERE name = ? AND seen >= ?)",
                (row["id"], row["attempt"], row["holder"], row["holder"], since),
            ).fetchone()
            if gone is None:
                continue
            unit = unit_of(gone)
            words = f"{row['holder']} was not heard of for {seconds:g} s"
            # Its windows were asked when it was begun.
            if _may_begin(store, db, unit, lambda moment: moment):
                told.append(f"run {_once_more(store, db, unit, words, now)}, once more: {words}")
            else:
                lost = HostResult(Verdict.UNKNOWN, words=f"{words}, and the rollout begins nothing more")
                store.finish_within(db, unit, dict.fromkeys(unit.hosts, lost))
                told.append(f"run {unit.key} is given up: {words}")
    return told


def _once_more(store: Store, db: Connection, gone: Unit, words: str, now: datetime) -> str:
    unit = unit_of(
        db.execute(
            "UPDATE unit SET attempt = attempt + 1, holder = '', started = ?, token = ? WHERE id = ? RETURNING *",
            (now.isoformat(), new_token(), gone.id),
        ).fetchone()
    )
    audited(db, unit.rollout, now, "", "unit started", f"{unit.key}: {' '.join(unit.hosts)}; {words}")
    store.dispatch.start(db, [unit])
    return unit.key
