"""One benchmark: which runs there are, in which order, and what each has to show before its figures count."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from tests.bench import contenders, measure, playbook
from tests.bench.errors import BenchError
from tests.bench.place import Place
from tests.bench.results import Proved, Results, Run, counted
from tests.lab import settings

_TIMEOUT = 1800.0
_FAILED_CHECK = re.compile(r"^FAILED \S+\[(\S+)\]", re.MULTILINE)
_PASSED = re.compile(r"\b(\d+) passed\b")


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    hosts: Sequence[int]
    rtts_ms: Sequence[float]
    contenders: Sequence[str]
    cases: Sequence[str]
    repeat: int
    repeat_first: int
    prove: bool


def say(message: str) -> None:
    """A line of progress."""
    print(f"bench: {message}", file=sys.stderr, flush=True)


@dataclass
class Session:
    """A plan being carried out at a place."""

    plan: Plan
    place: Place
    results: Results = field(default_factory=Results)

    def run(self) -> None:
        """Everything of the plan; figures are in `results` as they come."""
        self.results.about = about(self.plan)
        os.environ.update(self.place.environment(1))
        playbook.write(self.place.scratch)
        for count in self.plan.hosts:
            if "first" in self.plan.cases:
                for rtt in self.plan.rtts_ms:
                    self._first(count, rtt)
            if "noop" in self.plan.cases:
                self._settle(count)
                for rtt in self.plan.rtts_ms:
                    self._noop(count, rtt)

    def _first(self, count: int, rtt: float) -> None:
        for repetition in range(self.plan.repeat_first):
            for contender in self.plan.contenders:
                self.place.reset(count)
                shutil.rmtree(contenders.memory(contender, self.place), ignore_errors=True)
                self._timed("first", count, rtt, contender, repetition)
                self._prove_once(contender)

    def _settle(self, count: int) -> None:
        for contender in self.plan.contenders:
            # It brings the hosts to what it takes for converged, and learns what it learns.
            say(f"no-op converge, {counted(count)}: {contender} converges, not timed")
            try:
                self._carry_out(contender, count, 0.0)
            except BenchError as error:
                say(f"{contender}: FAILED: {error}")

    def _noop(self, count: int, rtt: float) -> None:
        # In turns, so that what else the machine does hits all alike.
        for repetition in range(self.plan.repeat):
            for contender in self.plan.contenders:
                self._timed("noop", count, rtt, contender, repetition)

    def _timed(self, case: str, count: int, rtt: float, contender: str, repetition: int) -> None:
        where = f"{case}, {counted(count)}, {rtt:g} ms, run {repetition + 1}: {contender}"
        try:
            figures, changes = self._carry_out(contender, count, rtt)
            _require_expected(case, contender, changes)
        except BenchError as error:
            say(f"{where}: FAILED: {error}")
            self.results.runs.append(Run(case, count, rtt, contender, repetition, error=str(error)))
            return
        say(f"{where}: {figures['wall']:.2f} s, {changes} changes")
        self.results.runs.append(Run(case, count, rtt, contender, repetition, figures, changes))

    def _carry_out(self, contender: str, count: int, rtt: float) -> tuple[dict[str, float], int]:
        command = contenders.command(contender, self.place, count)
        log = self.place.scratch / f"{contender}.log"
        self.place.proxy.reset(rtt / 1000)
        used = measure.hosts_cpu(settings.name())
        cost = measure.run(command.words, command.env, log, _TIMEOUT)
        counts = self.place.proxy.counts()
        output, errors = log.read_text(errors="replace"), log.with_suffix(".err").read_text(errors="replace")
        if cost.status != 0:
            words = (output + errors).strip()[-2000:]
            message = f"exit status {cost.status} after {cost.wall:.0f} s; its last words:\n{words}"
            raise BenchError(message)
        figures = {
            "wall": cost.wall,
            "cpu": cost.cpu,
            "hosts_cpu": measure.hosts_cpu(settings.name()) - used,
            "memory": float(cost.memory),
            "round_trips": float(counts.round_trips),
            "connections": float(counts.connections),
            "bytes": float(counts.bytes_up + counts.bytes_down),
            "bytes_up": float(counts.bytes_up),
            "bytes_down": float(counts.bytes_down),
        }
        return figures, contenders.changes(contender, output, count)

    def _prove_once(self, contender: str) -> None:
        """Let our acceptance suite look at the first host, after the contender's first converge of new hosts."""
        if not self.plan.prove or contender == "floor" or contender in self.results.proofs:
            return
        say(f"proving what {contender} made")
        words = [sys.executable, "-m", "pytest", "tests/hosts", "--inventory", "tests/bench/fleet.py", "-q",
                 "-p", "no:cacheprovider"]  # fmt: skip
        env = {**self.place.environment(1), "BENCH_CONNECTOR": "photon", "COLUMNS": "200"}
        self.place.proxy.reset(0.0)
        done = subprocess.run(words, env=env, cwd=contenders.ROOT, text=True, capture_output=True, check=False,
                              stdin=subprocess.DEVNULL)  # fmt: skip
        failed = _FAILED_CHECK.findall(done.stdout)
        passed = _PASSED.search(done.stdout)
        if passed is None or (done.returncode and not failed):
            failed = [f"(the proof could not be had: {done.stdout.strip()[-500:]})"]
        self.results.proofs[contender] = Proved(int(passed[1]) if passed else 0, failed)


def _require_expected(case: str, contender: str, changes: int) -> None:
    if case == "noop" and changes:
        message = f"{changes} things were changed in what should be a no-op"
        raise BenchError(message)
    if case == "first" and not changes and contender != "floor":
        message = "nothing was changed on new hosts"
        raise BenchError(message)


def about(plan: Plan) -> dict[str, object]:
    """Versions and machine, for the file of results."""
    requirements = (Path(__file__).parent / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in requirements if "==" in line)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "pyinfra": version("pyinfra"),
        "paramiko": version("paramiko"),
        "ansible-core": pinned["ansible-core"],
        "mitogen": pinned["mitogen"],
        "repeat": plan.repeat,
        "repeat_first": plan.repeat_first,
    }
