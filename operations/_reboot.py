"""A reboot, and the wait for the host that comes back: another boot id, over a new connection."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import gevent
from paramiko import SSHException
from pyinfra import logger
from pyinfra.api import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host

from facts._update import boot
from facts.update import BOOTED
from operations._around import connector_arguments
from operations._contain import fail

REBOOT = "systemd-run --quiet --collect --on-active=1s systemctl --no-block reboot"
"""In a unit of its own, a moment later: the answer to this command must still come through."""

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*(=[A-Za-z0-9._/:-]*)?")
_ASK_EVERY_SECONDS = 1
_CONNECT_SECONDS = 5
# A host that has just booted has everything else to do as well: a login that is given up too early is never through.
_LOGIN_SECONDS = 45
_ANSWER_SECONDS = 60
_UNFINISHED = {"initializing", "starting", "maintenance", "stopping"}


def drain_command(containers: Sequence[str], seconds: int, *, nfs_clients: bool) -> str:
    """Wait until no container of a label runs and no NFS client is connected; then fail, naming what is still there.

    A Docker that is there and does not answer counts as one whose containers run.
    """
    silent = "echo Docker, which does not answer"
    asks = [
        f"docker ps --filter label={shlex.quote(label)} --format 'container {{{{.Names}}}}' || {silent}"
        for label in containers
    ]
    what = f"if command -v docker >/dev/null; then {'; '.join(asks)}; fi; " if asks else ""
    if nfs_clients:
        what += (
            "{ ss -Htn state established '( sport = :2049 )' || echo - - - ?; } | "
            "while read -r _ _ _ peer _; do echo NFS client $peer; done; "
        )
    return (
        f'end=$(($(date +%s) + {int(seconds)})); while :; do left=$({what}true); [ -n "$left" ] || exit 0; '
        f'if [ $(date +%s) -ge $end ]; then echo "not drained within {int(seconds)} s:" $left >&2; exit 1; fi; '
        "sleep 2; done"
    )


@runtime_checkable
class Renewing(Protocol):
    """A connector that can open its connection anew, as @photon can."""

    def hang_up(self) -> None:
        """Give up the connection; the next new one takes its place."""

    def anew(
        self,
        command: StringCommand,
        connect_seconds: float,
        login_seconds: float,
        **arguments: Any,  # noqa: ANN401 - pyinfra's connector arguments
    ) -> tuple[bool, CommandOutput]:
        """Run a command over a new connection."""

    def forget(self) -> None:
        """Read anew what is asked from here on."""


def come_back(state: State, host: Host, before: str, seconds: int) -> bool:
    """Wait for another boot than `before`, whose boot is finished; the connection is a new one afterwards."""
    target = ctx_host.get()
    connector = target.connector
    if not isinstance(connector, Renewing):
        return fail(state, host, "a reboot can only be waited for over @photon, which can prove a new login")
    end = time.monotonic() + seconds
    reason = "it has not gone down"
    while time.monotonic() < end:
        gevent.sleep(_ASK_EVERY_SECONDS)
        connector.hang_up()
        try:
            arguments = {**connector_arguments(target), "_timeout": _ANSWER_SECONDS}
            _, output = connector.anew(
                StringCommand(BOOTED), connect_seconds=_CONNECT_SECONDS, login_seconds=_LOGIN_SECONDS, **arguments
            )
            now = boot(output.stdout_lines)
        except (ConnectError, SSHException, OSError, EOFError, ValueError) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            continue
        if now["id"] == before:
            continue
        if now["state"] in _UNFINISHED:
            reason = f"its boot does not end (systemd says {now['state']})"
            continue
        connector.forget()
        if now["state"] != "running":
            logger.warning("%sthe host is back, and %s: see systemctl --failed", host.print_prefix, now["state"])
        return True
    sentence = f"the host is not back {seconds} s after its reboot was asked for: {reason}. Look at its console."
    return fail(state, host, sentence)
