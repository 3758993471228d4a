"""Subvolumes and read-only snapshots of a mounted btrfs."""

from __future__ import annotations

import re

from pyinfra import host
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.command import QuoteString

from facts.filesystem import Snapshots, Subvolumes
from facts.mounts import Mounts
from operations._contain import Commands, comes_first, operation, read

SNAPSHOTS = ".snapshots"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_DAY = 86400


def _require_name(value: str) -> None:
    if not _NAME.fullmatch(value):
        message = f"{value!r}: letters, digits and _.- only, and a letter or digit first"
        raise OperationError(message)


def _is_mounted(path: str) -> bool:
    mount = read(Mounts).get(path)
    if mount is not None and (mount["kind"], mount["root"]) == ("btrfs", "/"):
        return True
    if mount is not None:
        message = f"{path} is no whole btrfs"
        raise OperationError(message)
    comes_first(f"{path}: no btrfs is mounted there")
    return False


@operation()
def subvolume(path: str, subvolume: str) -> Commands:
    """
    Make sure that a btrfs has a subvolume.

    + path: where the whole btrfs is mounted
    + subvolume: its name; a directory of that name makes the host fail
    """
    _require_name(subvolume)
    if _is_mounted(path) and subvolume in read(Subvolumes, path=path):
        host.noop(f"{path} has the subvolume {subvolume}")
        return
    yield StringCommand("btrfs subvolume create", QuoteString(f"{path}/{subvolume}"), ">/dev/null")


@operation()
def snapshot(path: str, snapshot: str, subvolume: str | None = None, keep_days: int | None = None) -> Commands:
    """
    Make sure that there is a read-only snapshot of this name, and no older one of its source than `keep_days`.

    + path: where the whole btrfs is mounted
    + snapshot: its name, such as "before-update-7"; one that is there is left as it is
    + subvolume: what to take it of; the top of the btrfs when None
    + keep_days: older ones are removed, but never the one that is named; None keeps all

    They are in `.snapshots` at the top, as SOURCE@NAME, which only root can look into.

    **Example:**

    .. code:: python

        btrfs.snapshot(name="Keep what was", path="/data", subvolume="logs", snapshot="before-update", keep_days=14)
    """
    _require_name(snapshot)
    if subvolume is not None:
        _require_name(subvolume)
    if keep_days is not None and keep_days < 1:
        message = f"keep_days is {keep_days}: at least one day"
        raise OperationError(message)
    found = read(Snapshots, path=path) if _is_mounted(path) else {}
    prefix = f"{subvolume or 'top'}@"
    wanted = f"{prefix}{snapshot}"
    old = [
        name
        for name, age in sorted(found.items())
        if keep_days is not None and name.startswith(prefix) and name != wanted and age > keep_days * _DAY
    ]
    if wanted in found and not old:
        host.noop(f"{path} has the snapshot {wanted}")
        return
    home = f"{path}/{SNAPSHOTS}"
    if wanted not in found:
        source = f"{path}/{subvolume}" if subvolume else path
        yield StringCommand(
            "mkdir -p -m 700", QuoteString(home), "&& btrfs subvolume snapshot -r", QuoteString(source),
            QuoteString(f"{home}/{wanted}"), ">/dev/null",
        )  # fmt: skip
    for name in old:
        yield StringCommand("btrfs subvolume delete", QuoteString(f"{home}/{name}"), ">/dev/null")
