"""What rollouts cost the controller by the number of hosts: seconds, CPU, the database, and how soon `status` answers.

    python -m tests.bench.rollout                    100, 1,000 and 10,000 hosts in runs of 50
    python -m tests.bench.rollout --hosts 1000
    python -m tests.bench.rollout_shared             without runs at all: one controller, and workers on PostgreSQL

The runs are no runs of pyinfra: each is a program that writes at once that its hosts are well (see
tests/rollout/played.py). What a real run costs is measured by `python -m tests.bench.scale`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from deploys.rollout.model import Spec, State
from deploys.rollout.store.reports import progress
from tests.rollout.played import World

UNIT_HOSTS = 50
PARALLEL = 8


@dataclass(frozen=True)
class Cost:
    hosts: int
    seconds: float
    controller_cpu: float
    runs_cpu: float
    megabytes: float
    database: float
    status: float
    """Seconds of a whole `python -m deploys status`, the slowest of those asked meanwhile."""
    query: float

    def __str__(self) -> str:
        return (
            f"| {self.hosts:,} | {self.seconds:.1f} | {self.controller_cpu:.1f} | {self.runs_cpu:.1f} "
            f"| {self.megabytes:.0f} | {self.database:.1f} | {self.query * 1000:.1f} | {self.status:.2f} |"
        )


def sizes_of(hosts: int) -> list[list[int]]:
    """A canary, a tenth, and the rest."""

    def units(count: int) -> list[int]:
        return [UNIT_HOSTS] * (count // UNIT_HOSTS) + ([count % UNIT_HOSTS] if count % UNIT_HOSTS else [])

    return [[1], units(hosts // 10), units(hosts - 1 - hosts // 10)]


def measure(hosts: int) -> Cost:
    with tempfile.TemporaryDirectory(prefix="bench-rollout-") as place:
        world = World(Path(place) / "state")
        ident = world.begin(sizes_of(hosts), Spec(parallel=PARALLEL))
        asked: list[tuple[float, float]] = []
        over = threading.Event()
        looker = threading.Thread(target=look, args=(world, ident, over, asked))
        looker.start()
        before, kids = cpu_of(resource.RUSAGE_SELF), cpu_of(resource.RUSAGE_CHILDREN)
        begun = time.monotonic()
        state = world.play(ident)
        seconds = time.monotonic() - begun
        over.set()
        looker.join()
        assert state is State.DONE
        return Cost(
            hosts, seconds, cpu_of(resource.RUSAGE_SELF) - before, cpu_of(resource.RUSAGE_CHILDREN) - kids,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            (world.place.state / "rollouts.sqlite").stat().st_size / 1e6,
            max((status for status, _ in asked), default=0), max((query for _, query in asked), default=0),
        )  # fmt: skip


def look(world: World, ident: int, over: threading.Event, asked: list[tuple[float, float]]) -> None:
    env = {**os.environ, "PHOTON_FLEET_STATE": str(world.place.state)}
    while not over.wait(1):
        begun = time.monotonic()
        progress(world.store, ident)
        queried = time.monotonic() - begun
        begun = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "deploys", "status", str(ident)], env=env, check=False, capture_output=True
        )
        asked.append((time.monotonic() - begun, queried))


def cpu_of(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rollout")
    parser.add_argument("--hosts", type=int, action="append")
    print("| hosts | s | CPU s | of the runs | MB | database MB | slowest look ms | slowest `status` s |")
    print("|---|---|---|---|---|---|---|---|")
    for hosts in parser.parse_args().hosts or (100, 1000, 10_000):
        print(measure(hosts), flush=True)


if __name__ == "__main__":
    main()
