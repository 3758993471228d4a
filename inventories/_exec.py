"""Commands over an open SSH connection: one batch of reads, and plain commands whose output loses nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gevent
from paramiko import SSHException
from pyinfra.connectors.sshuserclient import SSHClient
from typing_extensions import override

from inventories._batch import Answer, Batch, BatchError, Frames

if TYPE_CHECKING:
    from paramiko import Channel, Transport

QUIET_SECONDS = 60.0
"""Behind its first answer, a batch in which nothing arrives for so long is held up by a command, which is left out."""
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


def run_batch(transport: Transport, commands: Sequence[str], first_seconds: float = QUIET_SECONDS) -> list[Answer]:
    """Run commands as one batch; fewer answers than commands when one of them holds it up.

    Args:
        transport: an open connection.
        commands: what is asked for comes first.
        first_seconds: how long the first command may take, as it could not be asked another way.

    Raises:
        TimeoutError: the first command did not end in time.
        BatchError: the host cannot run a batch; the message says why.
        EOFError: the connection was closed.
        SSHException: the connection does not carry it, or the login shell prints something before each command.
    """
    if len(commands) > 1:
        with contextlib.suppress(TimeoutError):
            answers = _answers(transport, Batch(commands), min(first_seconds, QUIET_SECONDS))
            if len(answers) == len(commands):
                return answers
    # A command holds it up or ends it. Which one is only seen when each answer comes at once.
    return _answers(transport, Batch(commands, at_once=True), first_seconds)


def _answers(transport: Transport, batch: Batch, first_seconds: float) -> list[Answer]:
    frames = Frames(batch)
    channel = transport.open_session()
    try:
        channel.settimeout(first_seconds)
        channel.exec_command(batch.script())
        channel.shutdown_write()
        _pump(channel, frames, batch, min(first_seconds, QUIET_SECONDS))
        if not (frames.out_complete and frames.err_complete) and not transport.is_active():
            message = "the connection was closed"
            raise EOFError(message)
        if frames.before is None:
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


def _pump(channel: Channel, frames: Frames, batch: Batch, quiet_seconds: float) -> None:
    """Read both streams until the batch is complete, ends, goes quiet or answers too much.

    Raises:
        TimeoutError: it went quiet, and nothing was answered or the answers come in blocks.
    """
    other = gevent.spawn(_read_errors, channel, frames)
    size = 0
    try:
        while not frames.out_complete and size <= MAX_BYTES and (data := channel.recv(_CHUNK)):
            size += len(data)
            frames.out(data)
            if frames.answered:
                channel.settimeout(quiet_seconds)
    except TimeoutError:
        if channel.get_transport().is_active() and not (batch.at_once and frames.answered):
            raise
    finally:
        # The marks of both streams are written one behind the other.
        other.join(timeout=1.0)
        other.kill()


def _read_errors(channel: Channel, frames: Frames) -> None:
    size = 0
    with contextlib.suppress(TimeoutError):
        while not frames.err_complete and size <= MAX_BYTES and (data := channel.recv_stderr(_CHUNK)):
            size += len(data)
            frames.err(data)
