"""Which machine has which unit: its alone, for as long as the machine is heard of.

A unit is run by one machine, where its runs happen once (runonce.py) whatever becomes of the workers there. When
nothing has been heard of the machine for long enough, the unit is somebody else's, as another attempt.
"""

from __future__ import annotations

from datetime import timedelta

from deploys.rollout.model import UnitState
from deploys.rollout.store.rows import Unit, unit_of
from deploys.rollout.store.store import Store
from deploys.rollout.store.write import audited

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


def claim(store: Store, unit: int, attempt: int, machine: str) -> Unit | None:
    """Take a unit for a machine; None when it is another's, done, or another attempt's."""
    with store.writing() as db:
        row = db.execute(
            f"UPDATE unit SET holder = ? WHERE id = ? AND attempt = ? AND {_RUNNING} AND holder IN ('', ?)"  # noqa: S608 - ours
            " RETURNING *",
            (machine, unit, attempt, machine),
        ).fetchone()
        return unit_of(row) if row is not None else None


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
    """Start the units of machines that were not heard of for so long once more; returns sentences."""
    told = []
    since = (store.now() - timedelta(seconds=seconds)).isoformat()
    query = (
        f"SELECT unit.id, unit.rollout, unit.attempt, unit.holder FROM unit LEFT JOIN machine ON name = holder"  # noqa: S608 - ours
        f" WHERE unit.{_RUNNING} AND holder <> '' AND (seen IS NULL OR seen < ?) ORDER BY unit.id"
    )
    for row in store.rows(query, since):
        with store.writing(row["rollout"]) as db:
            now = store.database.now(db)
            taken = db.execute(
                "UPDATE unit SET attempt = attempt + 1, holder = '', started = ?"  # noqa: S608 - ours
                f" WHERE id = ? AND attempt = ? AND holder = ? AND {_RUNNING} AND NOT EXISTS"
                " (SELECT 1 FROM machine WHERE name = ? AND seen >= ?) RETURNING *",
                (now.isoformat(), row["id"], row["attempt"], row["holder"], row["holder"], since),
            ).fetchone()
            if taken is None:
                continue
            unit = unit_of(taken)
            words = f"{row['holder']} was not heard of for {seconds:g} s"
            audited(db, unit.rollout, now, "", "unit started", f"{unit.key}: {' '.join(unit.hosts)}; {words}")
            store.dispatch.start(db, [unit])
            told.append(f"run {unit.key}, once more: {words}")
    return told
