"""A run that happens once, whatever becomes of who started it.

`run_once` starts the command in a process of its own that outlives the controller: a controller that is killed does not
kill its runs, and would otherwise start a second one on the same hosts. Process and command hold a lock for as long as
they run; the process ends the command at its time limit, and leaves a result. Whoever asks for the same key again gets
that result, waits for the run that is under way, or starts it when there was none.

python -m deploys.rollout.runonce DIRECTORY KEY SECONDS LOCK COMMAND...
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.2
TERM_SECONDS = 30
"""From the polite end of a command to the other one."""
TIMED_OUT = 124


@dataclass(frozen=True)
class Ended:
    """How a command ended; `status` is None when it was never heard of again (the machine went down)."""

    status: int | None


def run_once(
    directory: Path, key: str, command: Sequence[str], seconds: float, env: Mapping[str, str], cwd: Path
) -> Ended:
    """Run a command to its end, once for a key; adopts the run of a controller that has died."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (result := directory / f"{key}.result").exists():
        with (directory / f"{key}.lock").open("a+") as lock:
            # It may have been begun already, and then the machine went down: nobody knows how far it came.
            if _is_free(lock.fileno()) and not result.exists() and not (directory / f"{key}.begun").exists():
                _start(directory, key, command, seconds, env, cwd, lock.fileno())
        while not result.exists():
            with (directory / f"{key}.lock").open("a+") as lock:
                # Free and without a result: its keeper was killed, or the machine was down.
                if _is_free(lock.fileno()) and not result.exists():
                    return Ended(None)
            time.sleep(LOOK_SECONDS)
    return Ended(json.loads(result.read_text())["status"])


def has_begun(directory: Path, key: str) -> bool:
    """Whether a run was begun, or is about to be."""
    if any((directory / f"{key}.{word}").exists() for word in ("begun", "result")):
        return True
    try:
        with (directory / f"{key}.lock").open("r+") as lock:
            return not _is_free(lock.fileno())
    except FileNotFoundError:
        return False


def stop(directory: Path, key: str) -> None:
    """Ask a run to end; its keeper writes down how it ended."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((directory / f"{key}.pid").read_text()), signal.SIGTERM)


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(
    directory: Path, key: str, command: Sequence[str], seconds: float, env: Mapping[str, str], cwd: Path, lock: int
) -> None:
    """Start the keeper with the lock, which it inherits: there is no moment at which nobody holds it."""
    keeper = [sys.executable, "-m", "deploys.rollout.runonce", str(directory), key, str(seconds), str(lock), *command]
    with (directory / f"{key}.out").open("ab") as out:
        subprocess.Popen(
            keeper, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True, pass_fds=[lock],
        )  # fmt: skip


def _keep(directory: Path, key: str, seconds: float, lock: int, command: Sequence[str]) -> int:
    """What the keeper does: run, limit, write down."""
    _write(directory / f"{key}.begun", "")
    # With the lock: should this process be killed, nobody starts a second run before the command has ended.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, pass_fds=[lock])
    with _passing_on(process):
        # Known from now on, as it passes on what it is asked.
        (directory / f"{key}.pid").write_text(str(os.getpid()))
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = _ended(process)
        # Still within: who asks it to end once more must not take the result away.
        _write(directory / f"{key}.result", json.dumps({"status": status}))
    return 0


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The time limit: the command and all that it has started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(TERM_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return TIMED_OUT


@contextlib.contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    def pass_on(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(path: Path, text: str) -> None:
    """Whole, and on the disk with its name, or not at all."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


if __name__ == "__main__":
    place, name, limit, inherited, *argv = sys.argv[1:]
    sys.exit(_keep(Path(place), name, float(limit), int(inherited), argv))
