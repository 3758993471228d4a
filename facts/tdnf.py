"""What tdnf and the RPM database say about a host.

Contract: an answer that may be incomplete says so. Facts that ask repositories return `trouble`, a list of
sentences; their packages are the whole truth only when it is empty. A host without tdnf is a trouble too,
not an empty answer. Facts about the host itself (installed packages, files) have no such list: when they
cannot be read, the host fails.

All of them run as root; each run of tdnf has a time limit and waits for the lock of another tdnf within it.
"""

from __future__ import annotations

import shlex
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from typing_extensions import override

from facts import _conffiles, _tdnf
from facts._answer import AnswerError, answer, command, rows
from facts._types import (
    Advisories,
    Holds,
    Package,
    Plan,
    Repositories,
    RepositoryFile,
    Signatures,
    TdnfVersionInfo,
    Updates,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "TdnfAdvisories",
    "TdnfHolds",
    "TdnfPackages",
    "TdnfRepositories",
    "TdnfRepositoryFiles",
    "TdnfSignatures",
    "TdnfUpdatePlan",
    "TdnfUpdates",
    "TdnfVersion",
]

Self = TypeVar("Self")
Result = TypeVar("Result")


def contained(
    process: Callable[[Self, list[str]], Result],
) -> Callable[[Self, list[str]], Result]:
    """Turn parse errors into the one exception that fails a single host: any other ends the run for all."""

    @wraps(process)
    def wrapped(self: Self, output: list[str]) -> Result:
        try:
            return process(self, output)
        except AnswerError as error:
            raise FactProcessError(str(error)) from error

    return wrapped


def update_words(names: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """The words behind `tdnf update`, quoted for a shell."""
    left_out = [shlex.quote(f"--exclude={','.join(exclude)}")] if exclude else []
    return [*left_out, *map(shlex.quote, names)]


class TdnfVersion(FactBase[TdnfVersionInfo]):
    """Returns tdnf's version and what that version can do.

    .. code:: python

        {"version": "3.5.9", "features": ["history", "json", "locks", ...], "trouble": []}

    Source of the format: `tdnf --version` prints `tdnf: 3.5.9`.
    """

    @override
    def command(self) -> str:
        return command("--version")

    @override
    @contained
    def process(self, output: list[str]) -> TdnfVersionInfo:
        return _tdnf.version(answer(output))


class TdnfRepositories(FactBase[Repositories]):
    """Returns the repositories as tdnf sees them, with variables filled in.

    .. code:: python

        {"repositories": {"photon": {"name": "VMware Photon Linux 5.0", "enabled": True}}, "trouble": []}

    Source of the format: `tdnf -j repolist all`. It reads no metadata, so it works without a network.
    """

    @override
    def command(self) -> str:
        return command("-j repolist all")

    @override
    @contained
    def process(self, output: list[str]) -> Repositories:
        listed, trouble = rows(answer(output))
        return {"repositories": _tdnf.repositories(listed), "trouble": trouble}


class TdnfRepositoryFiles(FactBase[dict[str, RepositoryFile]]):
    """Returns the files in /etc/yum.repos.d with their options as written; a password is shown as `***`.

    .. code:: python

        {
            "/etc/yum.repos.d/photon.repo": {
                "mode": "644",
                "owner": "root:root",
                "repositories": {"photon": {"name": "Photon", "baseurl": "https://...", "enabled": "1"}},
            },
        }

    Source of the format: tdnf reads `*.repo` only, `key=value` below `[id]`.
    """

    @override
    def command(self) -> str:
        return _conffiles.read_command(f"{_conffiles.REPOSITORIES}/*.repo")

    @override
    @contained
    def process(self, output: list[str]) -> dict[str, RepositoryFile]:
        return _conffiles.repository_files(output)


class TdnfPackages(FactBase[dict[str, list[Package]]]):
    """Returns the installed packages; a name may have several versions, as kernels do.

    .. code:: python

        {"nginx": [{"evr": "1:1.26.2-5.ph5", "arch": "x86_64"}], "sudo": [{"evr": "1.9.15p5-4.ph5", ...}]}

    Source of the format: `rpm -qa` with our own query format. Not `tdnf list installed`, which fails,
    or prints nothing, when any repository is broken.
    """

    @override
    def command(self) -> str:
        return (
            "rpm -qa --qf '%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} "
            "%|ARCH?{%{ARCH}}:{noarch}|\\n' && echo '= end'"
        )

    @override
    @contained
    def process(self, output: list[str]) -> dict[str, list[Package]]:
        if output[-1] != _conffiles.END:
            message = "rpm -qa did not get to the end"
            raise AnswerError(message)
        packages = _tdnf.installed(output[:-1])
        if not packages:
            message = "the RPM database has no packages: is this the right one?"
            raise AnswerError(message)
        return packages


class TdnfUpdates(FactBase[Updates]):
    """Returns what the repositories have that is newer than what is installed.

    .. code:: python

        {
            "packages": [{"name": "sudo", "arch": "x86_64", "evr": "1.9.15p5-4.ph5", "repo": "photon"}],
            "trouble": ["repository 'Photon Extras' could not be read: Couldn't connect to server"],
        }

    Every newer version is listed, held packages too. Use `TdnfUpdatePlan` for what an update would do.
    Source of the format: `tdnf -j check-update`.
    """

    @override
    def command(self) -> str:
        return command("-j check-update")

    @override
    @contained
    def process(self, output: list[str]) -> Updates:
        listed, trouble = rows(answer(output))
        return {"packages": _tdnf.updates(listed), "trouble": trouble}


class TdnfUpdatePlan(FactBase[Plan]):
    """Returns what `tdnf update` would do now, holds considered; versions are without epoch.

    .. code:: python

        {"upgrade": [{"name": "sudo", "arch": "x86_64", "evr": "1.9.15p5-4.ph5", "repo": "photon-updates"}],
         "install": [], "remove": [], "downgrade": [], "reinstall": [], "obsolete": [], "trouble": []}

    Source of the format: `tdnf -j --assumeno update` (which carries nothing out; `history` with `-j` would).
    With `names` only of these installed packages, and what they need; `exclude` are names or globs. Without `refresh`
    tdnf answers from what it has read of the repositories in the last two days (`metadata_expire`).
    """

    @override
    def command(self, names: Sequence[str] = (), exclude: Sequence[str] = (), *, refresh: bool = False) -> str:
        anew = ["--refresh"] if refresh else []
        return command(" ".join(["-j --assumeno update", *anew, *update_words(names, exclude)]))

    @override
    @contained
    def process(self, output: list[str]) -> Plan:
        return _tdnf.plan(answer(output))


class TdnfAdvisories(FactBase[Advisories]):
    """Returns the advisories that apply to installed packages, each once.

    .. code:: python

        {
            "advisories": [{
                "id": "PHSA-2025-5.0-0497", "type": "security", "reboot": True,
                "updated": "Tue May 13 00:00:00 2025",
                "cves": ["CVE-2025-21756"], "description": "Security fixes for {'CVE-2025-21756'}",
                "packages": ["linux-esx-6.1.138-1.ph5.x86_64"],
            }],
            "trouble": [],
        }

    Source of the format: `tdnf -j updateinfo info`.
    """

    @override
    def command(self) -> str:
        return command("-j updateinfo info")

    @override
    @contained
    def process(self, output: list[str]) -> Advisories:
        listed, trouble = rows(answer(output))
        return {"advisories": _tdnf.advisories(listed), "trouble": trouble}


class TdnfHolds(FactBase[Holds]):
    """Returns what keeps packages where they are.

    .. code:: python

        {
            "locks": {"/etc/tdnf/locks.d/kernel.conf": ["linux-esx"]},
            "minversions": {"/etc/tdnf/minversions.d/sudo.conf": ["sudo=1.9.15p5-1"]},
            "excluded": ["ntp"],
        }

    Source of the format: one entry per line in `*.conf` of both directories; `excludepkgs` in tdnf.conf.
    """

    @override
    def command(self) -> str:
        return _conffiles.read_command(
            f"{_conffiles.LOCKS}/*.conf", f"{_conffiles.MINVERSIONS}/*.conf", _conffiles.CONFIGURATION
        )

    @override
    @contained
    def process(self, output: list[str]) -> Holds:
        return _conffiles.holds(output)


class TdnfSignatures(FactBase[Signatures]):
    """Returns whether packages without a good signature are refused.

    .. code:: python

        {"configuration": True, "gpgcheck": True, "pkgverify_level": "all"}

    tdnf's `gpgcheck=1` alone accepts a package that has no signature at all; rpm's `%_pkgverify_level`
    refuses it. Source of the format: `rpm --eval`, which shows the value that counts whatever file it is
    from, and tdnf.conf.
    """

    @override
    def command(self) -> str:
        show = _conffiles.read_command(_conffiles.CONFIGURATION)
        return f"rpm --eval '%{{_pkgverify_level}}' && {{ {show}; }}"

    @override
    @contained
    def process(self, output: list[str]) -> Signatures:
        return _conffiles.signatures(output)
