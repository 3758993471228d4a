"""Running a plan: download, check signatures, and let librpm do the rest."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import Any

import rpm  # Only the guest has it.
import solv

from . import keys, net
from .arguments import Arguments
from .config import Config, Repo
from .console import Console
from .errors import TdnfError, system_error
from .history import History
from .plan import Plan
from .sack import Solvable

_SCRIPTS = {
    rpm.RPMTAG_PREIN: "%prein",
    rpm.RPMTAG_POSTIN: "%postin",
    rpm.RPMTAG_PREUN: "%preun",
    rpm.RPMTAG_POSTUN: "%postun",
    rpm.RPMTAG_PRETRANS: "%pretrans",
    rpm.RPMTAG_POSTTRANS: "%posttrans",
}
_NO_SCRIPTS = rpm.RPMTRANS_FLAG_NOSCRIPTS | rpm.RPMTRANS_FLAG_NOTRIGGERS
_TSFLAGS = {
    "noscripts": _NO_SCRIPTS,
    "notriggers": rpm.RPMTRANS_FLAG_NOTRIGGERS,
    "nodocs": rpm.RPMTRANS_FLAG_NODOCS,
}


class Transaction:
    def __init__(self, plan: Plan, repos: list[Repo], config: Config, arguments: Arguments, console: Console) -> None:
        self._plan, self._config, self._arguments, self._console = plan, config, arguments, console
        self._repos = {repo.id: repo for repo in repos}
        self._downloaded: list[Path] = []
        self._open: dict[str, Any] = {}
        self._ts = rpm.TransactionSet("/")
        self._ts.cbStyle = 1
        filters = rpm.RPMPROB_FILTER_OLDPACKAGE
        if plan.reinstall:
            filters |= rpm.RPMPROB_FILTER_REPLACEPKG
        self._ts.setProbFilter(filters)

    def run(self, *, command: str, ask: keys.Ask) -> History | None:
        """Carry the plan out; the history comes back when it was written.

        Raises:
            TdnfError: of the download, of the signature, 1525 of librpm.
        """
        only_download = self._arguments.flag("downloadonly")
        try:
            self._populate(ask)
            if only_download:
                return None
            if self._arguments.flag("testonly"):
                self._test()
                return None
            history = History(create=True)
            history.synchronize()
            self._test()
            self._execute()
            history.synchronize(command)
            return history
        finally:
            if not only_download and not self._config.true("keepcache"):
                for path in self._downloaded:
                    path.unlink(missing_ok=True)

    # --- before

    def _populate(self, ask: keys.Ask) -> None:
        plan = self._plan
        for packages, how in ((plan.install, "i"), (plan.reinstall, "r"), (plan.upgrade, "u")):
            self._add(packages, how, ask)
        self._erase(plan.remove)
        self._erase(plan.obsolete)
        self._add(plan.downgrade, "i", ask)
        self._erase(plan.replaced)

    def _add(self, packages: list[Solvable], how: str, ask: keys.Ask) -> None:
        for package in packages:
            location = package.lookup_location()[0]
            try:
                path = self._file(package, location)
                header = self._header(package, path, ask)
            except TdnfError:
                self._console.error(f"Error processing package: {location}")
                raise
            if self._arguments.flag("downloadonly"):
                continue
            if how == "r":
                self._ts.addReinstall(header, str(path))
            else:
                self._ts.addInstall(header, str(path), how)

    def _erase(self, packages: list[Solvable]) -> None:
        for package in packages:
            self._ts.addErase(int(package.lookup_num(solv.RPM_RPMDBID)))

    def _file(self, package: Solvable, location: str) -> Path:
        """The package's file: from the cache, or downloaded."""
        if package.repo.name == "@cmdline":
            return Path(location)
        directory = self._arguments.value("downloaddir")
        if directory:
            path = Path(directory) / Path(location).name
            if not path.parent.is_dir():
                raise TdnfError(1602)
        else:
            path = self._config.cache / package.repo.name / "rpms" / location
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise system_error(error) from error
        checksum = package.lookup_checksum(solv.SOLVABLE_CHECKSUM)
        kind, value = checksum.typestr(), checksum.hex()
        if not path.exists() or not net.checksum_matches(path, kind, value):
            net.fetch(self._repos[package.repo.name], location, path, self._console)
        if not net.checksum_matches(path, kind, value):
            self._console.error(f"rpm file ({path}) Checksum FAILED (digest mismatch)")
            raise TdnfError(1528)
        if not directory:
            self._downloaded.append(path)
        return path

    def _header(self, package: Solvable, path: Path, ask: keys.Ask) -> Any:
        repo = self._repos.get(package.repo.name, Repo("@cmdline", {"gpgcheck": "0"}))
        skip = self._arguments.flag("nogpgcheck") or self._arguments.flag("skipsignature")
        if skip:
            # rpm's own level (%_pkgverify_level) goes as well.
            self._ts.setVfyLevel(0)
        check = not skip and repo.true("gpgcheck", default=True)
        return keys.read_header(self._ts, path, repo if check else None, self._console, ask)

    # --- rpm

    def _test(self) -> None:
        self._console.info("Testing transaction")
        self._ts.check()
        problems = [str(problem) for problem in self._ts.problems() or []]
        if not problems:
            self._ts.order()
            flags = self._ts.setFlags(rpm.RPMTRANS_FLAG_TEST)
            problems = self._run()
            self._ts.setFlags(flags)
        self._fail(problems)

    def _execute(self) -> None:
        self._console.info("Running transaction")
        flags = 0
        for name in self._config.main.get("tsflags", "").replace(",", " ").split():
            flags |= _TSFLAGS.get(name, 0)
        self._ts.setFlags(flags)
        if self._console.json:
            # What scriptlets print must not get between the JSON; librpm drops it unless it is verbose.
            self._ts.scriptFd = sys.stderr
            rpm.setVerbosity(rpm.RPMLOG_INFO)
        self._wait_for_rpm()
        self._fail(self._run())

    def _wait_for_rpm(self) -> None:
        """Wait for a transaction of `rpm` itself. Photon's librpm does that; Debian's only on a terminal."""
        path = rpm.expandMacro("%{_rpmlock_path}")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return  # librpm says what is wrong.
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._console.error(f"warning: waiting for transaction lock on {path}")
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)

    def _run(self) -> list[str]:
        sys.stdout.flush()
        result = self._ts.run(self._callback, "")
        if result is None:
            return []
        # An empty list: it failed with no problem to tell of (a scriptlet, a lock); librpm said why on stderr.
        return [text for text, _ in result] or [""]

    def _fail(self, problems: list[str]) -> None:
        told = [problem for problem in problems if problem]
        if told:
            self._console.line(f"Found {len(told)} problems")
            for problem in told:
                self._console.line(problem)
        if problems:
            raise TdnfError(1525)

    def _callback(self, element: Any, what: int, amount: int, total: int, _data: Any) -> Any:
        if what == rpm.RPMCALLBACK_INST_OPEN_FILE:
            path = element.Key()
            self._open[path] = rpm.fd(path, "r")
            return self._open[path].fileno()
        if what == rpm.RPMCALLBACK_INST_CLOSE_FILE:
            self._open.pop(element.Key()).close()
        elif what == rpm.RPMCALLBACK_INST_START:
            self._console.info(f"Installing/Updating: {element.NEVRA()}")
        elif what == rpm.RPMCALLBACK_UNINST_START:
            self._console.info(f"Removing: {element.NEVRA()}")
        elif what == rpm.RPMCALLBACK_SCRIPT_ERROR:
            kind = "error" if total else "warning"
            script = _SCRIPTS.get(amount, "(unknown)")
            self._console.line(f"package {element.NEVRA()}: script {kind} in {script}")
        return None
