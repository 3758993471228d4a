"""The host's clock: its time zone, and that no two daemons set it."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.clock import LOCALTIME, ZONES, LocalTime
from facts.systemd import Unit
from operations._contain import Commands, comes_first, operation, read
from operations.systemd import require_unit

ZONE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*)*")


def require_zone(name: str) -> None:
    """Refuse what is no name of a time zone.

    Raises:
        OperationError: another character than a name has, `..`, or a leading slash or dash.
    """
    if not ZONE_NAME.fullmatch(name):
        message = f"{name!r} is no name of a time zone, such as Europe/Berlin"
        raise OperationError(message)


@operation()
def zone(zone: str) -> Commands:
    """
    Make sure that the host is in a time zone: /etc/localtime is a link to it.

    + zone: its name, such as "Europe/Berlin"; refused when the host has no such zone

    The link is changed in one step, as `timedatectl set-timezone` does it, without needing D-Bus for it. What
    timedatectl does beside that concerns hosts whose hardware clock is in local time, which Photon's never is.
    Daemons that run keep the old zone until they are restarted; timedatectl itself may show it for half a minute.

    **Example:**

    .. code:: python

        clock.zone(name="Set the time zone", zone="Etc/UTC")
    """
    require_zone(zone)
    found = read(LocalTime, zone=zone)
    message = f"there is no time zone {zone!r} in {ZONES} of this host"
    if found["known"] is False:
        raise OperationError(message)
    if found["known"] is None:
        comes_first(f"{message}: install the package tzdata")
    if found["kind"] == "directory":
        message = f"{LOCALTIME} is a directory: it is not replaced"
        raise OperationError(message)
    if found["kind"] == "link" and posixpath.normpath(posixpath.join("/etc", found["link"])) == f"{ZONES}/{zone}":
        host.noop(f"the time zone is {zone}")
        return
    new = "/etc/.localtime.photon-fleet"
    yield StringCommand(f"ln -sfnT {shlex.quote(f'{ZONES}/{zone}')} {new} && mv -fT {new} {LOCALTIME}")


@operation()
def only_keeper(others: Sequence[str], *, replace: bool = False) -> Commands:
    """
    Make sure that none of these units keeps the clock, now or from the next boot on.

    + others: units of daemons, such as "chronyd.service"; those that are not there are fine
    + replace: stop and disable them; without it the host is refused when one runs or is enabled

    **Example:**

    .. code:: python

        clock.only_keeper(name="Let nothing else set the clock", others=["chronyd.service", "ntpd.service"])
    """
    commands = []
    for unit in others:
        require_unit(unit)
        found = read(Unit, unit=unit)
        runs, enabled = found["active"] in {"active", "reloading", "activating"}, found["file"] == "enabled"
        if not runs and not enabled:
            continue
        if not replace:
            word = "keeps" if runs else "will keep, from the next boot on,"
            message = f"{unit} {word} the clock of this host: disable it first, or say that it is to be replaced"
            raise OperationError(message)
        commands.append(f"systemctl disable --now {shlex.quote(unit)}")
    if not commands:
        host.noop("nothing else keeps the clock")
        return
    yield StringCommand(" && ".join(commands))
