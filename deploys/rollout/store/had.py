"""What became of commits and hosts in the rollouts so far: held, arrived, and what each host has now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploys.rollout.model import Kind, State, UnitState, Verdict
from deploys.rollout.store.rows import Rollout, rollout_of

if TYPE_CHECKING:
    from deploys.rollout.store.database import Connection
    from deploys.rollout.store.store import Store

_HELD = """
SELECT id, state, words FROM rollout WHERE inventory = ? AND revision = ? AND state IN (?, ?) AND NOT EXISTS (
  SELECT 1 FROM rollout AS later WHERE later.inventory = rollout.inventory AND later.revision = rollout.revision
  AND later.id > rollout.id AND later.state = ? AND later.whole <> 0
) ORDER BY id DESC LIMIT 1
"""


def held_by(db: Connection, inventory: str, revision: str) -> str:
    """Why a commit is held back for an inventory: a rollout of it has ended badly, and none of all hosts well since.

    "" when it is not.
    """
    row = db.execute(_HELD, (inventory, revision, State.STOPPED, State.WENT_BACK, State.DONE)).fetchone()
    return f"{revision[:12]} is held: rollout {row['id']} of it {row['state']}: {row['words']}" if row else ""


def arrived(store: Store, inventory: str) -> str | None:
    """The last commit that arrived at all hosts that it concerned; those of some hosts alone do not count."""
    rows = store.rows(
        "SELECT revision FROM rollout WHERE inventory = ? AND state = ? AND whole <> 0 ORDER BY id DESC LIMIT 1",
        inventory, State.DONE,
    )  # fmt: skip
    return str(rows[0]["revision"]) if rows else None


def whole_of(store: Store, inventory: str, revision: str) -> Rollout | None:
    """The last rollout of a commit that was about all hosts that it concerned, whatever became of it."""
    rows = store.rows(
        "SELECT * FROM rollout WHERE inventory = ? AND revision = ? AND whole <> 0 ORDER BY id DESC LIMIT 1",
        inventory, revision,
    )  # fmt: skip
    return rollout_of(rows[0]) if rows else None


@dataclass(frozen=True)
class Had:
    """What a host has: the commit that it was last proved to be as, or None and why nobody knows."""

    revision: str | None
    words: str = ""


def begun(db: Connection) -> dict[str, int]:
    """Hosts that were begun and of which nothing was heard since, each with the last rollout of which that is so."""
    rows = db.execute(
        "SELECT rollout, hosts FROM unit WHERE state = ? OR (state = ? AND attempt > 0) ORDER BY rollout",
        (UnitState.RUNNING, UnitState.PENDING),
    )
    return {name: row["rollout"] for row in rows for name in json.loads(row["hosts"])}


def hosts_had(store: Store, inventory: str) -> dict[str, Had]:
    """What each host has that a rollout was at."""
    with store.database.reading() as db:
        rows = db.execute(
            "SELECT newest.name, newest.rollout, newest.kind, newest.verdict, rollout.inventory, rollout.revision,"
            " rollout.base FROM newest JOIN rollout ON rollout.id = newest.rollout"
        ).fetchall()
        silent = begun(db)
    found = {name: Had(None, f"rollout {number} was begun on it, and has not ended") for name, number in silent.items()}
    for row in rows:
        if silent.get(row["name"], 0) >= row["rollout"]:
            continue
        if row["inventory"] != inventory:
            found[row["name"]] = Had(None, f"rollout {row['rollout']} of {row['inventory']} was at it last")
        elif row["verdict"] != Verdict.OK:
            found[row["name"]] = Had(None, f"rollout {row['rollout']} has left it {row['verdict']}")
        else:
            found[row["name"]] = Had(row["base"] if row["kind"] == Kind.BACK else row["revision"])
    return found
