"""What runs say in tests of reports, and what is in a page."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

from deploys.rollout.model import Kind, Spec, UnitState
from deploys.rollout.store.rows import Backoff, HostResult, New, Unit
from deploys.rollout.store.write import finish as finish_unit
from deploys.rollout.waves import Wave
from tests.rollout.played import World

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def told(verdict: str, changed=(), failed=(), **more) -> dict:
    files = {"policy": "files", "verdict": verdict, "checks": 3, "passed": 3 - len(failed), "changed": list(changed),
             "failed": list(failed)}  # fmt: skip
    ssh = {"policy": "ssh", "verdict": "proved", "checks": 9, "passed": 9, "changed": [], "failed": []}
    return {"policies": [ssh, files], **more}


def finish(world: World, results: dict[str, HostResult], units=None, why: str = "a test") -> None:
    """A rollout whose first unit has ended so."""
    names = tuple(results)
    rest = tuple((f"web-{number}",) for number in range(1, len((units or [[1]])[0])))
    new = New("fleet.py", "c0ffee", "0ff1ce", "ann", why, Spec(), "{}", [Wave("all", (names, *rest))])
    ident = world.store.create(new)
    with world.store.writing() as db:
        db.execute("UPDATE unit SET state = ?, attempt = 1 WHERE rollout = ? AND id = 1", (UnitState.RUNNING, ident))
        finish_unit(db, Unit(1, ident, 0, Kind.CONVERGE, 1, names), results, NOW, Backoff())


class Seen(HTMLParser):
    """The tags of a page, those that were not closed, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in {"src", "href", "style"} or name.startswith("on")]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag
