"""Other programs: waited for as long as they may take, and with answers that nothing else gets into.

What they say goes to files. A pipe is open for as long as anything holds it, such as a daemon that a hook has left
behind: who reads it to its end waits for the daemon as well, however long ago the program itself has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

_KILLED_SECONDS = 5.0
"""How long a killed program is waited for: one that waits for a disk does not end before the disk answers."""


@dataclass(frozen=True)
class Ended:
    """What a program has ended with, and what it had said until then."""

    status: int
    out: str
    err: str


def ended_within(
    seconds: float,
    command: Sequence[str],
    *,
    given: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    held: Sequence[int] = (),
    alone: bool = False,
) -> Ended:
    """Run a program to its end.

    Args:
        seconds: its limit.
        command: with its arguments.
        given: its standard input.
        cwd: where it is run.
        env: its environment; this process' by default.
        held: open files that it inherits.
        alone: in a session of its own, and killed with all that it has started. It has no terminal then.

    Raises:
        OSError: it cannot be started.
        TimeoutExpired: it had not ended, and was killed.
    """
    with TemporaryFile() as told, TemporaryFile() as out, TemporaryFile() as err:
        told.write(given.encode())
        told.seek(0)
        process = subprocess.Popen(
            command, stdin=told, stdout=out, stderr=err, cwd=cwd, env=env, pass_fds=held, start_new_session=alone
        )
        try:
            process.wait(seconds)
        finally:
            _killed(process, alone=alone)
        return Ended(process.returncode, _text(out), _text(err))


def _killed(process: subprocess.Popen[bytes], *, alone: bool) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if alone:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILLED_SECONDS)


def _text(file: IO[bytes]) -> str:
    # Whoever still writes there does so at the file's own place, which a seek would move.
    said = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
    return said.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")


@contextlib.contextmanager
def answering() -> Iterator[IO[str]]:
    """What this process' answer is to be written to: its standard output, which is from now on nobody else's.

    Until the process ends: what an inventory prints, what programs that it starts print, and what either does at the
    very end, goes to the error stream.
    """
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield answer


def answer_of(said: str) -> Any:  # noqa: ANN401 - plain values of JSON
    """The answer of a process: its last line. Commits of before `answering` may have said other things above it.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(said.strip().rpartition("\n")[2])
