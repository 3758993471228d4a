"""Snapshots of a machine: which are ours, and which are older than they may be. Pure.

A snapshot of ours says so in its description, one line of JSON:

    {"photon-fleet": "photon-fleet/web-1", "id": "3f9a1c", "name": "before-patch", "hours": 24, "by": ..., "why": ...}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pyinfra.api import OperationError

from deploys.errors import near
from facts.vm import Snapshot

FOREIGN_DAYS = 7
"""A snapshot of others that is older than this is told."""
MOST_HOURS = 720


@dataclass(frozen=True)
class Ours:
    """A snapshot that a run of ours has made.

    Args:
        name: what a person called it; several may have the same, so that `ident` tells them apart.
        at: when it was made, by the vCenter's clock.
    """

    moid: str
    name: str
    ident: str
    hours: int
    by: str
    why: str
    at: datetime

    @property
    def full_name(self) -> str:
        """Its name on the vCenter."""
        return f"{self.name}.{self.ident}"

    @property
    def until(self) -> datetime:
        """When it is older than it may be."""
        return self.at + timedelta(hours=self.hours)

    def text(self) -> str:
        """It, for a person."""
        return f"the snapshot {self.full_name} of {_time(self.at)} by {self.by} ({self.why}), for {self.hours} h"


def name_problem(name: str) -> str | None:
    """What is wrong with a name for a snapshot, or None."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}", name):
        return f"{name!r} is no name of a snapshot: at most 60 letters, digits and ._-, no dash first"
    return None


def description(mark: str, name: str, ident: str, hours: int, about: Mapping[str, str]) -> str:
    """What a snapshot says of itself."""
    return json.dumps({"photon-fleet": mark, "id": ident, "name": name, "hours": hours, **about}, ensure_ascii=False)


def ours(snapshot: Snapshot, mark: str) -> Ours | None:
    """A snapshot of this machine's by a run of ours; None when it is somebody else's."""
    try:
        said = json.loads(snapshot["description"])
        if said["photon-fleet"] != mark:
            return None
        return Ours(
            snapshot["moid"], str(said["name"]), str(said["id"]), int(said["hours"]), str(said.get("by", "somebody")),
            str(said.get("why", "not said")), datetime.fromisoformat(snapshot["at"]),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError):
        return None


def of_name(snapshots: Sequence[Snapshot], mark: str, name: str) -> list[Ours]:
    """Those of ours that a person has called so, or that the vCenter calls so; oldest first."""
    found = [each for snapshot in snapshots if (each := ours(snapshot, mark)) is not None]
    return sorted((each for each in found if name in {each.name, each.full_name}), key=lambda each: each.at)


def the_one(snapshots: Sequence[Snapshot], mark: str, name: str) -> Ours:
    """The one of ours that is called so.

    Raises:
        OperationError: there is none, or several.
    """
    found = of_name(snapshots, mark, name)
    if len(found) == 1:
        return found[0]
    if found:
        message = (
            f"{len(found)} snapshots are called {name}: say which, {' or '.join(each.full_name for each in found)}"
        )
        raise OperationError(message)
    known = [each.full_name for snapshot in snapshots if (each := ours(snapshot, mark)) is not None]
    others = [snapshot["name"] for snapshot in snapshots if ours(snapshot, mark) is None]
    message = (
        f"there is no snapshot {name} of ours{near(name, known)}; there are {', '.join(known) or 'none'}"
        f"{', and of others, which are left alone: ' + ', '.join(others) if others else ''}"
    )
    raise OperationError(message)


def overdue(snapshots: Sequence[Snapshot], mark: str, now: datetime) -> list[Ours]:
    """Those of ours that are older than they may be."""
    found = (ours(snapshot, mark) for snapshot in snapshots)
    return [each for each in found if each is not None and each.until < now]


def forgotten(snapshots: Sequence[Snapshot], mark: str, now: datetime) -> Iterable[str]:
    """Sentences about those of others that nobody seems to remember."""
    for snapshot in snapshots:
        age = now - datetime.fromisoformat(snapshot["at"])
        if ours(snapshot, mark) is None and age > timedelta(days=FOREIGN_DAYS):
            yield f"the snapshot {snapshot['name']!r} is not ours, and {age.days} days old: it is left alone"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
