"""The metadata cache below cachedir: `<repo id>/{lastrefresh,baseurl,repodata/,rpms/}`."""

from __future__ import annotations

import gzip
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from . import net
from .arguments import Arguments
from .config import Config, Repo
from .console import Console
from .errors import NO_PERMISSION, NothingError, TdnfError, no_data, system_error

_DATA = re.compile(r'<data type="([^"]+)">(.*?)</data>', re.DOTALL)
_LOCATION = re.compile(r'<location[^>]* href="([^"]+)"')
_CHECKSUM = re.compile(r'<checksum type="([^"]+)">([0-9a-f]+)<')
_OPTIONAL = {"filelists": "skip_md_filelists", "updateinfo": "skip_md_updateinfo"}


class Cache:
    def __init__(self, config: Config, arguments: Arguments, console: Console) -> None:
        self.root = config.cache
        self._only = arguments.flag("cacheonly")
        self._refresh = arguments.flag("refresh")
        self._console = console

    def directory(self, repo: Repo) -> Path:
        return self.root / repo.id

    def metadata(self, repo: Repo, kind: str) -> Path | None:
        """The cached file of `kind` (primary, filelists, updateinfo), or None when the repo has none."""
        repomd = self.directory(repo) / "repodata" / "repomd.xml"
        location = _locations(repomd.read_text()).get(kind) if repomd.exists() else None
        path = self.directory(repo) / location[0] if location else None
        return path if path is not None and path.exists() else None

    def text(self, repo: Repo, kind: str) -> str:
        path = self.metadata(repo, kind)
        return gzip.decompress(path.read_bytes()).decode() if path else ""

    def synchronize(self, repos: Sequence[Repo], *, refresh: bool = False) -> None:
        """Bring every enabled repo up to date, switching off those that may be skipped.

        Raises:
            TdnfError: a repo without skip_if_unavailable cannot be had.
        """
        for repo in [repo for repo in repos if repo.enabled]:
            try:
                self._synchronize(repo, refresh=refresh or self._refresh)
            except TdnfError as error:
                self._console.error(f"Error({error.number}) : {error.message}")
                self._console.error(f"Error: Failed to synchronize cache for repo '{repo.name}'")
                # A repo that answers with something else than metadata is not "unavailable", nor is a cache that
                # this user may not write.
                fatal = isinstance(error, NothingError) or error.number == NO_PERMISSION
                if fatal or not repo.true("skip_if_unavailable"):
                    raise
                repo.enabled = False
                self._console.info(f"Disabling Repo: '{repo.name}'")

    def _synchronize(self, repo: Repo, *, refresh: bool) -> None:
        current = self._is_current(repo)
        if self._only:
            if not (self.directory(repo) / "repodata" / "repomd.xml").exists():
                raise TdnfError(1034)
            return
        if current and not refresh:
            return
        if not repo.base_urls:
            self._console.error(f"Error: Cannot find a valid base URL for repo: {repo.name}")
            raise TdnfError(2500)
        self._console.info(f"Refreshing metadata for: '{repo.name}'")
        try:
            self._download(repo)
        except OSError as error:
            raise system_error(error) from error

    def _is_current(self, repo: Repo) -> bool:
        directory = self.directory(repo)
        try:
            age = time.time() - (directory / "lastrefresh").stat().st_mtime
            same = (directory / "baseurl").read_text() == " ".join(repo.base_urls)
        except OSError:
            return False
        return same and age < repo.expires_after

    def _download(self, repo: Repo) -> None:
        directory = self.directory(repo)
        fresh = directory / "repodata.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        net.fetch(repo, "repodata/repomd.xml", fresh / "repomd.xml", self._console)
        text = (fresh / "repomd.xml").read_text(errors="replace")
        if "<repomd" not in text:
            raise no_data()
        for kind, (location, checksum, value) in _locations(text).items():
            if kind not in {"primary", *_OPTIONAL} or repo.true(_OPTIONAL.get(kind, "")):
                continue
            target = fresh / Path(location).name
            net.fetch(repo, location, target, self._console)
            if not net.checksum_matches(target, checksum, value):
                raise TdnfError(1528)
        shutil.rmtree(directory / "repodata", ignore_errors=True)
        fresh.rename(directory / "repodata")
        (directory / "baseurl").write_text(" ".join(repo.base_urls))
        (directory / "lastrefresh").touch()

    def clean(self, repo: Repo, kinds: Sequence[str]) -> None:
        """Remove parts of a repo's cache."""
        directory = self.directory(repo)
        names = {
            "metadata": "repodata",
            "packages": "rpms",
            "expire-cache": "lastrefresh",
            "dbcache": "solvcache",
        }
        for kind in kinds:
            path = directory / names.get(kind, kind)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _locations(repomd: str) -> dict[str, tuple[str, str, str]]:
    """Location, checksum type and checksum by kind."""
    found = {}
    for kind, body in _DATA.findall(repomd):
        location, checksum = _LOCATION.search(body), _CHECKSUM.search(body)
        if location and checksum:
            found[kind] = (location[1], checksum[1], checksum[2])
    return found
