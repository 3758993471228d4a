"""The shapes of what the tdnf and rpm facts return. All of it is plain JSON."""

from __future__ import annotations

from typing import TypedDict


class Package(TypedDict):
    """One installed package. `evr` has the epoch only where the package has one: `1:1.26.2-5.ph5`."""

    evr: str
    arch: str


class Update(TypedDict):
    """One package in a repository. tdnf 3.3 leaves the epoch out."""

    name: str
    arch: str
    evr: str
    repo: str


class Updates(TypedDict):
    """`packages` is every newer version, not only the newest, and is true only when `trouble` is empty."""

    packages: list[Update]
    trouble: list[str]


class Plan(TypedDict):
    """What a transaction would do. Versions are without epoch; what is obsoleted is in `remove` as well."""

    install: list[Update]
    upgrade: list[Update]
    downgrade: list[Update]
    reinstall: list[Update]
    remove: list[Update]
    obsolete: list[Update]
    trouble: list[str]


class Repository(TypedDict):
    """A repository as tdnf sees it."""

    name: str
    enabled: bool


class Repositories(TypedDict):
    """`repositories` is true only when `trouble` is empty."""

    repositories: dict[str, Repository]
    trouble: list[str]


class Advisory(TypedDict):
    """`packages` are the fixed ones as `name-version-release.arch`; `type` is in lower case."""

    id: str
    type: str
    updated: str
    reboot: bool
    cves: list[str]
    description: str
    packages: list[str]


class Advisories(TypedDict):
    """`advisories` is true only when `trouble` is empty."""

    advisories: list[Advisory]
    trouble: list[str]


class TdnfVersionInfo(TypedDict):
    """`version` is None, with a reason in `trouble`, where tdnf cannot be run."""

    version: str | None
    features: list[str]
    trouble: list[str]


class RepositoryFile(TypedDict):
    """A file of repositories: option values as written, keys in lower case, a password never."""

    mode: str
    owner: str
    repositories: dict[str, dict[str, str]]


class Holds(TypedDict):
    """What keeps packages back: file to names, file to `name=version`, and `excludepkgs` of tdnf.conf."""

    locks: dict[str, list[str]]
    minversions: dict[str, list[str]]
    excluded: list[str]


class Signatures(TypedDict):
    """`configuration`: tdnf.conf has [main]; `gpgcheck` is None where it is not set, which means 0."""

    configuration: bool
    gpgcheck: bool | None
    pkgverify_level: str


class RpmKey(TypedDict):
    """A public key that rpm trusts."""

    keyid: str
    uid: str
    package: str
