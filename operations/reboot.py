"""A reboot that is proved: another boot, over a new connection, after what had to drain."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, OperationError, StringCommand

from facts.ostree import Deployments
from facts.update import Booted, RebootDue
from operations import _updates
from operations._contain import Commands, operation, read
from operations._point import IMAGE, POINT, watch_command
from operations._reboot import LABEL, REBOOT, come_back, drain_command

__all__ = ["LEAST_SECONDS", "MOST_SECONDS", "rebooted"]

LEAST_SECONDS, MOST_SECONDS = 10, 7200


@operation(is_idempotent=False, idempotent_notice="A reboot is asked for and made.")
def rebooted(
    seconds: int = 600,
    containers: Sequence[str] = (),
    drain_seconds: int = 300,
    watched: int = 0,
    *,
    nfs_clients: bool = False,
    if_due: bool = False,
) -> Commands:
    """
    Reboot the host, and wait until it is back: another boot, over a new connection, with its boot finished.

    + seconds: how long that may take; after that the host fails, and the sentence says where to look
    + containers: labels, such as `drain=true`; no container that has one may run any more
    + nfs_clients: no NFS client may be connected any more
    + drain_seconds: how long is waited for these; after that the host fails and is not rebooted
    + watched: seconds after which the host goes back from its last update by itself, counted from its boot, unless a
      proof confirms it; 0 for a reboot without that
    + if_due: only for a kernel, an image or a library of systemd's that waits for it. Services that use a replaced
      library are named: they need a restart

    **Example:**

    .. code:: python

        reboot.rebooted(name="Start the new kernel", seconds=900)
    """
    labels = _updates.require_names(containers, "label of a container", LABEL)
    for each in (seconds, drain_seconds):
        if not LEAST_SECONDS <= each <= MOST_SECONDS:
            message = f"{each} is no number of seconds from {LEAST_SECONDS} to {MOST_SECONDS}"
            raise OperationError(message)
    if if_due:
        due = read(RebootDue)
        for unit, files in due["libraries"].items():
            logger.info("%s%s still uses what was replaced: %s", host.print_prefix, unit, ", ".join(files))
        if not _updates.needs_reboot(due):
            host.noop("no reboot is due")
            return
    before = read(Booted)["id"]
    if labels or nfs_clients:
        yield StringCommand(f"( {drain_command(labels, drain_seconds, nfs_clients=nfs_clients)} )")
    if watched:
        yield watch_command(watched, name=POINT if read(Deployments) is None else IMAGE)
    yield StringCommand(REBOOT)
    yield FunctionCommand(come_back, (before, seconds), {})
