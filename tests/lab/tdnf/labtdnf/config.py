"""tdnf.conf, the .repo files and the directories beside tdnf.conf (locks.d, minversions.d, protected.d).

Repos come in the order that the recordings show: the newest file first, within a file the last section first.
(The real tdnf takes the order of the directory, which no file system promises.)
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .arguments import Arguments
from .errors import TdnfError, system_error

DEFAULT_CONFIG = "/etc/tdnf/tdnf.conf"
COMMAND_LINE_REPO = "@cmdline"
_DAY = 86400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": _DAY}


def is_true(value: str) -> bool:
    """Only `true` and numbers other than 0 are true: `yes` and `on` are not."""
    try:
        return value.strip().lower() == "true" or bool(int(value))
    except ValueError:
        return False


def read_ini(text: str) -> list[tuple[str, dict[str, str]]]:
    """Sections in order. Lines before the first section and lines without `=` do not count."""
    sections: list[tuple[str, dict[str, str]]] = []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            sections.append((line[1:-1], {}))
        elif sections and "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            sections[-1][1][name.strip()] = value.strip()
    return sections


@dataclass
class Repo:
    id: str
    settings: dict[str, str] = field(default_factory=dict)
    enabled: bool = False

    @property
    def name(self) -> str:
        return self.settings.get("name", self.id)

    @property
    def base_urls(self) -> list[str]:
        return [url.rstrip("/") for url in self.settings.get("baseurl", "").split()]

    @property
    def gpg_keys(self) -> list[str]:
        return self.settings.get("gpgkey", "").split()

    @property
    def retries(self) -> int:
        return int(self.settings.get("retries", "10"))

    @property
    def priority(self) -> int:
        return int(self.settings.get("priority", "50"))

    @property
    def expires_after(self) -> float:
        """Seconds that the metadata stays good; 48 hours when the file does not say."""
        value = self.settings.get("metadata_expire", "48h").strip().lower()
        if value in {"never", "-1"}:
            return float("inf")
        return int(value[:-1]) * _UNITS[value[-1]] if value[-1] in _UNITS else int(value)

    def true(self, name: str, *, default: bool = False) -> bool:
        value = self.settings.get(name)
        return default if value is None else is_true(value)


class Config:
    """What tdnf.conf, the directories beside it and the options say."""

    def __init__(self, arguments: Arguments) -> None:
        path = Path(arguments.value("config") or DEFAULT_CONFIG)
        try:
            sections = dict(read_ini(path.read_text()))
        except OSError as error:
            raise system_error(error) from error
        self.main = sections.get("main", {})
        self.repo_options: list[tuple[str, str, str]] = []
        for option in arguments.values("setopt"):
            name, _, value = option.partition("=")
            repo, dot, key = name.rpartition(".")
            if dot:
                self.repo_options.append((repo, key, value))
            else:
                self.main[name] = value
        directory = path.parent
        self.locks = _entries(directory / "locks.d")
        self.protected = _entries(directory / "protected.d")
        self.minimum_versions = self.main.get("minversions", "").split() + _entries(directory / "minversions.d")
        self.excludes = [] if arguments.flag("disableexcludes") else self.main.get("excludepkgs", "").split()

    @property
    def cache(self) -> Path:
        return Path(self.main.get("cachedir", "/var/cache/tdnf"))

    @property
    def repo_directory(self) -> Path:
        return Path(self.main.get("repodir") or self.main.get("reposdir") or "/etc/yum.repos.d")

    def true(self, name: str) -> bool:
        return is_true(self.main.get(name, "0"))


def _entries(directory: Path) -> list[str]:
    """Every line of the *.conf files of a directory that may be missing."""
    files = sorted(directory.glob("*.conf")) if directory.is_dir() else []
    return [line.strip() for file in files for line in file.read_text().splitlines() if line.strip()]


def repos(config: Config, arguments: Arguments, variables: dict[str, str]) -> list[Repo]:
    """Every repo, with what the options switch on and off.

    Raises:
        TdnfError: 1005 no directory, 1037 an id twice.
    """
    if not config.repo_directory.is_dir():
        raise TdnfError(1005)
    found = [*_from_options(arguments), *_from_files(config.repo_directory)]
    for repo in found:
        for name, value in repo.settings.items():
            repo.settings[name] = _expand(value, variables)
        # `enabled` given by --setopt comes too late in the real program to have an effect.
        repo.settings.update(
            {key: value for id_, key, value in config.repo_options if id_ == repo.id and key != "enabled"}
        )
    _switch(found, arguments)
    return found


def duplicate(found: list[Repo]) -> str | None:
    seen: set[str] = set()
    for repo in found:
        if repo.id in seen:
            return repo.id
        seen.add(repo.id)
    return None


def _from_options(arguments: Arguments) -> Iterator[Repo]:
    for value in arguments.values("repofrompath"):
        id_, _, path = value.partition(",")
        url = path if "://" in path else f"file://{path}"
        yield Repo(id_, {"name": id_, "baseurl": url, "gpgcheck": "0"}, enabled=True)


def _from_files(directory: Path) -> Iterator[Repo]:
    read: list[tuple[int, str, list[Repo]]] = []
    for path in directory.glob("*.repo"):
        sections = read_ini(path.read_text())
        in_file = [Repo(id_, settings) for id_, settings in reversed(sections)]
        for repo in in_file:
            repo.enabled = repo.true("enabled")
        read.append((-path.stat().st_mtime_ns, in_file[0].name if in_file else "", in_file))
    for _, _, in_file in sorted(read, key=lambda entry: entry[:2]):
        yield from in_file


def _expand(value: str, variables: dict[str, str]) -> str:
    for name, replacement in variables.items():
        value = value.replace(f"${name}", replacement)
    return value


def _switch(found: list[Repo], arguments: Arguments) -> None:
    if arguments.values("repo", "repoid"):
        for repo in found:
            repo.enabled = False
    for name, patterns in arguments.repeated:
        if name not in {"enablerepo", "disablerepo", "repo", "repoid"}:
            continue
        for pattern in patterns.split(","):
            for repo in found:
                if fnmatch.fnmatchcase(repo.id, pattern):
                    repo.enabled = name != "disablerepo"
