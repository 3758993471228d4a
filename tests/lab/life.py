"""The end of a lab: its first process, with which the kernel ends everything inside, and what may be left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.lab.machine import run
from tests.lab.settings import name, state_dir, uplink


def start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat: with the pid it names one process for ever (proc(5)). Nothing when it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # Whoever has started it, and is to wait for it, may be busy.
    return "" if state == "Z" else fields[18]


def _life() -> tuple[int, str]:
    """The supervisor's outermost process and when that was started; 0 and nothing when none is known."""
    try:
        pid, _, started = (state_dir() / "life").read_text().strip().partition(" ")
    except FileNotFoundError:
        return 0, ""
    return int(pid), started


def end_life() -> None:
    """Kill the supervisor's outermost process; the kernel ends everything inside."""
    pid, started = _life()
    if pid:
        if started and start_time(pid) == started:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while start_time(pid) == started and started and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.02)
        (state_dir() / "life").unlink()
    take_interface_away()


def take_interface_away() -> None:
    """Remove this machine's end of the network of a lab that has ended; a lab that lives keeps it.

    What nobody has acknowledged keeps a dead process's connection, with it the lab's network namespace, and with that
    the interface, for minutes (tcp_orphan_retries of tcp(7)), although whom it was for is gone.
    """
    pid, started = _life()
    lives = pid and started and start_time(pid) == started
    if not lives and Path("/sys/class/net", uplink()).exists():
        run("ip", "link", "del", uplink(), check=False)


def left_over_after(seconds: float = 20.0) -> list[str]:
    """What is still there after so many seconds; nothing as soon as nothing is."""
    deadline = time.monotonic() + seconds
    while True:
        left = leftovers()
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


# In a mount namespace of its own, as on a cgroup v1 machine the v2 tree has to be mounted to be seen.
_CGROUPS = """
c=/sys/fs/cgroup; [ -e $c/cgroup.controllers ] || mount -t cgroup2 none $c
[ -d $c/$1 ] || exit 0
find $c/$1 -depth -type d -exec rmdir {} + 2>/dev/null
find $c/$1 -name cgroup.procs -exec cat {} + 2>/dev/null
[ ! -d $c/$1 ] || echo cgroup
"""


def leftovers() -> list[str]:
    """What of the lab is still on this machine: processes, mounts, interfaces, loop devices, cgroups."""
    found = []
    if Path("/sys/class/net", uplink()).exists():
        found.append(f"interface {uplink()}")
    state = f"{state_dir()}/"  # a lab of another name may begin with the same letters
    found += [
        f"mount {line.split()[1]}" for line in Path("/proc/self/mounts").read_text().splitlines() if state in line
    ]
    for loop in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if loop.read_text().startswith(state):
                found.append(f"loop device {loop.parts[3]}")
    if os.geteuid() == 0:
        found += [f"process {word}" if word.isdigit() else word for word in
                  run("unshare", "--mount", "sh", "-c", _CGROUPS, "sh", name(), check=False).split()]  # fmt: skip
    return found
