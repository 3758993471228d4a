"""NFS mounts as systemd units, and an NFS server.

Nothing here looks at a mount point that may be on NFS: with its server gone, whoever does so waits for ever. What is
mounted is read from the kernel's list, what is to be from units.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.file import IsOlderThan, TextFile
from facts.mounts import Directory, Mount, Mounts
from facts.nfs import Exported
from facts.systemd import Unit, UnitState
from operations import _mount_units
from operations._contain import Commands, operation, read
from operations.file import Text, is_as_wanted, write, write_all
from operations.mount import missing_options
from operations.storage import require_place

EXPORTS = "/etc/exports.d/photon-fleet.exports"
SERVER = "nfs-server.service"
CONF = "/etc/nfs.conf"
STOP_SECONDS = 60
_SOURCE = re.compile(r"(\[[0-9a-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):/[A-Za-z0-9_.:@/-]*")


def mount_text(where: str, source: str, options: Sequence[str], seconds: int, *, automount: bool) -> str:
    """The mount unit. `nofail` keeps it out of the way of a boot; with an automount that one is what is enabled."""
    unit = {
        "Description": f"{source} at {where}", "Wants": "network-online.target", "After": "network-online.target"
    }  # fmt: skip
    shown = ",".join(["_netdev", "nofail", *options])
    mount = {"What": source, "Where": where, "Type": "nfs", "Options": shown, "TimeoutSec": f"{seconds}s"}
    install = {} if automount else {"Install": {"WantedBy": "remote-fs.target"}}
    return _mount_units.text("nfs", {"Unit": unit, "Mount": mount, **install})


def automount_text(where: str, source: str, idle_seconds: int) -> str:
    """The automount unit."""
    automount = {"Where": where, "TimeoutIdleSec": f"{idle_seconds}s", "DirectoryMode": "0755"}
    unit = {"Description": f"{source} at {where}, when it is looked at"}
    return _mount_units.text("nfs", {"Unit": unit, "Automount": automount, "Install": {"WantedBy": "remote-fs.target"}})


@operation()
def mounted(
    where: str,
    source: str,
    options: Sequence[str] = (),
    *,
    automount: bool = True,
    idle_seconds: int = 600,
    mount_seconds: int = 30,
) -> Commands:
    """
    Make sure that a directory of an NFS server is mounted, now and at boot, or as soon as somebody looks.

    + where: absolute path; made when missing, refused when something is in it or another file system is mounted there
    + source: such as "files.example.com:/srv/home"
    + options: of the mount, such as "vers=4.2"
    + automount: mount it when somebody looks; a server that is down is then no reason to fail
    + idle_seconds: take an automount away when nobody has used it for so long; 0 keeps it
    + mount_seconds: how long mounting may take

    A mount that is in use keeps its old options until it can be mounted again: the host fails until then.

    **Example:**

    .. code:: python

        nfs.mounted(name="Mount the homes", where="/mnt/home", source="10.0.0.5:/srv/home", options=["vers=4.2", "rw"])
    """
    if not _SOURCE.fullmatch(source):
        message = f"{source!r} is no server and directory, such as 10.0.0.5:/srv/home"
        raise OperationError(message)
    mount = read(Mounts).get(where)
    _require_free(where, source, mount)
    wanted = {"mount": mount_text(where, source, options, mount_seconds, automount=automount)}
    if automount:
        wanted["automount"] = automount_text(where, source, idle_seconds)
    units = {kind: _unit(where, kind, wanted.get(kind)) for kind in ("mount", "automount")}
    differing = [unit.file for unit in units.values() if unit.differs and unit.file is not None]
    outdated = _outdated(mount, options, idle_seconds)
    steps = _steps(units, automount=automount, live=mount is not None and mount["kind"] != "autofs", outdated=outdated)
    if differing:
        yield write_all(differing, after="systemctl daemon-reload")
    elif any(unit.state["stale"] for unit in units.values()):
        yield StringCommand("systemctl daemon-reload")
    elif not steps:
        host.noop(f"{where} is as wanted")
    for step in steps:
        yield StringCommand(step)


def _require_free(where: str, source: str, mount: Mount | None) -> None:
    """Refuse to mount over files, or over what is not this mount already."""
    if mount is None:
        require_place(where, read(Directory, path=where), None)
    elif mount["kind"] not in {"autofs", "nfs", "nfs4"}:
        message = f"{where}: {mount['source']} ({mount['kind']}) is mounted there"
        raise OperationError(message)
    elif mount["kind"] != "autofs" and mount["source"].rstrip("/") != source.rstrip("/"):
        message = f"{where}: {mount['source']} is mounted there, not {source}: take it away first"
        raise OperationError(message)


@dataclass(frozen=True)
class _Unit:
    """A unit as it is, and whether its file has to be written."""

    name: str
    state: UnitState
    file: Text | None
    differs: bool

    def run(self, verb: str) -> str:
        """A verb of systemctl that waits for a server no longer than it has to."""
        quoted = shlex.quote(self.name)
        return (
            f"timeout {STOP_SECONDS} systemctl {verb} {quoted} || "
            f"{{ echo {quoted}: no {verb}, as it is in use or its server is gone >&2; exit 1; }}"
        )


def _unit(where: str, kind: str, content: str | None) -> _Unit:
    name = _mount_units.unit_of(where, kind)
    state = read(Unit, unit=name)
    if content is None:
        return _Unit(name, state, None, differs=False)
    file = Text(f"{_mount_units.DIRECTORY}/{name}", content)
    return _Unit(name, state, file, not is_as_wanted(read(TextFile, path=file.path), content, mode="644"))


def _outdated(mount: Mount | None, options: Sequence[str], idle_seconds: int) -> bool:
    """Whether what is mounted, or the automount that waits there, was made from units that are no more.

    A run that was killed, or somebody's own mount, leaves such a thing.
    """
    if mount is None:
        return False
    if mount["kind"] == "autofs":
        return f"timeout={idle_seconds}" not in mount["options"]
    return bool(missing_options(options, mount["options"]))


def _steps(units: Mapping[str, _Unit], *, automount: bool, live: bool, outdated: bool) -> list[str]:
    """What leads from the units as they are to the one of them that is wanted, in order."""
    mount, trap = units["mount"], units["automount"]
    wanted, other = (trap, mount) if automount else (mount, trap)
    steps = [f"systemctl disable {shlex.quote(other.name)}"] if other.state["file"] == "enabled" else []
    unused = not automount and trap.state["active"] == "active"
    steps += [trap.run("stop")] if unused else []
    steps += [f"systemctl enable {shlex.quote(wanted.name)}"] if wanted.state["file"] != "enabled" else []
    # Most options of a mount cannot be changed while it is there.
    again = live and (mount.differs or outdated)
    steps += [mount.run("stop")] if again else []
    if automount and trap.state["active"] == "active" and (trap.differs or (outdated and not live)):
        steps.append(trap.run("restart"))
    elif wanted.state["active"] != "active" or (not automount and (again or unused)):
        steps.append(wanted.run("start"))
    return steps


@operation()
def configured(content: str) -> Commands:
    """
    Make sure that /etc/nfs.conf has exactly this content, and that a server that runs was started with it.

    + content: the whole text, see nfs.conf(5)

    A server that was started before the file was written is restarted: clients wait for a moment, and go on.
    """
    wanted = is_as_wanted(read(TextFile, path=CONF), content, mode="644")
    if wanted and not read(IsOlderThan, unit=SERVER, path=CONF):
        host.noop("nfs.conf is as wanted, and no older server runs")
        return
    restart = f"systemctl try-restart {SERVER}"
    if wanted:
        yield StringCommand(restart)
        return
    yield write(CONF, content, mode="644", after=restart)


@operation()
def exports(content: str, wanted: Sequence[Sequence[str]]) -> Commands:
    """
    Make sure that our file of exports has this content, and that the server has exported what is in it.

    + content: the whole text, see exports(5); without any text there is no file
    + wanted: directory and client of each export

    What other files export is left alone. Without a server that runs, the file alone is written.
    """
    found = read(TextFile, path=EXPORTS)
    there = {tuple(each) for each in wanted} <= {(path, client) for path, client in read(Exported)}
    running = read(Unit, unit=SERVER)["active"] == "active"
    export = f"systemctl is-active --quiet {SERVER} && exportfs -r || ! systemctl is-active --quiet {SERVER}"
    if not content:
        if found is None:
            host.noop("nothing of ours is exported")
            return
        yield StringCommand(f"rm -f -- {EXPORTS} && {{ {export}; }}")
    elif not is_as_wanted(found, content, mode="644"):
        yield write(EXPORTS, content, mode="644", after=export)
    elif running and not there:
        yield StringCommand("exportfs -r")
    else:
        host.noop("the exports are as wanted")
