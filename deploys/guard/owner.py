"""Whose run this is, and its lock on a host: laid before the run's first change there, gone with its connection.

The lock is a file below /run. It names the sshd process of the connection that laid it, so a run that dies loses it
when sshd notices (at once, or after the client-alive time of the ssh policy when the link was cut), and a reboot ends
it. A run that changes nothing needs none.
"""

from __future__ import annotations

import functools
import getpass
import os
import socket
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from pyinfra import logger
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from deploys.policies.render import render
from facts.run import DIRECTORY, GUARD
from inventories._ssh import PhotonConnector
from operations._around import always_around, connector_arguments

BUSY: dict[str, str] = {}
"""Host name -> who else is changing it; this run has left it alone."""
HELD = 75
LOCK_SECONDS = 60


def one_line(text: str) -> str:
    """Text from outside as part of one line of a file."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:300]


@functools.cache
def _commit() -> str:
    """The commit that the run is made from, with a mark for changes that are in no commit."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path.cwd(), capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return one_line(done.stdout) or "unknown"


@functools.cache
def _person() -> str:
    """The person at the controller, whoever sudo made of them."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return one_line(f"{name}@{socket.gethostname()}")


@dataclass(frozen=True)
class Owner:
    """Who runs, why and from which commit."""

    why: str = ""
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    process: int = field(default_factory=os.getpid)

    def lines(self) -> dict[str, str]:
        """What a host keeps of it, one `name: value` a line."""
        return {
            "by": f"{_person()}, process {self.process}", "why": one_line(self.why) or "not said", "commit": _commit(),
            "run": self.run,
        }  # fmt: skip

    def text(self, **more: str) -> str:
        """The same as text."""
        return "\n".join(f"{name}: {value}" for name, value in {**more, **self.lines()}.items())


def connector_of(target: Host) -> PhotonConnector:
    """The connector of a host, which must be able to open a connection anew.

    Raises:
        OperationError: it is another one than ours.
    """
    if not isinstance(target.connector, PhotonConnector):
        message = f"{target.name}: changes are only made over @photon, which pins host keys and can prove a new login"
        raise OperationError(message)
    return target.connector


def is_guarded(target: Host) -> bool:
    """Whether the host's changes are guarded: always, unless its inventory says `guard=False`.

    That is for connectors that cannot open a connection anew, where it costs the way back of what cuts the connection.
    """
    given = target.data.get("guard", default=True)
    return given is not False and str(given).lower() != "false"


class Lock:
    """One run's lock on one host."""

    def __init__(self, target: Host, owner: Owner) -> None:
        self._host, self._owner = target, owner
        self._client: object = None

    def before(self) -> None:
        """Lay it, unless this run has, over the connection that it has now.

        Raises:
            OperationError: another run has, with who, why and since when.
        """
        connector = connector_of(self._host)
        if self._client is not None and self._client is connector.client:
            return
        script = render("guard/lock.sh", directory=DIRECTORY, id=self._owner.run, about=self._owner.text())
        succeeded, output = self._host.run_shell_command(
            StringCommand("sh -s"), **{**connector_arguments(self._host), "_stdin": script, "_timeout": LOCK_SECONDS}
        )
        if not succeeded or output.stdout_lines[-1:] != ["taken"]:
            if company := refusal(output.stdout_lines):
                raise busy(self._host.name, company)
            message = f"the host cannot be locked: {output.output}"
            raise OperationError(message)
        if self._client is None:
            connector.at_end(self._release)
        self._client = connector.client

    @staticmethod
    def wrapped(command: StringCommand) -> StringCommand:
        """A command needs nothing but the lock."""
        return command

    def after(self) -> None:
        """The lock stays for the rest of the run."""

    def _release(self) -> None:
        line = (
            f'cd {DIRECTORY} && read -r id rest < lock && [ "$id" = {self._owner.run} ] && rm -f lock && '
            f"cd {GUARD} 2>/dev/null && flock -w 30 lock rm -rf saved; true"
        )
        try:
            self._host.run_shell_command(
                StringCommand(f"sh -c '{line}'"), **{**connector_arguments(self._host), "_timeout": LOCK_SECONDS}
            )
        except Exception as error:  # noqa: BLE001 - it goes with the connection anyway
            logger.debug("The lock of %s could not be removed: %s", self._host.name, error)


def busy(name: str, sentence: str) -> OperationError:
    """The refusal of a host that somebody else is changing, which is remembered: it is no failure of this run."""
    BUSY[name] = sentence
    return OperationError(sentence)


def refusal(lines: list[str]) -> str:
    """The sentence about another run that is at this host, from the text of its lock; "" when it is none."""
    found = dict(line.split(": ", 1) for line in lines if ": " in line)
    if "by" not in found:
        return ""
    return (
        f"refused: {found['by']} is changing this host since {found.get('since', 'some time')} "
        f"({found.get('why')}; commit {found.get('commit')}). Run again when that has ended."
    )


def take_turns(owner: Owner) -> None:
    """Let this run of the current pyinfra host lock it before its first change."""
    target = ctx_host.get()
    if is_guarded(target):
        always_around(target, Lock(target, owner))
    else:
        logger.warning("%sguard=false: nothing undoes a change that cuts the connection", target.print_prefix)
