"""Commands over an open SSH connection: one batch of reads, and plain commands whose output loses nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gevent
from paramiko import SSHException
from pyinfra.connectors.sshuserclient import SSHClient
from typing_extensions import override

from inventories._batch import Answer, Batch, BatchError, Frames

if TYPE_CHECKING:
    from paramiko import Channel, Transport

QUIET_SECONDS = 60.0
"""A command that takes longer holds its batch up, and is run alone. In blocks, the time of a whole batch."""
MAX_BYTES = 64 << 20
"""A batch that answers more is ended; what was being read is then run alone."""
_CHUNK = 1 << 16


def text(data: bytes) -> str:
    r"""Bytes from a host as text. What is no UTF-8 is shown as `\xff`, and nothing behind it is lost."""
    return data.decode("utf-8", "backslashreplace")


def lines(data: bytes) -> list[str]:
    """As pyinfra cuts output into lines: at line feeds only, without an empty one behind the last."""
    found = text(data).split("\n")
    return found if found[-1] else found[:-1]


class _Lines:
    """A stream of a channel, as lines of text. Paramiko's own ends at the first byte that is no UTF-8."""

    def __init__(self, file: Any, channel: Channel) -> None:  # noqa: ANN401 - paramiko's file has no types
        self._file = file
        self.channel = channel

    def __iter__(self) -> Iterator[str]:
        return (text(line) for line in self._file)


class Client(SSHClient):
    """pyinfra's SSH client, with output that is read to its end whatever is in it."""

    @override
    def exec_command(  # type: ignore[override]
        self, command: str, *, get_pty: bool = False
    ) -> tuple[Any, _Lines, _Lines]:
        transport = self.get_transport()
        if transport is None:
            message = "the connection is closed"
            raise SSHException(message)
        channel = transport.open_session()
        if get_pty:
            channel.get_pty()
        channel.exec_command(command)
        out, err = channel.makefile("rb"), channel.makefile_stderr("rb")
        return channel.makefile_stdin("wb"), _Lines(out, channel), _Lines(err, channel)


def run_batch(transport: Transport, batch: Batch, first_seconds: float = QUIET_SECONDS) -> list[Answer]:
    """Run a batch; fewer answers than commands when one of them holds it up or ends it.

    Which one that is only tells a batch whose answers come at once; in blocks, some answers may be missing before it.

    Args:
        transport: an open connection.
        batch: what is asked for comes first.
        first_seconds: how long the first command may take.

    Raises:
        BatchError: the host cannot run a batch; the message says why.
        EOFError: the connection was closed.
        SSHException: the connection does not carry it, or the login shell prints something before each command.
    """
    frames = Frames(batch)
    channel = transport.open_session()
    try:
        channel.exec_command(batch.script())
        channel.shutdown_write()
        timed_out = _pump(channel, frames, first_seconds)
        complete = frames.out_complete and frames.err_complete
        if not complete and not transport.is_active():
            message = "the connection was closed"
            raise EOFError(message)
        if frames.before is None and not timed_out:
            said = " ".join(text(frames.said).split())[:300]
            raise BatchError(said or "the login shell does not run the batch")
        if frames.before:
            message = (
                "the login shell prints text before each command, and what a command answers cannot be told from it: "
                f"{text(frames.before)[:200]!r}. Let its start-up files (~/.bashrc) print only to terminals."
            )
            raise SSHException(message)
        return list(frames.answers())
    finally:
        channel.close()


def _pump(channel: Channel, frames: Frames, first_seconds: float) -> bool:
    """Read both streams until the batch is complete, ends, answers too much, or does not answer in time: then True."""
    other = gevent.spawn(_read_errors, channel, frames)
    try:
        timed_out = _read_answers(channel, frames, first_seconds)
        # The marks of both streams are written one behind the other, but may arrive far apart.
        other.join(timeout=QUIET_SECONDS if frames.out_complete else 1.0)
    finally:
        other.kill()
    return timed_out


def _read_answers(channel: Channel, frames: Frames, first_seconds: float) -> bool:
    """Whether an answer did not end in time: each has its own, so that one that prints for ever ends as well."""
    size, answered = 0, 0
    deadline = time.monotonic() + first_seconds
    while not frames.out_complete and size <= MAX_BYTES:
        channel.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            data = channel.recv(_CHUNK)
        except TimeoutError:
            return True
        if not data:
            return False
        size += len(data)
        frames.out(data)
        if frames.answered > answered:
            answered, deadline = frames.answered, time.monotonic() + min(first_seconds, QUIET_SECONDS)
        elif time.monotonic() > deadline:
            return True
    return False


def _read_errors(channel: Channel, frames: Frames) -> None:
    size = 0
    while not frames.err_complete and size <= MAX_BYTES:
        try:
            data = channel.recv_stderr(_CHUNK)
        except TimeoutError:
            # The time of an answer is kept by who reads the other stream, and ends this one.
            continue
        if not data:
            return
        size += len(data)
        frames.err(data)
