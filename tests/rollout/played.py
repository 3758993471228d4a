"""A rollout whose runs are no runs of pyinfra: programs that write down when they begin and end.

python -m tests.rollout.played DIRECTORY IDENT                     a controller, to be killed
python -m tests.rollout.played COMMON DIRECTORY NAME GONE          a worker, to be killed: of the machine DIRECTORY
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from deploys.rollout import RESULT
from deploys.rollout.engine.cli import work, worker_store
from deploys.rollout.local import Local, only_controller
from deploys.rollout.model import Answer, Kind, Spec, State
from deploys.rollout.place import DATABASE, Fix, Place
from deploys.rollout.store.database import Unanswered
from deploys.rollout.store.rows import Backoff, New, Rollout, Unit
from deploys.rollout.store.sqlite import Sqlite
from deploys.rollout.store.store import Store
from deploys.rollout.waves import Wave

SOON = Backoff(first=0.5, most=1, times=20)
"""Stand-in runs are short."""
Result = TypeVar("Result")
ROOT = Path(__file__).resolve().parents[2]
# Its name, and what becomes of hosts, are in files beside the log, so that a test can change them between runs.
RUN = f"""
import fcntl, json, os, pathlib, sys, time
place, key, kind, *hosts = sys.argv[1:]
place = pathlib.Path(place)
# As on a real host: one run at a time.
locks = [(host, open(place / "hosts" / host, "w")) for host in hosts]
def locked(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
busy = [host for host, file in locks if not locked(file)]
hosts = [host for host in hosts if host not in busy]
def log(word):
    with open(place / "log", "a") as file:
        file.write("".join(f"{{word}} {{key}} {{kind}} {{host}} {{time.time()}}\\n" for host in hosts))
log("begin")
time.sleep(float((place / "seconds").read_text()))
while hosts and (place / "hold").exists():
    time.sleep(0.05)
bad = json.loads((place / "bad").read_text())
bad = bad if kind == "converge" else bad.get(kind, {{}})
found = {{host: {{"verdict": bad.get(host, "ok"), "changes": 1, "words": ""}} for host in hosts}}
told = place / "told"
if told.exists():
    more = json.loads(told.read_text())
    for host in found:
        found[host] |= more["back"] if kind == "back" else more.get(host, more["*"])
found |= {{host: {{"verdict": "failed", "busy": True, "changes": 0, "words": "another run"}} for host in busy}}
path = os.environ["{RESULT}"]
pathlib.Path(path + ".new").write_text(json.dumps({{"version": 1, "hosts": found}}))
os.replace(path + ".new", path)
log("end")
"""


@dataclass(frozen=True)
class Played(Place):
    """A place whose runs are these programs. `common` is where they write: the hosts, so to speak."""

    common: Path | None = None

    def tree(self, revision: str) -> Path:
        assert revision in {"c0ffee", "0ff1ce"}
        return ROOT

    def command(self, rollout: Rollout, unit: Unit) -> list[str]:
        assert rollout.id == unit.rollout
        return [sys.executable, "-c", RUN, str(self.common or self.state), unit.key, unit.kind, *unit.hosts]

    def fix_command(self, rollout: Rollout, fix: Fix, hosts: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", RUN, str(self.common or self.state), f"{rollout.id}", fix.name, *hosts]


@dataclass(frozen=True)
class Line:
    """What a run has written down of a host."""

    word: str
    key: str
    kind: str
    host: str
    at: float


def new(sizes: Sequence[Sequence[int]], spec: Spec | None = None, prefix: str = "web") -> New:
    """A rollout of waves of units of so many hosts."""
    names = iter(f"{prefix}-{number}" for number in range(100_000))
    waves = [Wave(f"wave {number}", tuple(tuple(next(names) for _ in range(count)) for count in units))
             for number, units in enumerate(sizes)]  # fmt: skip
    return New("fleet.py", "c0ffee", "0ff1ce", "ann@ctl", "a test", spec or Spec(parallel=2), "{}", waves, again=True)


def since(store: Store, ident: int, wave: int) -> datetime:
    """When a wave came into its state, as who asks its gates knows it."""
    return store.view(ident, lambda now: now)[0].waves[wave].since


class World:
    """A state directory, and the rollouts in it (or in another store)."""

    def __init__(
        self, directory: Path, seconds: float = 0.0, bad: dict[str, str] | None = None, store: Store | None = None
    ) -> None:
        (directory / "hosts").mkdir(parents=True, exist_ok=True)
        self.place = Played(ROOT, directory)
        self.store = store or Store(Sqlite(directory / "rollouts.sqlite"))
        self.become(seconds, bad or {})

    def become(self, seconds: float, bad: dict[str, str]) -> None:
        (self.place.state / "seconds").write_text(str(seconds))
        (self.place.state / "bad").write_text(json.dumps(bad))

    def begin(self, sizes: Sequence[Sequence[int]], spec: Spec | None = None, prefix: str = "web") -> int:
        return self.store.create(new(sizes, spec, prefix))

    def play(self, ident: int, answer: Answer = Answer.PASS) -> State:
        with only_controller(self.place):
            return Local(self.store, self.place, lambda *_: (answer, "as the test says")).play(ident)

    def log(self) -> list[Line]:
        path = self.place.state / "log"
        words = (line.split() for line in (path.read_text() if path.exists() else "").splitlines())
        return [Line(word, key, kind, host, float(at)) for word, key, kind, host, at in words]

    def spans(self) -> dict[str, list[tuple[float, str, str]]]:
        """Of each host: when, begin or end, and the key of the run."""
        spans = defaultdict(list)
        for line in self.log():
            spans[line.host].append((line.at, line.word, line.key))
        return {host: sorted(found) for host, found in spans.items()}

    def nothing_lost_repeated_or_overlapping(self, sizes: Sequence[Sequence[int]]) -> None:
        """Each host was run once and to its end, those of a wave after all of the one before."""
        spans = self.spans()
        assert len(spans) == sum(map(sum, sizes))
        for host, found in spans.items():
            assert [word for _, word, _ in found] == ["begin", "end"], (host, found)
        names = iter(f"web-{number}" for number in range(100_000))
        waves = [[next(names) for _ in range(sum(units))] for units in sizes]
        for earlier, later in pairwise(waves):
            last = max(at for name in earlier for at, _, _ in spans[name])
            assert all(at >= last for name in later for at, _, _ in spans[name])

    def touched(self, kind: Kind = Kind.CONVERGE) -> list[str]:
        return [line.host for line in self.log() if line.word == "begin" and line.kind == kind]


def patiently(ask: Callable[[], Result], seconds: float, about: Path | None = None) -> Result:
    """What it says, as soon as that is true; the database may be away meanwhile."""
    last = time.monotonic() + seconds
    while time.monotonic() < last:
        try:
            if found := ask():
                return found
        except Unanswered:
            pass
        time.sleep(0.2)
    said = "".join(path.read_text() for path in about.glob("*.out")) if about else ""
    raise AssertionError(f"not within {seconds} s\n{said[-5000:]}")


def main() -> None:
    if len(sys.argv) > 3:
        common, directory, name, gone = sys.argv[1:]
        conninfo = os.environ[DATABASE]
        work(worker_store(conninfo, SOON), Played(ROOT, Path(directory), Path(common)), conninfo, name, 4, float(gone))
        return
    directory, ident = sys.argv[1:]
    world = object.__new__(World)  # its files stay as they are
    world.place, world.store = Played(ROOT, Path(directory)), Store(Sqlite(Path(directory) / "rollouts.sqlite"))
    world.play(int(ident))


if __name__ == "__main__":
    main()
