"""systemd's units: running or not, at boot or not, masked or not."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Collection, Mapping

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.file import IsOlderThan, TextFile
from facts.systemd import Unit, UnitState
from operations._contain import Commands, operation, read
from operations._units import DIRECTORY, unit_of, verify
from operations.file import Text, is_as_wanted, require_path, require_writable, write, write_all

MARKERS = "/run/photon-fleet"
"""Where it is noted that a unit was reloaded; gone after a reboot, as every unit is new then."""

_PLACE = re.compile(r"[^/]+\.d/[A-Za-z0-9][A-Za-z0-9_.@-]*\.conf")
_TYPES = "service|socket|timer|target|mount|automount|swap|path|slice"
UNIT_NAME = re.compile(rf"[A-Za-z0-9:_.\\][A-Za-z0-9:_.@\\-]*\.(?:{_TYPES})")

# A static or generated unit is started by another one, or by what it was generated from: it cannot be enabled.
_AT_BOOT = {"", "enabled", "static", "alias", "indirect", "generated", "transient"}
_MASKED = {"masked", "masked-runtime"}
_UP = {"active", "reloading"}


def require_unit(unit: str) -> None:
    """Refuse what is no name of a unit.

    Raises:
        OperationError: no suffix such as `.service`, or a character that systemd escapes.
    """
    if not UNIT_NAME.fullmatch(unit):
        message = f"{unit!r} is no name of a unit, such as sshd.service"
        raise OperationError(message)


def _steps(state: UnitState, *, running: bool | None, enabled: bool | None, masked: bool) -> list[str]:
    """The verbs of systemctl that lead from `state` to what is wanted, in order."""
    steps = []
    is_masked = state["load"] == "masked" or state["file"] in _MASKED
    if masked:
        steps += ["stop"] if state["active"] in _UP else []
        return [*steps, *([] if state["file"] == "masked" else ["mask"])]
    if is_masked and (running or enabled):
        # A masked unit does not tell what it is below its mask: to enable what is enabled does no harm.
        steps.append("unmask")
        steps += ["enable"] if enabled else []
    elif enabled and state["file"] not in _AT_BOOT:
        steps.append("enable")
    elif enabled is False and state["file"] in {"enabled", "enabled-runtime", "linked"}:
        steps.append("disable")
    if running and state["active"] not in _UP:
        steps.append("start")
    elif running is False and state["active"] not in {"inactive", "failed"}:
        steps.append("stop")
    return steps


@operation()
def unit(
    unit: str,
    *,
    running: bool | None = None,
    enabled: bool | None = None,
    masked: bool = False,
) -> Commands:
    """
    Make sure that a unit runs or does not, now and at boot. What is None is left as it is.

    + unit: its whole name, such as "sshd.service"
    + running: whether it is active now
    + enabled: whether it starts at boot; a static unit, which others start, counts as enabled
    + masked: it can be started by nobody; needs `running=False` or None, and `enabled=False` or None

    A unit file that changed since systemd read it is read again first. A unit that is not there is refused unless
    nothing but "not running, not enabled" is asked for.

    **Example:**

    .. code:: python

        systemd.unit(name="Run Docker, now and at boot", unit="docker.service", running=True, enabled=True)
    """
    require_unit(unit)
    if masked and (running or enabled):
        message = f"{unit}: masked, and yet to be running or enabled"
        raise OperationError(message)
    state = read(Unit, unit=unit)
    if state["load"] == "not-found" and not masked:
        if running or enabled:
            message = f"there is no unit {unit} on this host"
            raise OperationError(message)
        host.noop(f"there is no unit {unit}")
        return
    steps = _steps(state, running=running, enabled=enabled, masked=masked)
    if not steps and not state["stale"]:
        host.noop(f"{unit} is as wanted")
        return
    commands = ["systemctl daemon-reload"] if state["stale"] else []
    commands += [f"systemctl {step} {shlex.quote(unit)}" for step in steps]
    yield StringCommand(" && ".join(commands))


def marker_of(unit: str, path: str) -> str:
    """What is touched when a unit was reloaded for a file."""
    return f"{MARKERS}/read-{hashlib.sha256(f'{unit}:{path}'.encode()).hexdigest()[:16]}"


def _told(unit: str, path: str, *, reload: bool) -> tuple[str, str]:
    """The command that makes a unit that runs read a file, and what is touched when it has done so (see facts)."""
    quoted = shlex.quote(unit)
    if not reload:
        return f"systemctl try-restart {quoted}", ""
    marker = marker_of(unit, path)
    return f"systemctl try-reload-or-restart {quoted} && mkdir -p {MARKERS} && touch {marker}", marker


@operation()
def configured(
    unit: str,
    path: str,
    content: str,
    mode: str = "644",
    user: str = "root",
    group: str = "root",
    check: str = "",
    *,
    reload: bool = False,
) -> Commands:
    r"""
    Make sure that a file has exactly this content, and that a unit that runs was started with it.

    + unit: restarted when it was started before the file was written, and left alone when it does not run
    + path: absolute path; its directory is made (0755) when missing
    + content: the whole text
    + mode: octal
    + user: owner
    + group: group
    + check: shell command that must succeed for `$new` before it is put in place
    + reload: the unit reads the file again when it is reloaded: no restart, but for one that cannot be reloaded

    A run that was killed between the two is made good by the next one.

    **Example:**

    .. code:: python

        systemd.configured(
            name="Limit the journal", unit="systemd-journald.service",
            path="/etc/systemd/journald.conf.d/90-photon-fleet.conf", content="[Journal]\nSystemMaxUse=1G\n",
        )
    """
    require_unit(unit)
    require_path(path)
    require_writable(content, mode, user, group)
    tell, marker = _told(unit, path, reload=reload)
    wanted = is_as_wanted(read(TextFile, path=path), content, mode=mode, user=user, group=group)
    if wanted and not read(IsOlderThan, unit=unit, path=path, marker=marker):
        host.noop(f"{path} is as wanted, and no older {unit} runs")
        return
    if wanted:
        yield StringCommand(tell)
        return
    yield write(path, content, mode=mode, user=user, group=group, check=check, after=tell)


def _require_place(place: str) -> None:
    require_unit(unit_of(place))
    if "/" in place and not _PLACE.fullmatch(place):
        message = f"{place!r} is no drop-in, such as sshd.service.d/limits.conf"
        raise OperationError(message)


def _is_behind(unit: str, path: str, *, restart: bool) -> bool:
    """Whether systemd, or the unit that runs, still has an older file. A template itself is nothing that runs."""
    if "@." in unit:
        return False
    return read(Unit, unit=unit)["stale"] or (restart and read(IsOlderThan, unit=unit, path=path))


@operation()
def definitions(files: Mapping[str, str], restart: Collection[str] = ()) -> Commands:
    """
    Make sure that unit files and drop-ins of /etc/systemd/system have these contents, and that they are in force.

    + files: `x.service` or `x.service.d/y.conf` to the whole text. What differs is checked with `systemd-analyze
      verify`, where the host has it, before any of it is put in place; a key that systemd does not know is an error
    + restart: units that are restarted when they run with an older file; the others get it when they start next

    **Example:**

    .. code:: python

        systemd.definitions(
            name="Limit nginx", files={"nginx.service.d/limits.conf": limits}, restart=["nginx.service"]
        )
    """
    wanted = {place: content if content.endswith("\n") else f"{content}\n" for place, content in files.items()}
    for place, content in wanted.items():
        _require_place(place)
        require_writable(content, "644", "root", "root")
    paths = {place: f"{DIRECTORY}/{place}" for place in wanted}
    differing = {
        place: content
        for place, content in wanted.items()
        if not is_as_wanted(read(TextFile, path=paths[place]), content, mode="644")
    }
    behind = {
        unit_of(place)
        for place in wanted
        if place in differing or _is_behind(unit_of(place), paths[place], restart=unit_of(place) in restart)
    }
    if not behind:
        host.noop(f"{len(wanted)} unit files are as wanted")
        return
    again = sorted(unit for unit in behind if unit in restart and "@." not in unit)
    force = "systemctl daemon-reload"
    force += f" && systemctl try-restart {' '.join(map(shlex.quote, again))}" if again else ""
    if not differing:
        yield StringCommand(force)
        return
    yield verify(differing)
    yield write_all([Text(paths[place], content) for place, content in differing.items()], after=force)
