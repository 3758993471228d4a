"""sshd's configuration, validated before it is put in place, and never one that refuses the run that writes it."""

from __future__ import annotations

from collections.abc import Callable

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.file import IsOlderThan, TextFile
from facts.ssh import Connection, SshConnection
from operations._contain import Commands, operation, read
from operations.file import is_as_wanted, write

PATH = "/etc/ssh/sshd_config"

MARKER = "/run/photon-fleet/sshd-read"
"""Touched when sshd was told to read its file again; gone after a reboot, as sshd is new then."""

# SIGHUP makes sshd read its file again and keeps every session. With sshd.socket each connection reads it anyway.
RELOAD = (
    "if systemctl is-active --quiet sshd.service; "
    "then systemctl kill --signal=HUP --kill-who=main sshd.service; "
    "else systemctl is-active --quiet sshd.socket; fi "
    f"&& mkdir -p /run/photon-fleet && touch {MARKER}"
)

Refusal = Callable[[Connection | None], str | None]


def require_access(refuse: Refusal) -> None:
    """End the operation when `refuse` gives a reason for the connection of this run.

    Raises:
        OperationError: with that reason. Nothing has been changed.
    """
    # Under sudo the environment does not tell the connection.
    reason = refuse(read(SshConnection, _sudo=False))
    if reason is not None:
        message = f"refused: {reason}"
        raise OperationError(message)


@operation()
def config(content: str, refuse: Refusal) -> Commands:
    """
    Make sure that sshd_config has exactly this content, and that sshd uses it.

    + content: the whole file. It is checked with `sshd -t` on the host and put in place only when that succeeds
    + refuse: given the connection of this run (or None when it is not known), returns why the new configuration
      would refuse it, or None. With a reason nothing is changed and the host fails

    **Example:**

    .. code:: python

        sshd.config(name="Configure sshd", content=policy.render(), refuse=policy.locks_out)
    """
    wanted = is_as_wanted(read(TextFile, path=PATH), content, mode="600")
    if wanted and not read(IsOlderThan, unit="sshd.service", path=PATH, marker=MARKER):
        host.noop("sshd uses this configuration")
        return
    require_access(refuse)
    if wanted:
        yield StringCommand(f"sshd -t && {RELOAD}")
        return
    yield write(PATH, content, mode="600", check='sshd -t -f "$new"', after=RELOAD)
