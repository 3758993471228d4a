"""Packages, repositories and signature checks of tdnf.

Contract: wishes are checked before the host is asked; a host that cannot be read, or that refuses, fails
alone; a second run does nothing. tdnf's exit status is never the proof that something was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.context import host

from facts._conffiles import CONFIGURATION
from facts.file import TextFile
from facts.tdnf import TdnfHolds, TdnfPackages, TdnfRepositoryFiles, TdnfSignatures, TdnfVersion
from operations import _repofile, _tdnf
from operations._contain import Commands, operation, read
from operations.file import Text, is_as_wanted, write, write_all

__all__ = ["packages", "repositories", "repository", "require_signatures"]

MACROS = "/etc/rpm/macros.photon-fleet"
LEVEL = "%_pkgverify_level all\n"


@operation()
def packages(
    present: Sequence[str] = (),
    absent: Sequence[str] = (),
    exact: Mapping[str, str] | None = None,
    held: Sequence[str] | None = None,
    repositories: Sequence[str] | None = None,
) -> Commands:
    """Install, pin, hold and remove packages, in one transaction each way.

    + present: package names (no capabilities, no globs); one that is installed is left at its version
    + absent: names to remove. tdnf removes what needs them too; the host fails, and nothing is removed, when
      that would be a wanted package or one of the protected set. Dependencies that are no longer needed stay
    + exact: name to version, `1.26.2`, `1.26.2-5.ph5` or `1:1.26.2-5.ph5`; up- or downgraded to it. Of a
      package with several installed versions, one of them is enough
    + held: names that no update may change: the whole content of /etc/tdnf/locks.d/photon-fleet.conf. None
      leaves that file alone, an empty list removes it; other files there are never touched. The hold is
      lifted for as long as `exact` or `absent` has to change the package
    + repositories: take packages from these repositories only; None means all that are enabled

    Signatures are checked as the repositories say; `-y` also imports the keys of their `gpgkey=`.

    **Example:**

    .. code:: python

        tdnf.packages(
            name="Install the web server, keep the kernel",
            present=["htop"],
            exact={"nginx": "1.26.2-5.ph5"},
            absent=["ntp"],
            held=["linux-esx"],
        )
    """
    wanted = _tdnf.wishes(present, absent, exact or {}, held, repositories)
    installed = read(TdnfPackages)
    steps = _tdnf.steps(wanted, installed, read(TdnfHolds))
    if steps.holds:
        _tdnf.require_feature(read(TdnfVersion), "locks", "to hold packages")
    if steps.remove:
        _tdnf.require_feature(read(TdnfVersion), "noautoremove", "to remove packages safely")
    if not (steps.install or steps.change or steps.remove or steps.holds is not None):
        host.noop("packages are as wanted")
        return
    if steps.holds is not None:
        yield _hold(steps.holds)
    if steps.install or steps.change:
        yield StringCommand(_tdnf.install_command(steps, wanted.repositories))
    if steps.remove:
        yield StringCommand(_tdnf.remove_command(steps, (*wanted.present, *wanted.exact)))


def _hold(names: Sequence[str]) -> StringCommand:
    """The command that makes our file of holds exactly these names; without names there is no file."""
    if not names:
        return StringCommand("rm -f --", QuoteString(_tdnf.HOLDS))
    return write(_tdnf.HOLDS, "\n".join(names) + "\n", mode="644")


@operation()
def repository(
    repository_id: str,
    baseurl: Sequence[str] = (),
    title: str | None = None,
    gpgkey: Sequence[str] = (),
    *,
    enabled: bool = True,
    gpgcheck: bool = True,
    allow_unsigned: bool = False,
    skip_if_unavailable: bool = False,
    options: Mapping[str, str | int | bool] | None = None,
    present: bool = True,
) -> Commands:
    """Define a repository in a file of its own, /etc/yum.repos.d/<id>.repo.

    + repository_id: the id; the host fails when another file has it, as tdnf fails then for every command
    + baseurl: URLs; `$releasever` and `$basearch` are filled in by tdnf
    + title: the name that people see; the id when not given
    + gpgkey: URLs or absolute paths of the keys that packages are signed with
    + enabled: whether it is used without being asked for
    + gpgcheck: whether signatures are checked; False needs `allow_unsigned` as well
    + allow_unsigned: says that packages from here may come from anybody on the way
    + skip_if_unavailable: with True a repository that is down looks like one without updates; with False
      every tdnf command fails until it is back
    + options: more of tdnf's options, such as `priority`, `metadata_expire`, `sslverify`, `snapshot`
    + present: False removes the file

    **Example:**

    .. code:: python

        tdnf.repository(
            name="Use the mirror for updates",
            repository_id="photon-updates",
            baseurl=["https://mirror.example.com/photon/$releasever/photon_updates_$releasever_$basearch"],
            gpgkey=["/etc/pki/rpm-gpg/VMWARE-RPM-GPG-KEY-4096"],
            options={"priority": 40},
        )
    """
    path = _repofile.path_of(repository_id)
    if not present:
        yield from _without_repository(repository_id, path)
        return
    if not gpgcheck and not allow_unsigned:
        message = f"repository {repository_id!r}: gpgcheck=False needs allow_unsigned=True"
        raise _tdnf.refuse(message)
    values = _repofile.options_of(
        title=repository_id if title is None else title,
        baseurl=baseurl,
        gpgkey=gpgkey,
        enabled=enabled,
        gpgcheck=gpgcheck,
        skip_if_unavailable=skip_if_unavailable,
        extra=options or {},
    )
    yield from _defined({repository_id: values})


def _defined(wanted: Mapping[str, Mapping[str, str]]) -> Commands:
    files = read(TdnfRepositoryFiles)
    for repository_id in wanted:
        _repofile.require_own_file(repository_id, files)
    differing = [each for each, values in wanted.items() if not _repofile.is_as_wanted(each, values, files)]
    texts = {_repofile.path_of(each): _repofile.render(each, wanted[each]) for each in differing}
    if not differing:
        host.noop(f"repository {', '.join(wanted)} is as wanted" if wanted else "there is no repository to define")
    elif len(texts) == 1:
        ((path, text),) = texts.items()
        yield write(path, text, mode="644")
    else:
        yield write_all([Text(path, text) for path, text in texts.items()])


@operation()
def repositories(wanted: Mapping[str, Mapping[str, Any]]) -> Commands:
    """Define several repositories, each in a file of its own; the files that differ go over in one transfer.

    + wanted: id to `baseurl`, `gpgkey` and, where they are not the default, `title`, `enabled`, `skip_if_unavailable`
      and `options`, as in `repository`. Signatures are always checked

    **Example:**

    .. code:: python

        tdnf.repositories(
            name="Use our mirror",
            wanted={"photon": {"baseurl": ["https://mirror.example.com/photon"], "gpgkey": ["/etc/pki/rpm-gpg/KEY"]}},
        )
    """
    defaults = {"enabled": True, "skip_if_unavailable": False}
    for repository_id, given in wanted.items():
        if unknown := set(given) - {"baseurl", "gpgkey", "title", "options", *defaults}:
            message = f"repository {repository_id!r}: {', '.join(sorted(unknown))} cannot be set here"
            raise _tdnf.refuse(message)
    yield from _defined(
        {
            repository_id: _repofile.options_of(
                title=given.get("title") or repository_id,
                baseurl=given.get("baseurl", ()),
                gpgkey=given.get("gpgkey", ()),
                gpgcheck=True,
                extra=given.get("options", {}),
                **{key: given.get(key, default) for key, default in defaults.items()},
            )
            for repository_id, given in wanted.items()
        }
    )


def _without_repository(repository_id: str, path: str) -> Commands:
    files = read(TdnfRepositoryFiles)
    _repofile.require_own_file(repository_id, files)
    if path not in files:
        host.noop(f"repository {repository_id} is not there")
        return
    yield StringCommand("rm -f --", QuoteString(path))


@operation()
def require_signatures() -> Commands:
    """Refuse packages that are not signed with a known key.

    tdnf's `gpgcheck=1` alone refuses a wrong signature, but accepts a package without any. rpm refuses both
    with `%_pkgverify_level all`, whatever a repository file says. `tdnf --nogpgcheck` still gets around it.

    **Example:**

    .. code:: python

        tdnf.require_signatures(name="Refuse unsigned packages")
    """
    found = read(TdnfSignatures)
    if not found["configuration"]:
        message = f"{CONFIGURATION} has no [main]: it is not made from nothing, tdnf's other defaults are unsafe"
        raise _tdnf.refuse(message)
    if found["gpgcheck"] and found["pkgverify_level"] == "all":
        host.noop("unsigned packages are refused already")
        return
    if not found["gpgcheck"]:
        yield _set_gpgcheck(is_there=found["gpgcheck"] is not None)
    if found["pkgverify_level"] != "all":
        yield from _set_level(found["pkgverify_level"])


def _set_gpgcheck(*, is_there: bool) -> StringCommand:
    """The command that switches gpgcheck on in tdnf.conf and leaves every other line, and the mode, alone."""
    change = "s/^[[:space:]]*gpgcheck[[:space:]]*=.*/gpgcheck=1/"
    if not is_there:
        change = r"/^[[:space:]]*\[main\]/a gpgcheck=1"
    return StringCommand("sed -i", QuoteString(change), CONFIGURATION)


def _set_level(level: str) -> Commands:
    if is_as_wanted(read(TextFile, path=MACROS), LEVEL, mode="644"):
        message = f"rpm's %_pkgverify_level is {level!r}: another macro file overrides {MACROS}"
        raise _tdnf.refuse(message)
    yield write(MACROS, LEVEL, mode="644")
    wrong = _tdnf.say("rpm still has another %_pkgverify_level: another macro file overrides ours")
    yield StringCommand(f"[ \"$(rpm --eval '%{{_pkgverify_level}}')\" = all ] || {{ {wrong}; false; }}")
