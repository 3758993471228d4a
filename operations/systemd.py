"""systemd's units: running or not, at boot or not, masked or not."""

from __future__ import annotations

import re
import shlex

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.file import IsOlderThan, TextFile
from facts.systemd import Unit, UnitState
from operations._contain import Commands, operation, read
from operations.file import is_as_wanted, require_path, require_writable, write

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


@operation()
def configured(unit: str, path: str, content: str, mode: str = "644", check: str = "") -> Commands:
    r"""
    Make sure that a file has exactly this content, and that a unit that runs was started with it.

    + unit: restarted when it was started before the file was written, and left alone when it does not run
    + path: absolute path; its directory is made (0755) when missing
    + content: the whole text
    + mode: octal; the owner is root
    + check: shell command that must succeed for `$new` before it is put in place

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
    require_writable(content, mode, "root", "root")
    wanted = is_as_wanted(read(TextFile, path=path), content, mode=mode)
    if wanted and not read(IsOlderThan, unit=unit, path=path):
        host.noop(f"{path} is as wanted, and no older {unit} runs")
        return
    restart = f"systemctl try-restart {shlex.quote(unit)}"
    if wanted:
        yield StringCommand(restart)
        return
    yield write(path, content, mode=mode, check=check, after=restart)
