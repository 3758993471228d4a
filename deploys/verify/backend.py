"""A testinfra backend on pyinfra's connection: no second login, the same user, sudo and pinned key as the run.

A backend lives as long as one proof of one host. Within it the same command is run once: a check is a read, and all
checks of a proof look at the same moment. What checks are going to read can be collected first and read together, where
the connector can do that (`reading` and `read_ahead` of @photon); elsewhere it is read one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from paramiko import SSHException
from pyinfra.api import StringCommand
from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host as TestinfraHost
from typing_extensions import override

from operations._around import connector_arguments

if TYPE_CHECKING:
    from pyinfra.api.host import Host

COMMAND_SECONDS = 60
# Kept out of commands' exit codes: the shell itself ends with at most 255.
_MARK = "photon-fleet-status:"


class UnreadableError(Exception):
    """The host did not answer a read; the sentence says how."""


class NotReadYet(BaseException):
    """A check that is being collected needs the answer of a command before it can go on."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class ConnectionBackend(BaseBackend):  # type: ignore[misc]
    """Runs testinfra's commands with `run_shell_command` of a connected pyinfra host."""

    NAME: ClassVar[str] = "pyinfra"

    def __init__(self, host: Host) -> None:
        super().__init__(host.name)
        self._pyinfra_host = host
        self._arguments = {**connector_arguments(host), "_timeout": COMMAND_SECONDS}
        self._seen: dict[str, CommandResult | UnreadableError] = {}
        self._last: CommandResult | None = None
        self._collecting = False

    @override
    def run(self, command: str, *args: str, **_: Any) -> CommandResult:
        line = self.get_command(command, *args)
        if line not in self._seen:
            if self._collecting:
                raise NotReadYet(line)
            with self._reading(whole=False):
                self._read_together([line])
        found = self._seen[line]
        if isinstance(found, UnreadableError):
            raise found
        self._last = found
        return found

    def collect(self, reads: Iterable[Callable[[], object]]) -> None:
        """Call `reads`, with what they ask of the host read in as few round trips as they allow.

        A read is called again until it needs no answer that is not there yet: one round for those that ask one thing,
        one more for what depends on the first answer. Up to its last call it ends with `NotReadYet`.
        """
        waiting = list(reads)
        self._collecting = True
        try:
            with self._reading():
                while needs := [(read, line) for read in waiting if (line := self._first_need(read)) is not None]:
                    self._read_together(list(dict.fromkeys(line for _, line in needs)))
                    waiting = [read for read, _ in needs]
        finally:
            self._collecting = False

    def _reading(self, **options: bool) -> AbstractContextManager[None]:
        reading = getattr(self._pyinfra_host.connector, "reading", None)
        return reading("proof", **options) if reading else nullcontext()

    @staticmethod
    def _first_need(read: Callable[[], object]) -> str | None:
        try:
            read()
        except NotReadYet as need:
            return need.line
        return None

    def _read_together(self, lines: Sequence[str]) -> None:
        read_ahead = getattr(self._pyinfra_host.connector, "read_ahead", None)
        if read_ahead:
            # What could not be read together says why when it is read by itself.
            with suppress(Exception):
                read_ahead([_marked(line) for line in lines], **self._arguments)
        for line in lines:
            try:
                self._seen[line] = self._run(line)
            except Exception as error:  # noqa: BLE001 - a check that cannot be read has failed, and no other has
                self._seen[line] = error if isinstance(error, UnreadableError) else UnreadableError(str(error))

    def last_words(self) -> str:
        """What the last command was, and how it ended."""
        if self._last is None:
            return "no command was run"
        words = " ".join((self._last.stderr or self._last.stdout).split())[:300]
        return f"`{self._last.command.decode()}` ended with {self._last.rc}: {words}"

    def _run(self, line: str) -> CommandResult:
        try:
            _, output = self._pyinfra_host.run_shell_command(_marked(line), **self._arguments)
        except (TimeoutError, OSError, SSHException) as error:
            message = f"no answer: {error or type(error).__name__}"
            raise UnreadableError(message) from error
        lines = output.stdout_lines
        status = lines.pop() if lines else ""
        if not status.startswith(_MARK):
            message = f"the answer ended early: {output.output[-200:]!r}"
            raise UnreadableError(message)
        if lines and not lines[-1]:
            lines.pop()
        stdout = "".join(f"{text}\n" for text in lines)
        stderr = "".join(f"{text}\n" for text in output.stderr_lines)
        return self.result(int(status.removeprefix(_MARK)), line.encode(), stdout, stderr)


def _marked(line: str) -> StringCommand:
    # pyinfra tells success, not the status; testinfra wants the status.
    return StringCommand(f"( {line}\n); printf '\\n{_MARK}%s\\n' $?")


def testinfra_host(host: Host) -> TestinfraHost:
    """The testinfra host of a connected pyinfra host."""
    backend = ConnectionBackend(host)
    made = TestinfraHost(backend)
    backend.set_host(made)
    return made
