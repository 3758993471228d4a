"""What is decided from, read from the rows: of units that are to come, only the next ones."""

from __future__ import annotations

from datetime import datetime

from deploys.rollout.model import Answer, Kind, State, UnitState, Verdict, View, WaveState, WaveView
from deploys.rollout.store.database import Connection, Row
from deploys.rollout.store.rows import spec_from_text

_LOADED = 16
"""Units that are to come are read by so many more than may run at once."""


def view_of(db: Connection, ident: int, opens: datetime | None, now: datetime) -> View:
    """A rollout as it is now.

    Args:
        db: a transaction.
        ident: the rollout.
        opens: when its windows let it go on.
        now: units that are due later are not to come yet.
    """
    row = db.execute("SELECT * FROM rollout WHERE id = ?", (ident,)).fetchone()
    spec = spec_from_text(row["spec"])
    waves = db.execute("SELECT * FROM wave WHERE rollout = ? ORDER BY number", (ident,)).fetchall()
    views = tuple(_wave(db, wave, spec.parallel + _LOADED, now.isoformat()) for wave in waves)
    return View(spec, State(row["state"]), views, opens, abort=bool(row["abort"]))


def _wave(db: Connection, row: Row, most: int, now: str) -> WaveView:
    place = (row["rollout"], row["number"])

    def units(kind: Kind, state: UnitState) -> tuple[int, ...]:
        query = (
            "SELECT id FROM unit WHERE rollout = ? AND wave = ? AND kind = ? AND state = ? AND due <= ?"
            " ORDER BY id LIMIT ?"
        )
        return tuple(found["id"] for found in db.execute(query, (*place, kind, state, now, most)))

    later = db.execute(
        "SELECT min(due) AS due FROM unit WHERE rollout = ? AND wave = ? AND state = ? AND due > ?",
        (*place, UnitState.PENDING, now),
    ).fetchone()["due"]
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
        later=datetime.fromisoformat(later) if later else None,
    )  # fmt: skip
