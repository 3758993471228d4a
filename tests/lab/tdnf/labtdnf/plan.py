"""What a transaction would do: solved by libsolv with tdnf's flags, listed in tdnf's order."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import solv  # Only the guest has it.

from .arguments import Arguments
from .config import Config
from .console import Console
from .errors import TdnfError
from .history import History
from .sack import Sack, Solvable, is_glob

_T = solv.Transaction
_J = solv.Job
_SHOW = _T.SOLVER_TRANSACTION_SHOW_ACTIVE | _T.SOLVER_TRANSACTION_SHOW_ALL
_FLAGS = "BEST_OBEY_POLICY ALLOW_VENDORCHANGE KEEP_ORPHANS YUM_OBSOLETES ALLOW_DOWNGRADE INSTALL_ALSO_UPDATES".split()


@dataclass
class Plan:
    install: list[Solvable] = field(default_factory=list)
    upgrade: list[Solvable] = field(default_factory=list)
    downgrade: list[Solvable] = field(default_factory=list)
    remove: list[Solvable] = field(default_factory=list)
    reinstall: list[Solvable] = field(default_factory=list)
    obsolete: list[Solvable] = field(default_factory=list)
    replaced: list[Solvable] = field(default_factory=list)
    """The installed packages that the downgrades replace."""
    wanted: set[str] = field(default_factory=set)
    """Names that the user asked for; other packages count as installed automatically."""

    @property
    def sections(self) -> list[tuple[str, str, list[Solvable]]]:
        """Title, JSON name and packages, in the order of tdnf's output."""
        return [
            ("Installing", "Install", self.install),
            ("Upgrading", "Upgrade", self.upgrade),
            ("Downgrading", "Downgrade", self.downgrade),
            ("Removing", "Remove", self.remove),
            ("Reinstalling", "Reinstall", self.reinstall),
            ("Obsoleting", "Obsolete", self.obsolete),
        ]

    @property
    def downloads(self) -> list[Solvable]:
        return self.install + self.downgrade + self.upgrade + self.reinstall

    def __bool__(self) -> bool:
        return any(packages for _, _, packages in self.sections)


class Planner:
    """Turns jobs into a plan, under the locks, exclusions, minimal versions and protections of the configuration."""

    def __init__(self, sack: Sack, config: Config, arguments: Arguments, console: Console) -> None:
        self._sack, self._config, self._arguments, self._console = sack, config, arguments, console
        self.excludes = [
            *config.excludes,
            *(name for value in arguments.values("exclude") for name in value.split(",")),
        ]

    def jobs(self, how: int, packages: Iterable[Solvable]) -> list[Any]:
        return [
            self._sack.pool.Job(_J.SOLVER_SOLVABLE | how, package.id)
            for package in packages
            if not self._excluded(package.name)
        ]

    def all_job(self, how: int) -> list[Any]:
        return [self._sack.pool.Job(_J.SOLVER_SOLVABLE_ALL | how, 0)]

    def user_installed(self, history: History) -> list[Any]:
        auto = history.auto_installed()
        packages = [entry for entry in self._sack.installed_repo.solvables if entry.name not in auto]
        return [self._sack.pool.Job(_J.SOLVER_SOLVABLE | _J.SOLVER_USERINSTALLED, entry.id) for entry in packages]

    def solve(self, jobs: list[Any], *, erasing: bool = False, clean: bool = False) -> Plan:
        """Solve.

        Raises:
            TdnfError: 1301 no solution, 1030 a protected package was asked to go.
        """
        for job in jobs:
            job.how |= _J.SOLVER_FORCEBEST * self._arguments.flag("best")
            job.how |= _J.SOLVER_CLEANDEPS * clean
            job.how |= _J.SOLVER_WEAK * self._arguments.flag("skip-broken")
        disabled = self._disabled()
        if disabled:
            self._sack.pool.set_disabled_list(disabled)
        jobs = [*jobs, *self._locks()]
        if erasing:
            jobs += self._protections(jobs)
        solver = self._sack.pool.Solver()
        if erasing:
            solver.set_flag(solv.Solver.SOLVER_FLAG_ALLOW_UNINSTALL, 1)
        for flag in _FLAGS:
            solver.set_flag(getattr(solv.Solver, f"SOLVER_FLAG_{flag}"), 1)
        problems = solver.solve(jobs)
        if problems:
            self._report(problems)
        return self._plan(solver.transaction())

    def _excluded(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.excludes)

    def _disabled(self) -> list[int]:
        minimal = [entry.partition("=")[::2] for entry in self._config.minimum_versions]
        return [
            entry.id
            for entry in self._sack.pool.solvables
            if self._excluded(entry.name)
            or any(entry.name == name and version and _below(entry, version) for name, version in minimal)
        ]

    def _installed_ids(self, names: Iterable[str]) -> list[int]:
        present = {entry.name: entry.nameid for entry in self._sack.installed_repo.solvables}
        return [present[name] for name in names if name in present]

    def _locks(self) -> list[Any]:
        how = _J.SOLVER_SOLVABLE_NAME | _J.SOLVER_LOCK
        return [self._sack.pool.Job(how, id_) for id_ in self._installed_ids(self._config.locks)]

    def _protections(self, jobs: Sequence[Any]) -> list[Any]:
        erased = {
            job.what
            for job in jobs
            if job.how & _J.SOLVER_JOBMASK == _J.SOLVER_ERASE and job.how & _J.SOLVER_SELECTMASK == _J.SOLVER_SOLVABLE
        }
        names = {self._sack.pool.id2solvable(id_).name for id_ in erased}
        for name in self._config.protected:
            if name in names:
                self._console.error(f"package {name} is protected")
                raise TdnfError(1030)
        how = _J.SOLVER_SOLVABLE | _J.SOLVER_INSTALL
        protected = [entry for entry in self._sack.installed_repo.solvables if entry.name in self._config.protected]
        return [self._sack.pool.Job(how, entry.id) for entry in protected]

    def _report(self, problems: Sequence[Any]) -> None:
        count = 0
        for problem in reversed(problems):
            info = problem.findproblemrule().info()
            if self._skipped(info):
                continue
            count += 1
            self._console.error(f"{count}. {info.problemstr()}")
        if count:
            self._console.error(f"Found {count} problem(s) while resolving")
            raise TdnfError(1301)

    def _skipped(self, info: Any) -> bool:
        """Whether an option says that this problem does not count."""
        if self._arguments.flag("skip-broken"):
            return True  # A weak job that cannot be had is what it is for.
        rules: list[str] = []
        if self._arguments.flag("skipconflicts"):
            rules += ["CONFLICTS", "SELF_CONFLICT"]
        if self._arguments.flag("skipobsoletes"):
            rules += ["OBSOLETES", "IMPLICIT_OBSOLETES", "INSTALLED_OBSOLETES"]
        if any(info.type == getattr(solv.Solver, f"SOLVER_RULE_PKG_{rule}") for rule in rules):
            return True
        # A requirement that something available fulfils fails because of the conflict that is skipped.
        required = info.type == solv.Solver.SOLVER_RULE_PKG_REQUIRES
        return bool(rules) and required and bool(self._sack.available([str(info.dep)]))

    def _plan(self, transaction: Any) -> Plan:
        def of(kind: str, mode: int = _SHOW) -> list[Solvable]:
            wanted = getattr(_T, f"SOLVER_TRANSACTION_{kind}")
            return [step for step in reversed(transaction.steps()) if transaction.steptype(step, mode) == wanted]

        plan = Plan(
            install=of("INSTALL"),
            upgrade=of("UPGRADE"),
            downgrade=of("DOWNGRADE"),
            remove=of("ERASE"),
            reinstall=of("REINSTALL"),
            obsolete=of("OBSOLETED", _T.SOLVER_TRANSACTION_SHOW_OBSOLETES),
        )
        for package in plan.downgrade:
            plan.replaced.insert(0, self._sack.installed([package.name])[0])
        return plan


def _below(solvable: Solvable, version: str) -> bool:
    other = solvable.repo.pool.rel2id(solvable.nameid, solvable.repo.pool.str2id(version), solv.REL_LT)
    return bool(solvable.matchesdep(solv.SOLVABLE_PROVIDES, other))


def from_words(sack: Sack, words: Sequence[str], add: Callable[[str], Iterable[Solvable]]) -> list[Solvable]:
    """Run `add(name)` for every word, for every package of a glob; package files are not names.

    Raises:
        TdnfError: 1011 for a word that nothing has.
    """
    chosen: list[Solvable] = []
    for word in words:
        if is_glob(word):
            matches = sack.available([word])
            if not matches:
                raise TdnfError(1011)
            names = [match.name for match in matches]
        elif word.endswith(".rpm") or "://" in word:
            continue
        else:
            names = [word]
        for name in names:
            sack.known(name)
            chosen += add(name)
    return chosen
