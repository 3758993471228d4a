"""What a rollout runs: a checkout of its revision, the command of a unit, and what the unit is told."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from deploys.refusal import Refusal
from deploys.rollout import OF, ONLY, RESULT, UNPROVED
from deploys.rollout.checkout import checked_out, git
from deploys.rollout.model import Kind, Verdict
from deploys.rollout.plan import HostPlan, write_hosts
from deploys.rollout.results import read_results
from deploys.rollout.runonce import has_begun, run_once
from deploys.rollout.store.rows import HostResult, Rollout, Unit
from deploys.rollout.store.sqlite import Sqlite
from deploys.rollout.store.store import Store

DATABASE = "PHOTON_FLEET_DATABASE"
"""The environment's address of PostgreSQL. There may be a password in it."""
UNIT_SECONDS = 3600.0
_LAST_LINES = 5
POLICIES = "policies"
"""The directory of the state directory for what inventories say at commits."""
_KEPT = 5
"""Rollouts whose checkouts are kept for the next ones."""
_MOST_ROLLOUTS = 1000
_OLD_SECONDS = 86400.0


@dataclass(frozen=True)
class Fix:
    """A fix that goes with a unit. `lost` is what is so of a host for which it did not go well."""

    name: str
    file: str
    data: tuple[str, ...]
    lost: str


_SNAPSHOT = "name={label}"
UPDATES = Fix("updates", "deploys/fixes/roll_back.py", ("hold=true", "of={label}"), "its updates did not go back")
SNAPSHOT = Fix("snapshot", "deploys/fixes/vm_snapshot.py", (_SNAPSHOT, "hours=72"), "no snapshot could be taken")
REVERT = Fix("revert", "deploys/fixes/vm_revert.py", (_SNAPSHOT,), "its machine did not go back to its snapshot")


@dataclass(frozen=True)
class Place:
    """Where rollouts of a repository keep what is not a row: checkouts, and what runs have said.

    Args:
        repository: its top.
        state: the state directory.
    """

    repository: Path
    state: Path

    def tree(self, revision: str) -> Path:
        """A checkout of a commit, made when it is not there: what people do at the repository changes nothing of it.

        Raises:
            Refusal: there is no such commit.
        """
        return checked_out(self.repository, self.state, revision)

    def unused(self, store: Store) -> list[Path]:
        """Checkouts that no rollout needs, nor a plan that is made: a day old, and of none of the newest rollouts."""
        known = store.rollouts(_MOST_ROLLOUTS)
        needed = {name for number, each in enumerate(known) if number < _KEPT or not each.state.ended
                  for name in (each.revision, each.base)}  # fmt: skip
        trees = self.state / "trees"
        old = time.time() - _OLD_SECONDS
        return sorted(
            path for path in (trees.iterdir() if trees.is_dir() else ())
            if path.name not in needed and path.stat().st_mtime < old
        )  # fmt: skip

    def old_outputs(self, store: Store, before: datetime) -> list[Path]:
        """What runs have said and left in files, older than a moment, of rollouts that have ended.

        Also what inventories said at commits: that is read once more when somebody wants to know.
        """
        under_way = {str(ident) for ident in store.unfinished()}
        return sorted(
            path for name in ("runs", POLICIES) for path in (self.state / name).glob("*")
            if path.name.partition(".")[0] not in under_way and path.stat().st_mtime < before.timestamp()
        )  # fmt: skip

    @property
    def machine(self) -> str:
        """The name of this machine among those that share rollouts; the same one after a reboot."""
        path = self.state / "machine"
        if not path.exists():
            self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = path.with_name(f".machine.{os.getpid()}")
            new.write_text(f"{socket.gethostname()}-{secrets.token_hex(4)}")
            with contextlib.suppress(FileExistsError):
                os.link(new, path)
            new.unlink()
        return path.read_text()

    def command(self, rollout: Rollout, unit: Unit) -> list[str]:
        """The command line of a unit."""
        limits = [word for name in unit.hosts for word in ("--limit", name)]
        about = f"rollout {rollout.id}: {rollout.why}"
        program = str(Path(sys.executable).with_name("pyinfra"))
        return [program, rollout.inventory, "deploys/host.py", "-y", *limits, "--data", f"why={about}"]

    def fix_command(self, rollout: Rollout, fix: Fix, hosts: Sequence[str]) -> list[str]:
        """The command line of a fix that goes with a unit."""
        limits = [word for name in hosts for word in ("--limit", name)]
        program = str(Path(sys.executable).with_name("pyinfra"))
        data = (f"why=rollout {rollout.id}: {rollout.why}", *(each.format(label=rollout.label) for each in fix.data))
        words = [word for each in data for word in ("--data", each)]
        return [program, rollout.inventory, fix.file, "-y", *limits, *words]

    def run(
        self, rollout: Rollout, unit: Unit, plans: Mapping[str, HostPlan] | None, updated: Sequence[str] = ()
    ) -> dict[str, HostResult]:
        """Carry a unit out, once: what came of each host.

        Args:
            rollout: whose unit it is.
            unit: which one.
            plans: what it is held to; None when to nothing.
            updated: of a way back, the hosts that may have updates of the rollout, which go back first.
        """
        if unit.kind is Kind.CONVERGE:
            lost = self._fixed(rollout, unit, SNAPSHOT, unit.hosts) if rollout.spec.snapshots else {}
            left = tuple(name for name in unit.hosts if name not in lost)
            found = self._run(rollout, replace(unit, hosts=left), plans) if left else {}
            return {**found, **{name: _untouched(result) for name, result in lost.items()}}
        fix, hosts = (REVERT, unit.hosts) if rollout.spec.snapshots else (UPDATES, tuple(updated))
        lost = self._fixed(rollout, unit, fix, hosts)
        found = self._run(rollout, unit, plans)
        return {name: _both(fix, lost[name], result) if name in lost else result for name, result in found.items()}

    def has_begun(self, unit: Unit) -> bool:
        """Whether something of a unit was begun on this machine."""
        names = ("", *(f".{fix.name}" for fix in (SNAPSHOT, UPDATES, REVERT)))
        return any(has_begun(self.state / "runs", f"{unit.key}{name}") for name in names)

    def _fixed(self, rollout: Rollout, unit: Unit, fix: Fix, hosts: Sequence[str]) -> dict[str, HostResult]:
        """Run a fix by the rollout's own code, once for an attempt: the hosts for which it did not go well."""
        if not hosts:
            return {}
        runs, tree = self.state / "runs", self.tree(rollout.revision)
        key = f"{unit.key}.{fix.name}"
        said = runs / f"{key}.json"
        env = {**environment(tree), RESULT: str(said), UNPROVED: "1", ONLY: " ".join(hosts)}
        ended = run_once(runs, key, self.fix_command(rollout, fix, hosts), UNIT_SECONDS, env, tree)
        found, why = read_results(said), _why(ended.status, runs / f"{key}.out")
        results = {name: found.get(name, HostResult(Verdict.UNKNOWN, words=why)) for name in hosts}
        return {name: result for name, result in results.items() if result.verdict is not Verdict.OK}

    def _run(self, rollout: Rollout, unit: Unit, plans: Mapping[str, HostPlan] | None) -> dict[str, HostResult]:
        tree = self.tree(rollout.base if unit.kind is Kind.BACK else rollout.revision)
        runs = self.state / "runs"
        said = runs / f"{unit.key}.json"
        # What the way back installs is the commit's before, and does not go back with the rollout.
        of = rollout.label if unit.kind is Kind.CONVERGE else ""
        env = {**environment(tree), RESULT: str(said), ONLY: " ".join(unit.hosts), OF: of}
        command = self.command(rollout, unit)
        if plans is not None:
            bound = runs / f"{unit.key}.plan"
            bound.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_hosts(bound, plans, less=unit.attempt - unit.busy > 1)
            command += ["--data", f"plan={bound}"]
        ended = run_once(runs, unit.key, command, UNIT_SECONDS, env, tree)
        found = read_results(said)
        why = _why(ended.status, runs / f"{unit.key}.out")
        return {name: found.get(name, HostResult(Verdict.UNKNOWN, words=why)) for name in unit.hosts}


def _untouched(snapshot: HostResult) -> HostResult:
    """What came of a host that has no snapshot to go back to: nothing of it was changed."""
    verdict = snapshot.verdict if snapshot.verdict is Verdict.UNREACHABLE else Verdict.FAILED
    words = f"no snapshot of its machine could be taken, so nothing was changed: {snapshot.words}"
    return HostResult(verdict, 0, words.rstrip(": "))


def _both(fix: Fix, lost: HostResult, rest: HostResult) -> HostResult:
    """What came of a host whose fix did not go well, whatever came of the rest of its way back."""
    verdict = lost.verdict if rest.verdict is Verdict.OK else rest.verdict
    return replace(rest, verdict=verdict, words=f"{fix.lost}: {lost.words}\n{rest.words}".rstrip())


def environment(tree: Path) -> dict[str, str]:
    """What a process is told that is to work with the code of a checkout, and not with the installed one."""
    # Runs and gates have no business with the rows, nor with the password of the database: libpq takes it from these
    # variables as well, where the address holds none. Without a database of ours they are somebody else's.
    ours = {DATABASE, "PGPASSWORD", "PGPASSFILE"} if os.environ.get(DATABASE) else {DATABASE}
    given = {name: value for name, value in os.environ.items() if name not in ours}
    return {**given, "PYTHONPATH": str(tree), "COLUMNS": "160"}


def _why(status: int | None, out: Path) -> str:
    """The last words of a run that has said nothing of a host."""
    ended = "was never heard of again" if status is None else f"ended with {status}"
    try:
        lines = [line for line in out.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return "\n".join([f"its run {ended}; {out} has all of it", *lines[-_LAST_LINES:]])


def person() -> str:
    """Who is at the controller."""
    return f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}"


def state_directory(repository: Path) -> Path:
    """Where the rollouts of a repository are kept, unless PHOTON_FLEET_STATE says otherwise."""
    given = os.environ.get("PHOTON_FLEET_STATE")
    if given:
        return Path(given).expanduser().resolve()
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return base / "photon-fleet" / str(repository).strip("/").replace("/", "-")


def place_of(directory: Path) -> Place:
    """The place of the repository that a directory is in.

    Raises:
        Refusal: it is in none.
    """
    repository = Path(git(directory, "rev-parse", "--show-toplevel"))
    return Place(repository, state_directory(repository))


def store_of(place: Place) -> Store:
    """The rollouts of a repository: in PostgreSQL where PHOTON_FLEET_DATABASE says so, otherwise on this machine.

    Raises:
        Refusal: the database is of another version, does not answer, or is none.
    """
    conninfo = os.environ.get(DATABASE)
    if not conninfo:
        path = place.state / "rollouts.sqlite"
        try:
            return Store(Sqlite(path))
        except sqlite3.DatabaseError as error:
            message = f"{path}: {error}: take back the last copy of it, or give it another name to begin anew"
            raise Refusal(message) from error
    from deploys.rollout.engine.shared import store_at  # noqa: PLC0415 - needs an extra

    return store_at(conninfo)
