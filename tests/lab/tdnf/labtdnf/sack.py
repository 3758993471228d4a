"""What is installed and what is available, in a libsolv pool; names are looked up the way tdnf does it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import solv  # Only the guest has it.

from .cache import Cache
from .config import Repo
from .console import Console
from .errors import NO_MATCH, TdnfError

SYSTEM = "@System"
Solvable = Any
_S = solv.Selection
NAMES = (
    _S.SELECTION_NAME
    | _S.SELECTION_PROVIDES
    | _S.SELECTION_GLOB
    | _S.SELECTION_CANON
    | _S.SELECTION_DOTARCH
    | _S.SELECTION_REL
)
CAPABILITIES = (
    _S.SELECTION_FILELIST
    | _S.SELECTION_NAME
    | _S.SELECTION_GLOB
    | _S.SELECTION_PROVIDES
    | _S.SELECTION_CANON
    | _S.SELECTION_REL
)


def is_glob(text: str) -> bool:
    return any(letter in text for letter in "*?[")


def is_patch(solvable: Solvable) -> bool:
    return bool(solvable.name.startswith("patch:"))


class Sack:
    def __init__(self, console: Console) -> None:
        self._console = console
        self.pool = solv.Pool()
        self.pool.setdisttype(solv.Pool.DISTTYPE_RPM)
        self.pool.setarch(os.uname().machine)
        self.installed_repo = self.pool.add_repo(SYSTEM)
        if not self.installed_repo.add_rpmdb():
            raise TdnfError(1304)
        self.pool.installed = self.installed_repo

    def load(self, repos: Iterable[Repo], cache: Cache, *, advisories: bool = False) -> None:
        """Add the metadata of every enabled repo from the cache."""
        for repo in repos:
            primary = cache.metadata(repo, "primary") if repo.enabled else None
            if primary is None:
                continue
            loaded = self.pool.add_repo(repo.id)
            loaded.priority = -repo.priority
            loaded.add_rpmmd(solv.xfopen(str(primary)), None, 0)
            filelists = cache.metadata(repo, "filelists")
            if filelists:
                loaded.add_rpmmd(solv.xfopen(str(filelists)), "FL", solv.Repo.REPO_EXTEND_SOLVABLES)
            updates = cache.metadata(repo, "updateinfo") if advisories else None
            if updates:
                loaded.add_updateinfoxml(solv.xfopen(str(updates)))
        self.ready()

    def add_file(self, path: str) -> Solvable:
        """Add one package file, as the repo @cmdline."""
        repo = next((repo for repo in self.pool.repos if repo.name == "@cmdline"), None)
        repo = repo or self.pool.add_repo("@cmdline")
        return repo.add_rpm(path, solv.Repo.REPO_REUSE_REPODATA)

    def ready(self) -> None:
        self.pool.addfileprovides()
        self.pool.createwhatprovides()

    # --- looking up

    def installed(self, names: Sequence[str] | None = None) -> list[Solvable]:
        if not names:
            return list(self.installed_repo.solvables)
        return self.query(names, self._scope([self.installed_repo]))

    def available(self, names: Sequence[str] | None = None) -> list[Solvable]:
        """What the repos have. Without any repo everything counts: tdnf's filter has nothing to filter by then."""
        repos = [repo for repo in self.pool.repos if repo.name != SYSTEM]
        if not repos:
            return self.everything(names)
        if not names:
            return [entry for repo in repos for entry in repo.solvables if not is_patch(entry)]
        return self.query(names, self._scope(repos, solv.Job.SOLVER_SETVENDOR))

    def everything(self, names: Sequence[str] | None = None) -> list[Solvable]:
        if not names:
            return [entry for entry in self.pool.solvables if not is_patch(entry)]
        return self.query(names)

    def query(self, names: Sequence[str], scope: Any = None, flags: int = NAMES) -> list[Solvable]:
        """Everything that the names select, in the order of the names; upper and lower case when nothing else."""
        found: list[Solvable] = []
        for name in names:
            for extra in (0, _S.SELECTION_NOCASE):
                selection = self.pool.select(name, flags | extra)
                if scope is not None:
                    selection.filter(scope)
                if not selection.isempty():
                    break
            else:
                continue
            if extra:
                self._console.info(f"[ignoring case for '{name}']")
            if selection.flags & _S.SELECTION_FILELIST:
                self._console.info(f"[using file list match for '{name}']")
            if selection.flags & _S.SELECTION_PROVIDES:
                self._console.info(f"[using capability match for '{name}']")
            # Job by job: the selection as a whole would come in the order of the repos.
            found += [entry for job in selection.jobs(0) for entry in job.solvables() if not is_patch(entry)]
        return found

    def _scope(self, repos: Iterable[Any], extra: int = 0) -> Any:
        selection = self.pool.Selection()
        for repo in repos:
            how = solv.Job.SOLVER_SOLVABLE_REPO | solv.Job.SOLVER_SETREPO | extra
            selection.add_raw(how, repo.id)
        return selection

    # --- single packages

    def known(self, name: str) -> None:
        """Raise 1011 with a message when nothing has the name."""
        if not self.everything([name]):
            self._console.error(f"{name} package not found or not installed")
            raise TdnfError(NO_MATCH)

    def highest_available(self, name: str) -> Solvable:
        """The newest of the repo with the best priority."""
        candidates = self.available([name])
        first = max((entry.repo.priority for entry in candidates), default=0)
        return _best([entry for entry in candidates if entry.repo.priority == first], 1)

    def installable(self, name: str) -> Solvable:
        """What `install NAME` takes: the highest version, or what obsoletes it and provides its name."""
        best = self.highest_available(name)
        for other in self.available() if best.name == name else ():
            obsoletes = other.lookup_deparray(solv.SOLVABLE_OBSOLETES)
            if other.nameid != best.nameid and any(best.matchesdep(solv.SOLVABLE_NAME, dep) for dep in obsoletes):
                return other
        return best

    def has_same(self, package: Solvable) -> bool:
        """Whether the newest installed package of the name has the same version."""
        present = self.installed([package.name])
        return bool(present) and package.evrcmp(_best(present, 1)) == 0

    def highest_installed(self, name: str) -> Solvable:
        return _best(self.installed([name]), 1)

    def lowest_installed(self, name: str) -> Solvable:
        return _best(self.installed([name]), -1)

    def newer(self, installed: Iterable[Solvable], sign: int = 1) -> list[Solvable]:
        """Every available version above (`sign` 1) or below (-1) each of the installed packages."""
        return [
            candidate
            for package in installed
            for candidate in self.available([package.name])
            if candidate.evrcmp(package) * sign > 0
        ]


def _best(candidates: Sequence[Solvable], sign: int) -> Solvable:
    if not candidates:
        raise TdnfError(NO_MATCH)
    best = candidates[0]
    for candidate in candidates[1:]:
        if candidate.evrcmp(best) * sign > 0:
            best = candidate
    return best


def without_epoch(solvable: Solvable) -> str:
    return str(solvable.evr.rpartition(":")[2])


def install_size(solvable: Solvable) -> int:
    return int(solvable.lookup_num(solv.SOLVABLE_INSTALLSIZE))


def download_size(solvable: Solvable) -> int:
    return int(solvable.lookup_num(solv.SOLVABLE_DOWNLOADSIZE))
