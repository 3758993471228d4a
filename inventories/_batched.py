"""A connector whose reads are batched; what a batch is and what it promises is told in _batch.py and _reads.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import click
import gevent
from paramiko import SSHException
from pyinfra import logger
from pyinfra.api import StringCommand
from pyinfra.api.output import echo, format_text
from pyinfra.api.state import State, StateStage
from pyinfra.connectors.base import DataMeta
from pyinfra.connectors.ssh import ConnectorData, SSHConnector, connector_data_meta
from pyinfra.connectors.util import (
    SUDO_PASSWORD_REQUIRED_LINES,
    CommandOutput,
    OutputLine,
    extract_control_arguments,
    make_unix_command_for_host,
)
from typing_extensions import override

from inventories._asker import reads_a_fact, watch
from inventories._batch import MAX_SCRIPT, Batch
from inventories._exec import QUIET_SECONDS, lines, run_batch
from inventories._profiles import Key, Recorder, encodes
from inventories._reads import Reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinfra.api.host import Host

    from inventories._batch import Answer

_RECORDERS: WeakKeyDictionary[State, Recorder] = WeakKeyDictionary()
LOST_READ = "the connection was lost while the host was read; nothing was changed by that"
READ_SECONDS = 360
"""The end of a read that is run alone. tdnf's own limit is 300 s, for a repository that does not answer."""


class BatchedData(ConnectorData):
    """Host data that this connector knows."""

    ssh_batched_reads: bool
    ssh_read_seconds: int


class BatchedConnector(SSHConnector):
    """pyinfra's SSH connector, with reads in batches."""

    data: BatchedData
    data_cls: ClassVar[type[Any]] = BatchedData  # type: ignore[misc]
    data_meta: ClassVar[dict[str, DataMeta]] = {  # type: ignore[misc]
        **connector_data_meta,
        "ssh_batched_reads": DataMeta("Whether facts and proofs are read together", default=True),
        "ssh_read_seconds": DataMeta("Seconds after which a read that does not end has failed", READ_SECONDS),
    }

    _reads: Reads | None = None
    _key: Key | None = None
    _declared: str | None = None
    _early: gevent.Greenlet | None = None
    _said = False
    _first_seconds: float = QUIET_SECONDS
    _in_blocks = True

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        # Here and not later: hosts are connected in greenlets of their own, which have no command line.
        context = click.get_current_context(silent=True)
        self._deploy = list(context.params.get("operations") or ()) if context else []

    @override
    def connect(self) -> None:
        super().connect()
        if not self.data["ssh_batched_reads"]:
            return
        watch(self.state)
        self._first_seconds = self._limit({})
        self._in_blocks = True
        self._key = _key(self.host, self._deploy)
        facts_and_proof = self._recorder.opened(self._key)
        known = {"prepare": facts_and_proof.get("facts", []), "proof": facts_and_proof.get("proof", [])}
        self._reads = Reads(self._run_batch, {**known, "execute": known["prepare"]})
        if known["prepare"]:
            self._early = gevent.spawn(self._read_early, self._reads)

    def _read_early(self, reads: Reads) -> None:
        """Read what the run is going to ask while the controller works out what that is.

        Trouble is not news yet: what could not be read now is read, and told, when it is asked for.
        """
        # With -y pyinfra asks nothing before it executes.
        reads.enter("prepare" if self.state.should_check_for_changes() else "execute")
        with suppress(SSHException):
            reads.ahead(())

    def _settled(self) -> Reads | None:
        """The reads, once the early ones are there."""
        if self._early is not None:
            self._early.join()
            self._early = None
        return self._reads

    @override
    def disconnect(self) -> None:
        super().disconnect()
        if self._early is not None:
            self._early.kill()
            self._early = None
        if self._reads is not None and self._key is not None:
            self._recorder.closed(self._key, _learned(self._reads) if self._came_to_its_end() else {})
            self._reads = None

    def _came_to_its_end(self) -> bool:
        executing = self.state.is_executing and self.state.current_stage <= StateStage.Execute
        return not executing and self.host not in self.state.failed_hosts

    @property
    def _recorder(self) -> Recorder:
        return _RECORDERS.setdefault(self.state, Recorder())

    def forget(self) -> None:
        """The host may have been changed: read anew what is asked from here on."""
        if (reads := self._settled()) is not None:
            reads.forget()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """What may change the host: neither what was read before holds, nor what another greenlet reads meanwhile."""
        self.forget()
        try:
            yield
        finally:
            self.forget()

    @contextmanager
    def reading(self, phase: str, *, whole: bool = True) -> Iterator[None]:
        """Commands within are reads, whoever runs them, and see the host as it is from here on.

        With `whole` the first of them brings the answers of all that were read in this phase the last time.
        """
        self._declared = phase
        if (reads := self._settled()) is not None:
            reads.enter(phase, whole=whole)
        try:
            yield
        finally:
            self._declared = None

    def read_ahead(self, commands: Iterable[StringCommand], **arguments: Any) -> None:  # noqa: ANN401
        """Read together what is going to be read one by one with the same arguments, within `reading()`.

        Raises:
            SSHException: the first of them did not end in time, or the connection was lost.
        """
        reads = self._settled()
        if reads is None or self._declared is None:
            return
        self._first_seconds = self._limit(arguments)
        several = [self._command_line(command, arguments) for command in commands]
        reads.ahead(line for line in several if line is not None)

    @override
    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        if self._declared is None and not reads_a_fact():
            with self._changing():
                return self._run_alone(command, print_output=print_output, print_input=print_input, **arguments)
        answer = self._from_batch(command, arguments)
        if answer is None:
            arguments["_timeout"] = arguments.get("_timeout") or self.data["ssh_read_seconds"]
            # What pyinfra runs on the way, such as a script that tells sudo the password, is no read.
            declared, self._declared = self._declared, None
            try:
                return self._run_alone(command, print_output=print_output, print_input=print_input, **arguments)
            finally:
                self._declared = declared
        if print_input:
            echo(f"{self.host.print_prefix}>>> {self._command_line(command, arguments)}", err=True)
        output = CommandOutput(
            [
                *(OutputLine("stdout", line) for line in lines(answer.out)),
                *(OutputLine("stderr", line) for line in lines(answer.err)),
            ]
        )
        if print_output:
            for line in output:
                shown = line.line if line.buffer_name == "stdout" else format_text(line.line, "red")
                echo(f"{self.host.print_prefix}{shown}", err=True)
        return answer.status in (arguments.get("_success_exit_codes") or [0]), output

    def _run_alone(self, command: StringCommand, **arguments: Any) -> tuple[bool, CommandOutput]:  # noqa: ANN401
        return super().run_shell_command(command, **arguments)

    @override
    def put_file(self, *args: Any, **arguments: Any) -> bool:
        with self._changing():
            return bool(super().put_file(*args, **arguments))

    @override
    def rsync(self, *args: Any, **arguments: Any) -> bool:
        with self._changing():
            return bool(super().rsync(*args, **arguments))

    def _from_batch(self, command: StringCommand, arguments: dict[str, Any]) -> Answer | None:
        executing = self.state.is_executing
        reads = self._settled()
        if reads is None:
            return None
        if executing and self._declared is None and not self.host.in_op:
            # A function on the controller, or a condition: it may be waiting for what is done elsewhere.
            reads.forget()
            return None
        line = self._command_line(command, arguments)
        if line is None:
            return None
        phase = self._declared or ("execute" if executing else "prepare")
        if phase != reads.phase:
            reads.enter(phase)
        self._first_seconds = self._limit(arguments)
        answer = reads.answer(line, self._declared or self.host.current_op_hash)
        if reads.off is not None and not self._said:
            self._said = True
            say = self.host.log if self.state.print_fact_info else logger.debug
            say(f"reads are not batched on this host: {reads.off}")
        if answer is not None and answer.status != 0 and _wants_a_password(answer):
            return None
        return answer

    def _command_line(self, command: StringCommand, arguments: dict[str, Any]) -> str | None:
        """The command as pyinfra would run it, or None for one that must be run alone."""
        rest = dict(arguments)
        control = extract_control_arguments(rest)  # type: ignore[arg-type]
        limited = control.get("_timeout") and self._declared is None
        if control.get("_get_pty") or control.get("_stdin") or limited or rest.get("_env"):
            return None
        if rest.get("_shell_executable", "sh") is None or self.host.connector_data.get("prompted_sudo_password"):
            return None
        if rest.get("_sudo_password") or rest.get("_su_password"):
            return None
        whole = make_unix_command_for_host(self.state, self.host, command, **rest)
        raw: str = whole.get_raw_value()
        masked = raw != str(whole)
        return None if masked or "\0" in raw or len(raw) > MAX_SCRIPT // 8 or not encodes(raw) else raw

    def _limit(self, arguments: dict[str, Any]) -> float:
        """Seconds that a command may hold its batch up."""
        return min(QUIET_SECONDS, arguments.get("_timeout") or self.data["ssh_read_seconds"])

    def _run_batch(self, commands: Sequence[str]) -> list[Answer]:
        transport = self.client.get_transport() if self.client else None
        if transport is None:
            raise SSHException(LOST_READ)
        logger.debug("Reading %d commands at once on %s", len(commands), self.host.name)
        try:
            if self._in_blocks and len(commands) > 1:
                answers = run_batch(transport, Batch(commands), self._first_seconds)
                if len(answers) == len(commands):
                    return answers
                # A command holds it up or ends it. Which one is only seen when each answer comes at once.
                self._in_blocks = False
            return run_batch(transport, Batch(commands, at_once=True), self._first_seconds)
        except (EOFError, OSError, SSHException) as error:
            raise SSHException(str(error) if transport.is_active() else LOST_READ) from error


def _wants_a_password(answer: Answer) -> bool:
    """Whether sudo asks for one: alone, pyinfra asks the person."""
    return any(line.strip() in SUDO_PASSWORD_REQUIRED_LINES for line in lines(answer.out + answer.err))


def _key(host: Host, deploy: Sequence[str]) -> Key:
    """What changes the reads of a run: its deploy files and options, the versions, the host's groups and policies."""
    effective = host.data.get("policies")
    run = {
        "deploy": deploy,
        "only": host.data.get("only"),
        "groups": sorted(host.groups),
        "versions": [version("photon-fleet"), version("pyinfra")],
    }
    return Key.of(run, effective.to_json() if hasattr(effective, "to_json") else None)


def _learned(reads: Reads) -> dict[str, list[str]]:
    phases = reads.learned()
    facts = max(phases.get("prepare", []), phases.get("execute", []), key=len)
    return {name: order for name, order in (("facts", facts), ("proof", phases.get("proof", []))) if order}
