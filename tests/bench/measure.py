"""Runs one command and says what it cost: wall time, CPU time and peak memory of everything it started.

A process of its own (`run()`), which makes itself the one to whom orphans are given: what a contender leaves behind in
the background, such as ssh's shared connections, is still found, counted and ended. What runs longer than the command
itself is no wall time of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.bench.errors import BenchError

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SAMPLE_SECONDS = 0.1
_SAMPLE_SHARE = 20
"""Looking at the processes takes at most this part of the time."""
_END_SECONDS = 5.0


@dataclass(frozen=True)
class Cost:
    """What a command cost. `memory` is the highest sum of its processes' proportional set sizes that was seen."""

    status: int
    wall: float
    cpu: float
    memory: int


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _memory(pid: int) -> int:
    """Bytes, with what several processes share divided among them: forks are not counted over and over."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def hosts_cpu(lab: str) -> float:
    """CPU seconds that the hosts of a lab have used so far: their processes, and the children these have waited for.

    Source of the format: proc(5), fields 14 to 17 of /proc/PID/stat, and cgroups(7).
    """
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"/{lab}/host-" in (process / "cgroup").read_text():
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _end_all() -> None:
    """End and reap every process that is left, politely first."""
    deadline = time.monotonic() + _END_SECONDS
    while left := list(_descendants(os.getpid())):
        last = time.monotonic() > deadline
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if last else signal.SIGTERM)
        time.sleep(0.02)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _watch(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Sample until the command ends; returns the highest sum of memory."""
    ended = select.poll()
    ended.register(os.pidfd_open(process.pid), select.POLLIN)
    highest, pause = 0, 0.0
    deadline = time.monotonic() + timeout
    while not ended.poll(pause * 1000):
        started = time.monotonic()
        if started > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            break
        highest = max(highest, sum(map(_memory, _descendants(os.getpid()))))
        pause = max(_SAMPLE_SECONDS, _SAMPLE_SHARE * (time.monotonic() - started))
    return highest


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def measure(command: Sequence[str], timeout: float) -> Cost:
    """Run the command with this process's own streams and environment. Only in a process that has no other children."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, _stop)
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        memory = _watch(process, timeout)
        wall = time.monotonic() - started
        status = process.wait()
    finally:
        # Nothing may keep what is left from being ended; whoever sent the signal waits for that.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(status, wall, used.ru_utime + used.ru_stime, memory)


def run(command: Sequence[str], env: Mapping[str, str], log: Path, timeout: float) -> Cost:
    """Run a command, its output in `log` (and `log`.err), and return what it cost."""
    result = log.with_suffix(".cost")
    result.unlink(missing_ok=True)
    words = [sys.executable, "-m", "tests.bench.measure", str(result), str(timeout), *command]
    with log.open("wb") as output, log.with_suffix(".err").open("wb") as errors:
        process = subprocess.Popen(words, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        try:
            process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if not result.exists():
        message = f"{command[0]} could not be measured: {log.with_suffix('.err').read_text()[-1000:]}"
        raise BenchError(message)
    return Cost(**json.loads(result.read_text()))


def main(arguments: Sequence[str]) -> int:
    """RESULT TIMEOUT COMMAND...: the cost is written to RESULT."""
    result, timeout, *command = arguments
    Path(result).write_text(json.dumps(asdict(measure(command, float(timeout)))))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
