"""Commands over an open SSH connection: one batch of reads, and plain commands whose output loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gevent
from paramiko import SSHException
from pyinfra.connectors.sshuserclient import SSHClient
from typing_extensions import override

from inventories._batch import Answer, Batch, BatchError, Frames

if TYPE_CHECKING:
    from paramiko import Channel, Transport

QUIET_SECONDS = 60.0
"""A batch in which nothing arrives for so long is held up by a command, which is then run alone."""
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


def run_batch(transport: Transport, commands: Sequence[str], quiet_seconds: float = QUIET_SECONDS) -> list[Answer]:
    """Run commands as one batch; fewer answers than commands when one of them holds it up.

    Raises:
        BatchError: the host cannot run a batch; the message says why.
        EOFError: the connection was closed.
        SSHException: the connection does not carry it, or the login shell prints something before each command.
    """
    batch = Batch(commands)
    frames = Frames(batch)
    channel = transport.open_session()
    try:
        channel.settimeout(quiet_seconds)
        channel.exec_command(batch.script())
        channel.shutdown_write()
        _pump(channel, frames)
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


def _pump(channel: Channel, frames: Frames) -> None:
    """Read both streams until the batch is complete, ends, goes quiet or answers too much."""
    other = gevent.spawn(_read, channel.recv_stderr, frames.err, lambda: frames.err_complete)
    try:
        _read(channel.recv, frames.out, lambda: frames.out_complete)
        # The marks of both streams are written one behind the other.
        other.join(timeout=5.0)
    finally:
        other.kill()


def _read(receive: Callable[[int], bytes], feed: Callable[[bytes], None], complete: Callable[[], bool]) -> None:
    size = 0
    while not complete() and size <= MAX_BYTES:
        try:
            data = receive(_CHUNK)
        except TimeoutError:
            return
        if not data:
            return
        size += len(data)
        feed(data)
