"""What is decided from, read from the rows: of units that are to come, only the next ones."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from deploys.rollout.model import Answer, Kind, State, UnitState, Verdict, View, WaveState, WaveView
from deploys.rollout.store.database import Connection, Cursor, Row
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
    found = _Found(db, ident, spec.parallel + _LOADED, now.isoformat())
    views = tuple(found.wave(wave) for wave in waves)
    return View(spec, State(row["state"]), views, opens, abort=bool(row["abort"]))


class _Found:
    """What there is of a rollout by the numbers of its waves: a question for each kind of it, not for each wave."""

    def __init__(self, db: Connection, ident: int, most: int, now: str) -> None:
        self._units: defaultdict[tuple[int, Kind, UnitState], list[int]] = defaultdict(list)
        for kind, order in ((Kind.CONVERGE, "wave, id"), (Kind.BACK, "wave DESC, id")):
            # Those of the wave that is next: the first one, or on the way back the last.
            self._add(
                db.execute(
                    "SELECT id, wave, kind, state FROM unit WHERE rollout = ? AND kind = ? AND state = ? AND due <= ?"  # noqa: S608 - ours
                    f" ORDER BY {order} LIMIT ?",
                    (ident, kind, UnitState.PENDING, now, most),
                )
            )
            self._add(
                db.execute(
                    "SELECT id, wave, kind, state FROM unit WHERE rollout = ? AND kind = ? AND state = ? ORDER BY id",
                    (ident, kind, UnitState.RUNNING),
                )
            )
        later = db.execute(
            "SELECT wave, kind, min(due) FROM unit WHERE rollout = ? AND kind IN (?, ?) AND state = ? AND due > ?"
            " GROUP BY wave, kind", (ident, *Kind, UnitState.PENDING, now),
        )  # fmt: skip
        self._later = {(number, Kind(kind)): datetime.fromisoformat(due) for number, kind, due in later}
        self._counts = _by_wave(
            db.execute("SELECT wave, verdict, count(*) FROM host WHERE rollout = ? AND verdict IS NOT NULL"
                       " GROUP BY wave, verdict", (ident,))
        )  # fmt: skip
        self._answers = _by_wave(db.execute("SELECT wave, gate, answer FROM answer WHERE rollout = ?", (ident,)))

    def _add(self, rows: Cursor) -> None:
        for row in rows:
            self._units[row["wave"], Kind(row["kind"]), UnitState(row["state"])].append(row["id"])

    def _of(self, number: int, kind: Kind, state: UnitState) -> tuple[int, ...]:
        return tuple(self._units[number, kind, state])

    def wave(self, row: Row) -> WaveView:
        """One of its waves."""
        number, state = row["number"], WaveState(row["state"])
        return WaveView(
            number=number, hosts=row["hosts"], state=state, since=datetime.fromisoformat(row["since"]),
            pending=self._of(number, Kind.CONVERGE, UnitState.PENDING),
            running=tuple(unit for kind in Kind for unit in self._of(number, kind, UnitState.RUNNING)),
            back_pending=self._of(number, Kind.BACK, UnitState.PENDING),
            counts={Verdict(verdict): count for verdict, count in self._counts[number]},
            answers={gate: Answer(answer) for gate, answer in self._answers[number]}, approved=bool(row["approved"]),
            later=self._later.get((number, Kind.BACK if state is WaveState.BACK else Kind.CONVERGE)),
        )  # fmt: skip


def _by_wave(rows: Cursor) -> defaultdict[int, list[tuple[Any, Any]]]:
    found: defaultdict[int, list[tuple[Any, Any]]] = defaultdict(list)
    for number, first, second in rows:
        found[number].append((first, second))
    return found
