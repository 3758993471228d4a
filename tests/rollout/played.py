"""A rollout whose runs are no runs of pyinfra: programs that write down when they begin and end.

python -m tests.rollout.played DIRECTORY IDENT: a controller, to be killed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploys.rollout import RESULT
from deploys.rollout.local import Local, only_controller
from deploys.rollout.model import Answer, Kind, Spec, State
from deploys.rollout.place import Place
from deploys.rollout.store.rows import New, Rollout, Unit
from deploys.rollout.store.sqlite import Store
from deploys.rollout.waves import Wave

ROOT = Path(__file__).resolve().parents[2]
# Its name, and what becomes of hosts, are in files beside the log, so that a test can change them between runs.
RUN = f"""
import json, os, pathlib, sys, time
place, key, kind, *hosts = sys.argv[1:]
place = pathlib.Path(place)
def log(word):
    with open(place / "log", "a") as file:
        file.write("".join(f"{{word}} {{key}} {{kind}} {{host}} {{time.time()}}\\n" for host in hosts))
log("begin")
time.sleep(float((place / "seconds").read_text()))
bad = json.loads((place / "bad").read_text())
bad = bad if kind == "converge" else {{}}
found = {{host: {{"verdict": bad.get(host, "ok"), "changes": 1, "words": ""}} for host in hosts}}
told = place / "told"
if told.exists():
    more = json.loads(told.read_text())
    for host in found:
        found[host] |= more["back"] if kind == "back" else more.get(host, more["*"])
path = os.environ["{RESULT}"]
pathlib.Path(path + ".new").write_text(json.dumps({{"version": 1, "hosts": found}}))
os.replace(path + ".new", path)
log("end")
"""


class Played(Place):
    """A place whose runs are these programs."""

    def tree(self, revision: str) -> Path:
        assert revision in {"c0ffee", "0ff1ce"}
        return ROOT

    def command(self, rollout: Rollout, unit: Unit) -> list[str]:
        assert rollout.id == unit.rollout
        return [sys.executable, "-c", RUN, str(self.state), unit.key, unit.kind, *unit.hosts]


@dataclass(frozen=True)
class Line:
    """What a run has written down of a host."""

    word: str
    key: str
    kind: str
    host: str
    at: float


class World:
    """A state directory, and the rollouts in it."""

    def __init__(self, directory: Path, seconds: float = 0.0, bad: dict[str, str] | None = None) -> None:
        directory.mkdir(exist_ok=True)
        self.place = Played(ROOT, directory)
        self.store = Store(directory / "rollouts.sqlite")
        self.become(seconds, bad or {})

    def become(self, seconds: float, bad: dict[str, str]) -> None:
        (self.place.state / "seconds").write_text(str(seconds))
        (self.place.state / "bad").write_text(json.dumps(bad))

    def begin(self, sizes: Sequence[Sequence[int]], spec: Spec | None = None, prefix: str = "web") -> int:
        """Waves of units of so many hosts."""
        names = iter(f"{prefix}-{number}" for number in range(100_000))
        waves = [Wave(f"wave {number}", tuple(tuple(next(names) for _ in range(count)) for count in units))
                 for number, units in enumerate(sizes)]  # fmt: skip
        new = New("fleet.py", "c0ffee", "0ff1ce", "ann@ctl", "a test", spec or Spec(parallel=2), "{}", waves)
        return self.store.create(new, datetime.now(UTC))

    def play(self, ident: int, answer: Answer = Answer.PASS) -> State:
        with only_controller(self.place):
            return Local(self.store, self.place, lambda *_: (answer, "as the test says")).play(ident)

    def log(self) -> list[Line]:
        path = self.place.state / "log"
        words = (line.split() for line in (path.read_text() if path.exists() else "").splitlines())
        return [Line(word, key, kind, host, float(at)) for word, key, kind, host, at in words]

    def touched(self, kind: Kind = Kind.CONVERGE) -> list[str]:
        return [line.host for line in self.log() if line.word == "begin" and line.kind == kind]


def main() -> None:
    directory, ident = sys.argv[1:]
    world = object.__new__(World)  # its files stay as they are
    world.place, world.store = Played(ROOT, Path(directory)), Store(Path(directory) / "rollouts.sqlite")
    world.play(int(ident))


if __name__ == "__main__":
    main()
