"""What reports cost by the number of hosts: seconds, memory, size.

    python -m tests.bench.reports                    100, 1,000 and 10,000 hosts of 15 policies
    python -m tests.bench.reports --hosts 1000

Nothing is played: the hosts' results are written down as the controller does, in units of 50. One host in a hundred
fails in its own words, and one in three has changed. Each form is made by a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deploys.rollout.decide import Start
from deploys.rollout.model import PolicyVerdict, Spec, Verdict
from deploys.rollout.store.rows import HostResult, New, PolicyResult
from deploys.rollout.store.sqlite import Sqlite
from deploys.rollout.store.store import Store
from deploys.rollout.store.write import apply
from deploys.rollout.waves import Wave

ROOT = Path(__file__).resolve().parents[2]
UNIT_HOSTS = 50
POLICIES = [f"policy-{number}" for number in range(15)]
FORMS = ("html", "markdown", "junit", "json")


def result(number: int) -> HostResult:
    """What a run says of a host."""
    failed, changed = number % 100 == 0, number % 3 == 0
    policies = [PolicyResult(name, PolicyVerdict.PROVED, 11, 11) for name in POLICIES]
    if changed:
        policies[3] = PolicyResult(POLICIES[3], PolicyVerdict.CHANGED, 11, 11, ("Put the file in place", "Restart it"))
    if failed:
        policies[4] = PolicyResult(POLICIES[4], PolicyVerdict.FAILED, 11, 9, (), ("a.check: not true that it is so",))
    verdict = Verdict.FAILED if failed else Verdict.OK
    return HostResult(verdict, 2 * changed, f"host {number}: said", tuple(policies), ("PHSA-2026-5.0-0711",))


def fill(store: Store, hosts: int) -> float:
    """A rollout of so many hosts that have ended; seconds per unit of its results."""
    names = [f"host-{number:05}.example.com" for number in range(hosts)]
    units = tuple(tuple(names[begin : begin + UNIT_HOSTS]) for begin in range(0, hosts, UNIT_HOSTS))
    new = New(
        "prod.py", "c0ffee", "0ff1ce", "ann", "a measurement", Spec(parallel=len(units)), "{}", [Wave("all", units)]
    )
    ident = store.create(new)
    numbers = {name: number for number, name in enumerate(names)}
    with store.writing(ident) as db:
        started = apply(db, ident, [Start(number) for number in range(1, len(units) + 1)], store.now())
    begun = time.monotonic()
    for unit in started:
        store.finish(unit, {name: result(numbers[name]) for name in unit.hosts})
    return (time.monotonic() - begun) / len(units)


def asked(state: Path, target: Path, *words: str) -> str:
    """CPU seconds, MB and kB of a command that writes a file."""
    command = [sys.executable, "-m", "deploys", *words, "--output", str(target)]
    child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PHOTON_FLEET_STATE": str(state)})
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(words)} ended with {child.returncode}")
    return (
        f"{used.ru_utime + used.ru_stime:.1f} s, {used.ru_maxrss / 1024:.0f} MB, {target.stat().st_size / 1000:,.0f} kB"
    )


def measure(hosts: int) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory(prefix="bench-reports-") as made:
        place = Path(made)
        store = Store(Sqlite(place / "rollouts.sqlite"))
        unit = fill(store, hosts)
        size = (place / "rollouts.sqlite").stat().st_size / 1e6
        cells = [asked(place, place / form, "report", "1", "--format", form) for form in FORMS]
        cells.append(asked(place, place / "metrics", "metrics"))
        return f"| {hosts:,} | {unit * 1000:.0f} | {size:.1f} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reports")
    parser.add_argument("--hosts", type=int, action="append")
    print(f"| hosts | ms a unit | database MB | {' | '.join(FORMS)} | metrics |")
    print(f"|{'---|' * (len(FORMS) + 4)}")
    for hosts in parser.parse_args().hosts or (100, 1000, 10_000):
        print(measure(hosts), flush=True)


if __name__ == "__main__":
    main()
