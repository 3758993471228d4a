"""Many reads in one exec: the script that the host runs, and what comes back from it. Pure.

Contract:
- A command answers in a batch what it answers alone: the same bytes on both streams, the same exit status, and the
  same end (a child that it leaves behind with a stream open is waited for, as sshd waits for it).
- Nothing is kept on the host: the streams are named pipes, so that a full file system cannot cut an answer short.
- What ends an answer is a word that the kernel of the host makes up for this batch. It is in no command line and no
  environment, which others on the host can read: whoever writes what a command prints cannot end its answer.
- The host needs `sh`, `mktemp`, `mkfifo`, `cat`, `dd` and `rm`, and one place to put four named pipes.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MAX_SCRIPT = 96 * 1024
"""Bytes. Linux takes 128 KiB for one argument, and sshd gives the script to the login shell as one."""
BLOCK = 32 * 1024
"""Bytes of an answer that are sent together; the largest that sshd sends in one packet."""
NO_PLACE = 75
"""Exit status of a batch that found no place for its pipes (EX_TEMPFAIL of sysexits.h)."""

# The two streams of a command are pipes of its own (`o`, `e`), each followed in its reader by a pipe with the mark
# (`r` with the status, `s`). A writer waits for its reader and a reader for the last of its writers: that is the order.
# When a reader ends early the connection is gone: the whole process group ends, as nobody would open the pipes again.
# It is told until it does, as a shell that has just forked may lose a signal.
# In blocks, as each piece that sshd reads is a packet that costs the controller more than the bytes in it.
# A pipe is opened until that succeeds: in busybox's shell the end of another child interrupts it.
# The shell's own words (such as "Killed") are not a command's: it is silent from then on.
_SCRIPT = """\
d=
for t in /run "$XDG_RUNTIME_DIR" /dev/shm /tmp /var/tmp; do
[ -n "$t" ] && d=$(mktemp -d "$t/.photon-fleet.XXXXXXXXXX" 2>/dev/null) || continue
trap 'rm -rf "$d"' EXIT
mkfifo -m 600 "$d/o" "$d/e" "$d/r" "$d/s" 2>/dev/null && break
rm -rf "$d"
d=
done
[ -n "$d" ] || {{ echo "no named pipe can be made in /run, /dev/shm, /tmp or /var/tmp" >&2; exit {no_place}; }}
trap 'exit 143' HUP INT TERM PIPE
read -r a </proc/sys/kernel/random/uuid || exit {no_place}
k() {{ trap '' TERM; while kill -0 $$ 2>/dev/null; do kill 0; sleep 1; done; }}
printf '%s%s\\n' {opening} $a
printf '%s%s\\n' {opening} $a >&2
{{ {{ (cd "$d" && exec cat{out}) || k; }}{blocks} || k; }} &
{{ {{ (cd "$d" && exec cat{err}) || k; }}{blocks} || k; }} >&2 &
exec >/dev/null 2>&1
f() {{
until printf '%s %s\\n' $a $1 >"$d/r"; do [ -p "$d/r" ] || exit; done
until printf '%s\\n' $a >"$d/s"; do [ -p "$d/s" ] || exit; done
}}
{steps}wait
"""


class BatchError(Exception):
    """The batch did not run as one: what was read until then holds, the rest has to be read alone."""


@dataclass(frozen=True)
class Answer:
    """What a command answered. `status` is its exit status as a shell sees it."""

    status: int
    out: bytes
    err: bytes


@dataclass(frozen=True)
class Batch:
    """Commands that are run by one exec, each a simple command line of its own.

    `at_once` sends each answer as soon as it is there, instead of in blocks: to see which command holds a batch up.
    """

    commands: Sequence[str]
    at_once: bool = False
    opening: str = field(default_factory=lambda: secrets.token_hex(16))
    """What tells the beginning of the batch from what a login shell prints; the word of the host stands behind it."""

    def script(self) -> str:
        """The command line for the exec."""
        count = len(self.commands)
        steps = "".join(f'( exec {command}\n) >"$d/o" 2>"$d/e"; f $?\n' for command in self.commands)
        text = _SCRIPT.format(
            no_place=NO_PLACE,
            opening=self.opening,
            out=" o r" * count,
            err=" e s" * count,
            blocks="" if self.at_once else f" | dd obs={BLOCK} 2>/dev/null",
            steps=steps,
        )
        return f"exec sh -c {shlex.quote(text)}"


def fitting(commands: Sequence[str], limit: int = MAX_SCRIPT) -> Sequence[str]:
    """The first commands that fit into one batch; always at least one."""
    size = 2048
    for count, command in enumerate(commands):
        # Quoting the script once more turns each apostrophe into five letters.
        size += len(command.encode()) + 4 * command.count("'") + 40
        if size > limit and count:
            return commands[:count]
    return commands


class Frames:
    """Cuts the two streams of a batch into answers as they arrive.

    `before` is what the login shell printed before the batch began: nothing, on a host that runs commands cleanly.
    """

    def __init__(self, batch: Batch) -> None:
        self._out = _Cutter(batch.opening.encode())
        self._err = _Cutter(batch.opening.encode())
        self._expected = len(batch.commands)

    @property
    def before(self) -> bytes | None:
        """What came before the batch on standard output; None while it has not begun."""
        return self._out.pieces[0][0] if self._out.pieces else None

    @property
    def said(self) -> bytes:
        """What came on standard error without belonging to a command: why the batch did not begin."""
        return self._err.pieces[0][0] if self._err.pieces else bytes(self._err.rest)

    def out(self, data: bytes) -> None:
        self._out.feed(data)

    def err(self, data: bytes) -> None:
        self._err.feed(data)

    @property
    def answered(self) -> int:
        """How many answers are there."""
        return max(0, len(self._out.pieces) - 1)

    @property
    def out_complete(self) -> bool:
        return len(self._out.pieces) > self._expected

    @property
    def err_complete(self) -> bool:
        return len(self._err.pieces) > self._expected

    def answers(self) -> Iterator[Answer]:
        """The answers that are complete, in the order of the commands.

        Raises:
            BatchError: the end of an answer does not tell a status.
        """
        for (out, status), (err, _) in zip(self._out.pieces[1:], self._err.pieces[1:], strict=False):
            if not status.isdigit():
                message = f"a command of the batch ended with {status!r}"
                raise BatchError(message)
            yield Answer(int(status), out, err)


class _Cutter:
    """One stream: what comes before the opening, then pieces that end with the host's word, a status and a line end."""

    def __init__(self, opening: bytes) -> None:
        self._opening = opening
        self._word = b""
        self._searched = 0
        self.rest = bytearray()
        self.pieces: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> None:
        self.rest += data
        while (at := self.rest.find(mark := self._word or self._opening, self._searched)) >= 0:
            end = self.rest.find(b"\n", at)
            if end < 0:
                self._searched = at
                return
            behind = bytes(self.rest[at + len(mark) : end]).strip()
            self.pieces.append((bytes(self.rest[:at]), behind))
            # The first line tells the word; an empty one would be found everywhere.
            self._word = self._word or behind or self._opening
            del self.rest[: end + 1]
            self._searched = 0
        self._searched = max(0, len(self.rest) - len(mark))
