"""What deciding and writing down costs, without the runs: one controller on SQLite, and workers on PostgreSQL.

    python -m tests.bench.rollout_shared                     1,000 and 10,000 hosts in units of 50, 1, 2 and 4 workers
    python -m tests.bench.rollout_shared --svg FILE          and draw the last number of hosts
    python -m tests.bench.rollout_shared --hosts 1000 --unit 1 --profile
    python -m tests.bench.rollout_shared --hosts 1000 --real --workers 2      with the runs of tests.bench.scale

Each run ends at once, in the worker itself: all that is left is the store, PostgreSQL and Procrastinate. As root, on a
machine with Debian's PostgreSQL; the server is a fresh one with its defaults, on a Unix socket and this disk.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from typing_extensions import override

from deploys.rollout.engine.cli import work, worker_store
from deploys.rollout.engine.procrastinate import prepare
from deploys.rollout.engine.shared import database_at, store_at
from deploys.rollout.local import Local
from deploys.rollout.model import Answer, Spec, State, Verdict
from deploys.rollout.place import DATABASE, Place
from deploys.rollout.plan import HostPlan
from deploys.rollout.results import read_results
from deploys.rollout.store.reports import progress
from deploys.rollout.store.rows import HostResult, New, Rollout, Unit
from deploys.rollout.store.sqlite import Sqlite
from deploys.rollout.store.store import Store
from deploys.rollout.waves import Wave
from tests.bench import scale
from tests.bench.rollout_chart import Bars, draw
from tests.rollout import postgres
from tests.rollout.played import ROOT, new

PARALLEL = 16
TICKS = os.sysconf("SC_CLK_TCK")


class Instant(Place):
    """A place where every run ends at once, and well."""

    @override
    def run(
        self, rollout: Rollout, unit: Unit, plans: Mapping[str, HostPlan] | None, updated: Sequence[str] = ()
    ) -> dict[str, HostResult]:
        return dict.fromkeys(unit.hosts, HostResult(Verdict.OK))


class Real(Place):
    """A place whose runs are pyinfra's, on hosts of `@fake`."""

    @override
    def tree(self, revision: str) -> Path:
        return ROOT

    @override
    def command(self, rollout: Rollout, unit: Unit) -> list[str]:
        return [sys.executable, "-m", "pyinfra", scale.INVENTORY, "deploys/host.py", "-y"]

    @override
    def run(
        self, rollout: Rollout, unit: Unit, plans: Mapping[str, HostPlan] | None, updated: Sequence[str] = ()
    ) -> dict[str, HostResult]:
        super().run(rollout, unit, plans, updated)
        said = read_results(self.state / "runs" / f"{unit.key}.json")
        return {name: said[f"@fake/{name}"] for name in unit.hosts}


def named(given: New) -> New:
    """The same with the names that the hosts of tests.bench.scale have."""
    hosts = (f"{role}-{number}" for number in range(1, 100_000) for role in ("web", "db", "edge"))
    return replace(
        given,
        waves=[Wave(wave.name, tuple(tuple(next(hosts) for _ in unit) for unit in wave.units)) for wave in given.waves],
    )


@dataclass(frozen=True)
class Cost:
    """`workers` is 0 for one controller on SQLite."""

    hosts: int
    workers: int
    seconds: float
    cpu: float
    database_cpu: float
    megabytes: float
    database: float
    query: float

    @property
    def name(self) -> str:
        return f"{self.workers} worker{'s' * (self.workers > 1)}, PostgreSQL" if self.workers else "SQLite"

    def __str__(self) -> str:
        return (
            f"| {self.hosts:,} | {self.name} | {self.seconds:.1f} | {self.cpu:.1f} | {self.database_cpu:.1f} "
            f"| {self.megabytes:.0f} | {self.database:.1f} | {self.query * 1000:.0f} |"
        )


def sizes_of(hosts: int, unit: int) -> list[list[int]]:
    """A canary, a tenth, and the rest."""

    def units(count: int) -> list[int]:
        return [unit] * (count // unit) + ([count % unit] if count % unit else [])

    return [[1], units(hosts // 10), units(hosts - 1 - hosts // 10)]


@contextmanager
def looking(store: Store, ident: int) -> Iterator[list[float]]:
    """How long a look at its progress takes, once a second."""
    asked: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(1):
            begun = time.monotonic()
            progress(store, ident)
            asked.append(time.monotonic() - begun)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield asked
    finally:
        over.set()
        looker.join()


def alone(hosts: int, unit: int, *, profile: bool) -> Cost:
    """One controller."""
    with tempfile.TemporaryDirectory(prefix="bench-rollout-") as place:
        store = Store(Sqlite(Path(place) / "rollouts.sqlite"))
        ident = store.create(new(sizes_of(hosts, unit), Spec(parallel=PARALLEL)))
        before = resource.getrusage(resource.RUSAGE_SELF)
        begun = time.monotonic()
        with looking(store, ident) as asked:
            local = Local(store, Instant(ROOT, Path(place)), lambda *_: (Answer.PASS, ""))
            if profile:
                profiler = cProfile.Profile()
                profiler.runcall(local.play, ident)
                pstats.Stats(profiler).sort_stats("cumulative").print_stats(25)
            else:
                local.play(ident)
            seconds = time.monotonic() - begun
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        size = (Path(place) / "rollouts.sqlite").stat().st_size / 1e6
        return Cost(hosts, 0, seconds, cpu, 0, used.ru_maxrss / 1024, size, max(asked, default=0))


def shared(hosts: int, unit: int, workers: int, *, real: bool) -> Cost:
    """Workers, each as if on a machine of its own."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres.server())
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-rollout-")))
        database = database_at(server.conninfo)
        database.upgrade()
        prepare(database)
        store = store_at(server.conninfo)
        env = {DATABASE: server.conninfo, "SCALE_HOSTS": str(hosts) if real else ""}
        running = [_worker(env, place / str(number)) for number in range(workers)]
        try:
            while store.rows("SELECT count(*) FROM machine")[0][0] < workers:
                assert all(each.poll() is None for each in running), "a worker has ended"
                time.sleep(0.2)
            time.sleep(2)
            before = sum(map(_cpu, running)), _tree_cpu(server.pid)
            begun = time.monotonic()
            ident = store.create(named(new(sizes_of(hosts, unit), Spec(parallel=2 if real else PARALLEL))))
            with looking(store, ident) as asked:
                while not store.rollout(ident).state.ended:
                    assert all(each.poll() is None for each in running), "a worker has ended"
                    time.sleep(0.1)
                seconds = time.monotonic() - begun
            assert store.rollout(ident).state is State.DONE, progress(store, ident).lines()
            cpu, database_cpu = sum(map(_cpu, running)) - before[0], _tree_cpu(server.pid) - before[1]
            size = store.rows("SELECT pg_database_size(current_database())")[0][0] / 1e6
            return Cost(
                hosts, workers, seconds, cpu, database_cpu, max(map(_peak, running)), size, max(asked, default=0)
            )
        finally:
            for each in running:
                each.terminate()
                each.wait()


def _worker(env: dict[str, str], place: Path) -> subprocess.Popen[bytes]:
    place.mkdir()
    command = [sys.executable, "-m", "tests.bench.rollout_shared", "--worker", str(place)]
    return subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL)


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu(worker: subprocess.Popen[bytes]) -> float:
    return sum(map(int, _fields(worker.pid)[11:13])) / TICKS


def _tree_cpu(pid: int) -> float:
    """Of a process, of those of its children that have ended, and of those that have not."""
    ticks = sum(map(int, _fields(pid)[11:15]))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (ticks + sum(sum(map(int, _fields(int(child))[11:13])) for child in children)) / TICKS


def _peak(worker: subprocess.Popen[bytes]) -> float:
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rollout_shared")
    parser.add_argument("--hosts", type=int, action="append")
    parser.add_argument("--unit", type=int, default=50)
    parser.add_argument("--workers", type=int, action="append")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--worker", type=Path, help="(for itself)")
    given = parser.parse_args()
    if given.worker:
        conninfo = os.environ[DATABASE]
        kind = Real if os.environ["SCALE_HOSTS"] else Instant
        work(worker_store(conninfo), kind(ROOT, given.worker), conninfo, given.worker.name, 8, 60)
        return
    print("| hosts | | s | CPU s | of the database | MB of a worker | database MB | slowest look ms |")
    print("|---|---|---|---|---|---|---|---|")
    found = []
    for hosts in given.hosts or (1000, 10_000):
        found = [] if given.real else [alone(hosts, given.unit, profile=given.profile)]
        print("\n".join(map(str, found)), end="\n" if found else "", flush=True)
        for workers in given.workers or (1, 2, 4):
            found.append(shared(hosts, given.unit, workers, real=given.real))
            print(found[-1], flush=True)
    if given.svg:
        title = f"{found[0].hosts:,} hosts in units of {given.unit}, without the runs"
        bars = [Bars(each.name, each.seconds, each.cpu, each.database_cpu) for each in found]
        given.svg.write_text(draw(title, bars))


if __name__ == "__main__":
    main()
