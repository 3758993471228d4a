"""Commit-confirm: a change that could cut the connection undoes itself unless the controller gets in anew.

Around each operation of a guarded policy that changes something: what the policy touches is saved on the host, and a
systemd timer is armed to put it back (and a unit that does so at the next boot); the change is made; the controller
confirms over a new connection, with the pinned key, as the user, on the port and with the sudo of the next run. Only
that disarms the timer. The state from before the policy's first change is kept until the run ends, so that the way back
leads there from any of its changes. Everything on the host is shell and systemd (templates/guard/guard.sh.j2).
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from typing import Any

import gevent
from paramiko import SSHException
from pyinfra import logger
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host

from deploys.errors import InputError
from deploys.guard.owner import Owner, connector_of, is_guarded
from deploys.policies.base import Policy, Undo
from deploys.policies.render import render
from facts.run import GUARD
from inventories._ssh import CONNECT_SECONDS
from operations import _background
from operations._around import around, connector_arguments

SECONDS = 120
"""From the arming of the timer to the way back, unless the inventory says otherwise (`guard_seconds`)."""
LEAST_SECONDS, MOST_SECONDS = 10, 3600
LOGIN_SECONDS = 30
"""How long a new connection is tried before the change counts as one that cut us off."""
GRACE_SECONDS = 90
"""How long the way back itself may take."""
SETTLE_SECONDS = 0.5
OLD_LINK_SECONDS = 15
"""How long the connection that the change may have cut is waited for; what it was told goes on without it."""
BOOT_UNIT = "photon-fleet-guard.service"

_NO_ANSWER = (ConnectError, SSHException, OSError, EOFError)

UNDONE: dict[str, list[str]] = {}
"""Host name -> sentences about the changes of this run that were undone, or about which that is not known."""


def seconds_of(target: Host) -> int:
    """The time limit of a host's guards, in seconds.

    Raises:
        InputError: `guard_seconds` is no number from 10 to 3600.
    """
    given = target.data.get("guard_seconds", default=SECONDS)
    try:
        seconds = int(given)
    except (TypeError, ValueError):
        seconds = 0
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        message = f"{target.name}: guard_seconds: {given!r} is no number from {LEAST_SECONDS} to {MOST_SECONDS}"
        raise InputError(message)
    return seconds


class Guard:
    """The guard of one policy on one host."""

    def __init__(self, target: Host, policy: str, undo: Undo, owner: Owner, seconds: int | None = None) -> None:
        self._host, self._policy, self._undo, self._owner = target, policy, undo, owner
        self._connector = connector_of(target)
        # Two changes of one run, or two names of one host, have nothing saved in common.
        content = sha256(repr((target.name, undo)).encode()).hexdigest()[:8]
        self._id = f"{owner.run}-{policy}-{content}"
        self._seconds = seconds_of(target) if seconds is None else seconds
        self._armed_at: float | None = None
        self._watched = False

    def before(self) -> None:
        """Arm.

        Raises:
            OperationError: it cannot be armed; then nothing has been changed.
        """
        script = self._script()
        size = len(script.encode())
        incoming = f"{GUARD}/incoming.{self._id}"
        line = (
            f'umask 077; mkdir -p {GUARD} && cat > {incoming} && [ "$(wc -c < {incoming})" -eq {size} ] '
            f"&& sh {incoming} arm; status=$?; rm -f {incoming}; exit $status"
        )
        if not self._watched:
            self._watched = True
            self._connector.at_end(self._at_end)
        earlier = self._armed_at
        # Counted from before it is armed: whoever waits for the way back waits a little longer.
        self._armed_at = time.monotonic()
        succeeded, output = self._run(StringCommand(f"( {line} )"), _stdin=script)
        if not succeeded or output.stdout_lines[-1:] != ["armed"]:
            self._armed_at = earlier
            reason = "; ".join(line for line in [*output.stdout_lines, *output.stderr_lines] if line)
            message = f"the way back could not be armed, so nothing was changed: {reason}"
            raise OperationError(message)

    def wrapped(self, command: StringCommand) -> StringCommand:
        """The command, refused by the host itself when the way back has been taken meanwhile.

        The controller may have been stopped for a while, or be about to end: then nothing may be changed any more.
        """
        return StringCommand(
            f'if [ "$(cat {GUARD}/armed/id 2>/dev/null)" = {self._id} ]; then\n',
            command,
            "\nelse echo 'the way back of this change has been taken: nothing more is changed' >&2; exit 1; fi",
            _separator="",
            **command.connector_arguments,
        )

    def after(self) -> None:
        """Prove that the next run gets in, and disarm.

        Raises:
            OperationError: it does not; the sentence says what has become of the change.
        """
        window = min(LOGIN_SECONDS, self._seconds / 2)
        deadline = time.monotonic() + window
        reason = "the change does not end"
        while True:
            # A server that reads its file again greets with the old one for a moment.
            gevent.sleep(SETTLE_SECONDS)
            try:
                _, output = self._connector.anew(
                    self._call("confirm"), connect_seconds=min(CONNECT_SECONDS, window), **self._arguments()
                )
            except _NO_ANSWER as error:
                reason = "the controller could not log in anew: " + str(error).rstrip(".")
            else:
                if output.stdout_lines != ["incomplete"]:
                    break
            if time.monotonic() > deadline:
                self._must_be_confirmed(self._go_back(reason))
                return
        self._conclude(output)

    @staticmethod
    def _must_be_confirmed(sentence: str) -> None:
        if sentence:
            raise OperationError(sentence)

    def _conclude(self, output: CommandOutput) -> None:
        if "confirmed" in output.stdout_lines:
            self._armed_at = None
            self._connector.forget()
            return
        said = "; ".join(output.stderr_lines)
        if not output.stdout_lines:
            self._must_be_confirmed(self._go_back(said or "the host did not confirm"))
            return
        raise OperationError(self._outcome(output.stdout_lines, said))

    def _at_end(self) -> None:
        if self._armed_at is not None:
            self._go_back("the run ended before the change was confirmed")

    def _go_back(self, why: str) -> str:
        """Have the change undone, now if the host can be told so, else by its timer; returns what is known then.

        "" when the host says that it was confirmed: only the answer had been lost.
        """
        logger.info("%s%s: waiting for the way back (%s)", self._host.print_prefix, self._policy, why)
        end = (self._armed_at or time.monotonic()) + self._seconds + GRACE_SECONDS
        ways: list[tuple[Callable[..., tuple[bool, CommandOutput]], int]] = [
            (self._run, OLD_LINK_SECONDS), (self._connector.anew, self._seconds + GRACE_SECONDS),
        ]  # fmt: skip
        reason = why
        while True:
            for way, seconds in ways:
                try:
                    succeeded, output = way(self._call("undo", why), **{**self._arguments(), "_timeout": seconds})
                except _NO_ANSWER as error:
                    reason = str(error) or type(error).__name__
                    continue
                if "confirmed" in output.stdout_lines:
                    self._armed_at = None
                    return ""
                if succeeded or output.stdout_lines:
                    return self._outcome(output.stdout_lines, "; ".join(output.stderr_lines))
                reason = "; ".join(output.stderr_lines)
            if time.monotonic() > end:
                return self._outcome([], reason)
            # What did not answer once is not asked twice: a dead link would take a minute each time.
            ways = ways[-1:]
            gevent.sleep(2)

    def _outcome(self, lines: list[str], reason: str) -> str:
        self._armed_at = None
        sentence = outcome(self._policy, lines) or (
            f"UNKNOWN: whether the change to {self._policy} was confirmed could not be read ({reason}). The host "
            "undoes by itself what was not; the next run tells."
        )
        UNDONE.setdefault(self._host.name, []).append(sentence)
        return sentence

    def _arguments(self) -> dict[str, Any]:
        return {**connector_arguments(self._host), "_timeout": self._seconds + GRACE_SECONDS}

    def _run(self, command: StringCommand, **arguments: Any) -> tuple[bool, CommandOutput]:  # noqa: ANN401
        return self._host.run_shell_command(command, **{**self._arguments(), **arguments})

    def _call(self, verb: str, *words: str) -> StringCommand:
        """Call the script where it lies now: armed, confirmed, or after its way back."""
        arguments = " ".join(shlex.quote(word) for word in (verb, self._id, *words))
        return StringCommand(
            f"( cd {GUARD} && for d in armed saved last; do "
            f'if [ "$(cat $d/id 2>/dev/null)" = {self._id} ]; then exec sh {GUARD}/$d/guard.sh {arguments}; fi; done; '
            "echo 'the host does not know this change' >&2; exit 1 )"
        )

    def _script(self) -> str:
        undo = self._undo
        return render(
            "guard/guard.sh", id=self._id, seconds=self._seconds, state=GUARD, boot_unit=BOOT_UNIT, paths=undo.paths,
            background=_background.UNIT,
            about=self._owner.text(policy=self._policy), running=undo.running,
        )  # fmt: skip


def outcome(policy: str, lines: list[str]) -> str:
    """The sentence about a verdict of the host; "" when the lines hold none."""
    found: dict[str, str] = {}
    problems = []
    for line in lines:
        name, separator, value = line.partition(": ")
        if separator and name == "problem":
            problems.append(value)
        elif separator:
            found[name] = value
    if "result" not in found:
        return ""
    told = f"the change to {found.get('policy', policy)} of {found.get('armed')} by {found.get('by')} (commit "
    if found["result"] == "untouched":
        return f"NOT CHANGED: {told}{found.get('commit')}) was not begun ({found.get('because')})."
    told += f"{found.get('commit')}) was undone by the host at {found.get('undone')}, because: {found.get('because')}"
    if found["result"] == "reverted":
        return f"REVERTED: {told}. All that it touched is as it was before."
    return f"NOT REVERTED: {told}. Not as before: {'; '.join(problems)}. Look at {GUARD}/last on the host."


@contextmanager
def guarding(what: str, undo: Undo | None, owner: Owner, seconds: int | None = None) -> Iterator[None]:
    """Guard the operations that are declared for the current pyinfra host within the block, by a way back.

    `seconds` is the time limit where the change itself takes long; else it is what the host's inventory says.
    """
    target = ctx_host.get()
    if undo is None or not is_guarded(target):
        yield
        return
    with around(target, Guard(target, what, undo, owner, seconds)):
        yield


def guarded(policy: Policy, owner: Owner) -> AbstractContextManager[None]:
    """The same for a policy, when it says how to undo it."""
    return guarding(policy.name, policy.undo(), owner)
