"""The command that looks whether rollouts can work here, and what is left of those that could not: doctor."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import click

from deploys.refusal import Refusal
from deploys.rollout.checkout import remove
from deploys.rollout.place import DATABASE, Place, git, person, place_of, store_of
from deploys.rollout.store.leases import GONE_SECONDS, machines
from deploys.rollout.store.store import Store
from deploys.rollout.store.tidy import details, forget
from deploys.statuses import Status

LEAST_BYTES = 1 << 30
"""Free space under which a rollout's checkouts and outputs may not fit."""
NETWORK = frozenset("afs ceph cifs fuse.sshfs glusterfs lustre nfs nfs4 smb2 smb3 9p".split())
"""File systems on which SQLite's locks, and ours, cannot be relied upon (statfs types as findmnt names them)."""
KEPT_DAYS = 90
"""Days after its end for which a rollout's details are kept, unless somebody says otherwise."""
_GIT = (2, 20)


@dataclass(frozen=True)
class Finding:
    """What was looked at; `words` say what is wrong and what to do, and are empty when nothing is."""

    about: str
    words: str = ""


def findings(place: Place, days: int = KEPT_DAYS) -> Iterator[Finding]:
    """All that is looked at, in order. After so many days the details of a rollout are old."""
    yield Finding("git", _git(place))
    yield Finding("pyinfra beside this program", _program())
    yield Finding("state directory", _directory(place))
    yield Finding("free space", _space(place))
    is_shared = bool(os.environ.get(DATABASE))
    if not is_shared and not (place.state / "rollouts.sqlite").exists():
        return
    try:
        store = store_of(place)
    except Refusal as error:
        yield Finding("rows", str(error))
        return
    yield Finding("rows", "" if is_shared else _rows(store))
    yield Finding("rollouts under way", _unattended(store) if is_shared else _forsaken(place, store))
    yield Finding("checkouts", _checkouts(place, store))
    yield Finding("details of old rollouts", _details(place, store, days))


def _git(place: Place) -> str:
    words = git(place.repository, "version").split()[2]
    version = tuple(int(part) for part in words.split(".")[:2])
    return "" if version >= _GIT else f"git {words}: 2.20 or later is needed for its worktrees"


def _program() -> str:
    path = Path(sys.executable).with_name("pyinfra")
    return "" if os.access(path, os.X_OK) else f"there is no {path}: install Photon Fleet and pyinfra side by side"


def _directory(place: Place) -> str:
    if not place.state.exists():
        return ""
    found = place.state.stat()
    if found.st_uid != os.geteuid():
        return f"{place.state} belongs to another user ({found.st_uid}): rollouts of one repository are one user's"
    if stat.S_IMODE(found.st_mode) & 0o077:
        return f"{place.state} is open to others: chmod 700 {place.state}"
    kind = subprocess.run(
        ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(place.state)], capture_output=True, text=True,
        check=False,
    ).stdout.strip() if shutil.which("findmnt") else ""  # fmt: skip
    if kind in NETWORK:
        return f"{place.state} is on {kind}, whose locks cannot be relied upon: set PHOTON_FLEET_STATE to a local one"
    return ""


def _space(place: Place) -> str:
    there = next(path for path in (place.state, *place.state.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return "" if free >= LEAST_BYTES else f"{there} has {free >> 20} MB left: a gigabyte should be free"


def _rows(store: Store) -> str:
    found = [row["integrity_check"] for row in store.rows("PRAGMA integrity_check")]
    return "" if found == ["ok"] else f"the file is damaged ({found[0]}): take back the last copy of it"


def _unattended(store: Store) -> str:
    unfinished = store.unfinished()
    if not unfinished or machines(store, GONE_SECONDS):
        return ""
    return (
        f"no worker was heard of for {GONE_SECONDS:g} s, and rollout {', '.join(map(str, unfinished))} waits for one: "
        "`photon-fleet worker` starts one"
    )


def _forsaken(place: Place, store: Store) -> str:
    open_ones = [str(each.id) for each in store.rollouts(1000) if not each.state.ended]
    if not open_ones or _is_held(place):
        return ""
    return (
        f"no controller works on rollout {', '.join(open_ones)}, and their hosts are nobody else's: "
        f"`photon-fleet serve {open_ones[0]}` goes on, `photon-fleet abort {open_ones[0]}` and then serve ends it"
    )


def _is_held(place: Place) -> bool:
    with (place.state / "controller.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _checkouts(place: Place, store: Store) -> str:
    unused = place.unused(store)
    return (
        f"{len(unused)} checkouts are of no use any more: `photon-fleet doctor --tidy` removes them" if unused else ""
    )


def _details(place: Place, store: Store, days: int) -> str:
    before = store.now() - timedelta(days=days)
    rows, outputs = details(store, before).rows, len(place.old_outputs(store, before))
    return (
        f"{rows} rows and {outputs} outputs of runs are of rollouts that ended more than {days} days ago: "
        "`photon-fleet doctor --tidy` removes them" if rows or outputs else ""
    )  # fmt: skip


def _tidy(place: Place, store: Store, days: int) -> None:
    for path in place.unused(store):
        remove(place.repository, path)
    before = store.now() - timedelta(days=days)
    forget(store, before, person())
    for path in place.old_outputs(store, before):
        path.unlink(missing_ok=True)


@click.command()
@click.option("--tidy", is_flag=True, help="Remove checkouts that no rollout needs any more, and details of old ones.")
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=KEPT_DAYS,
    show_default=True,
    help="Days after its end for which a rollout's details are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="The same for programs.")
def doctor(*, tidy: bool, days: int, as_json: bool) -> None:
    """Look whether rollouts can work here, and what is left of those that could not.

    Status: 0 all is well, 5 something is not.
    """
    place = place_of(Path.cwd())
    if tidy and (os.environ.get(DATABASE) or (place.state / "rollouts.sqlite").exists()):
        _tidy(place, store_of(place), days)
    found = list(findings(place, days))
    if as_json:
        click.echo(json.dumps({"schema": 1, "state": str(place.state), "findings": list(map(asdict, found))}, indent=2))
    else:
        click.echo(f"rollouts of {place.repository} are kept in {place.state}")
        for each in found:
            click.echo(f"{'WRONG' if each.words else 'ok':6} {each.about}{f': {each.words}' if each.words else ''}")
    sys.exit(Status.FAILED if any(each.words for each in found) else Status.CLEAN)
