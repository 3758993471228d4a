"""One run: the arguments, the configuration, and the package data when a command needs it."""

from __future__ import annotations

import os
from pathlib import Path

from .arguments import Arguments
from .cache import Cache
from .config import Config, Repo, duplicate, repos
from .console import Console
from .errors import TdnfError, UncoveredError
from .sack import Sack


class Session:
    def __init__(self, arguments: Arguments, console: Console) -> None:
        self.arguments, self.console = arguments, console
        self.config = Config(arguments)
        self.cache = Cache(self.config, arguments, console)
        variables = {"releasever": self._release(), "basearch": os.uname().machine}
        self.repos: list[Repo] = repos(self.config, arguments, variables)
        twice = duplicate(self.repos)
        if twice is not None:
            console.error(f"ERROR: duplicate repo id: {twice}")
            raise TdnfError(1037)
        self._refuse_settings()
        self._warned = False
        # A pool that goes away takes its solvables with it, also those that are still held.
        self._sacks: list[Sack] = []

    @property
    def words(self) -> list[str]:
        """What comes after the command."""
        return self.arguments.words[1:]

    def _release(self) -> str:
        value = self.arguments.value("releasever")
        if value:
            return value
        import rpm  # noqa: PLC0415  # Late: --releasever needs none.

        package = self.config.main.get("distroverpkg", "system-release")
        try:
            headers = list(rpm.TransactionSet("/", rpm._RPMVSF_NOSIGNATURES).dbMatch("providename", package))
        except rpm.error as error:
            raise TdnfError(1304) from error
        if not headers:
            raise TdnfError(1022)
        return str(headers[0][rpm.RPMTAG_VERSION])

    def _refuse_settings(self) -> None:
        """Settings that the real tdnf obeys and the stand-in does not: better no answer than a wrong one."""
        if self.config.main.get("proxy"):
            raise UncoveredError("proxy= in tdnf.conf")
        directory = Path(self.config.main.get("pluginconfpath", "/etc/tdnf/pluginconf.d"))
        if self.config.true("plugins") and any(directory.glob("*.conf")):
            raise UncoveredError("plugins=1 in tdnf.conf")
        for repo in self.repos:
            for name in ("metalink", "sslcacert", "sslclientcert", "sslclientkey"):
                if repo.enabled and repo.settings.get(name):
                    message = f"{name}= in repo {repo.id}"
                    raise UncoveredError(message)

    def sack(self, *, advisories: bool = False, files: tuple[str, ...] = ()) -> Sack:
        """The package data, the enabled repos brought up to date first."""
        if self.config.excludes and not self._warned:
            self._warned = True
            listing = "".join(f"\n  {name}" for name in self.config.excludes)
            self.console.info(f"Warning: The following packages are excluded from tdnf.conf:{listing}")
        sack = Sack(self.console)
        self._sacks.append(sack)
        for path in files:
            sack.add_file(path)
        self.cache.synchronize(self.repos)
        sack.load(self.repos, self.cache, advisories=advisories)
        return sack
