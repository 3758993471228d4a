"""What nobody asks for any more of rollouts that are long over: their details. What became of each host stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from deploys.rollout.model import State
from deploys.rollout.store.outbox import Delivery
from deploys.rollout.store.write import audited

if TYPE_CHECKING:
    from deploys.rollout.store.store import Store

_ENDED = tuple(state for state in State if state.ended)
_OLD = f"rollout IN (SELECT id FROM rollout WHERE state IN ({', '.join('?' * len(_ENDED))}) AND since < ?)"  # noqa: S608 - marks
# The newest word on a host is the fleet's report; and the rollout that said it can still go back, which needs it.
_NOT_NEWEST = (
    "NOT EXISTS (SELECT 1 FROM newest WHERE newest.name = host_report.name AND newest.rollout = host_report.rollout)"
)
# A plan binds whoever tries a stopped rollout once more.
_NOT_STOPPED = "EXISTS (SELECT 1 FROM rollout WHERE rollout.id = plan.rollout AND rollout.state <> ?)"
_WHERE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "host_report": (_NOT_NEWEST, ()),
    "plan": (_NOT_STOPPED, (State.STOPPED,)),
    "outbox": ("state <> ?", (Delivery.WAITING,)),
}
"""By table, what goes of old rollouts."""


@dataclass(frozen=True)
class Details:
    """How many rows there are to remove, and of which rollouts."""

    rows: int
    rollouts: tuple[int, ...]


def details(store: Store, before: datetime) -> Details:
    """What can go: policies of hosts, plans and messages of rollouts that had ended before a moment."""
    rows, rollouts = 0, set[int]()
    for table, (also, values) in _WHERE.items():
        query = f"SELECT rollout, count(*) AS found FROM {table} WHERE {_OLD} AND {also} GROUP BY rollout"  # noqa: S608 - ours
        for row in store.rows(query, *_ENDED, before.isoformat(), *values):
            rows += row["found"]
            rollouts.add(row["rollout"])
    return Details(rows, tuple(sorted(rollouts)))


def forget(store: Store, before: datetime, who: str) -> None:
    """Remove them; a line of audit in each rollout says so. A second time changes nothing."""
    for ident in details(store, before).rollouts:
        with store.writing(ident) as db:
            gone = 0
            for table, (also, values) in _WHERE.items():
                query = f"DELETE FROM {table} WHERE rollout = ? AND {_OLD} AND {also}"  # noqa: S608 - ours
                gone += db.execute(query, (ident, *_ENDED, before.isoformat(), *values)).rowcount
            if gone:
                audited(db, ident, store.database.now(db), who, "details removed", f"{gone} rows")
