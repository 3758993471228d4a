"""What the tdnf operations decide, and the shell text they run. Pure: wishes and facts in, steps out.

Contract:
- Wishes are checked before anything is known of the host; a wish that cannot be right raises
  `OperationError`.
- An installed package is never named to `tdnf install` unless its version has to change: naming it upgrades
  it.
- tdnf's exit status proves nothing. Every transaction is followed, in the same shell command, by a look into
  the RPM database, and fails with a sentence when the result is not there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra.api.exceptions import OperationError

from facts._conffiles import LOCKS

if TYPE_CHECKING:
    from facts._types import Holds, Package, TdnfVersionInfo

HOLDS = f"{LOCKS}/photon-fleet.conf"
"""The one file of holds that is ours."""

LIFTED = f"{LOCKS}/.photon-fleet.lifted"
"""Where it waits while a held package is changed on purpose; tdnf reads `*.conf` only."""

PROTECTED = frozenset({
    "bash", "coreutils", "filesystem", "glibc", "openssh", "openssh-server", "photon-release", "photon-repos",
    "rpm", "rpm-libs", "systemd", "tdnf",
})  # fmt: skip
"""Without these a host cannot be reached or repaired; they are never removed, nor taken along with another
one."""

PLAN_LIMIT = "timeout -k 10 300"
RUN_LIMIT = "timeout -k 600 1800"
"""TERM lets rpm finish its transaction; KILL would leave two versions of packages, so it comes ten minutes
later."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
VERSION = re.compile(r"(\d+:)?[A-Za-z0-9][A-Za-z0-9._+~^]*(-[A-Za-z0-9][A-Za-z0-9._+~^]*)?")
REPOSITORY = re.compile(r"[A-Za-z0-9_.:][A-Za-z0-9_.:-]*")


@dataclass(frozen=True)
class Wishes:
    """What `tdnf.packages` was given, checked."""

    present: tuple[str, ...]
    absent: tuple[str, ...]
    exact: Mapping[str, str]
    held: tuple[str, ...] | None
    repositories: tuple[str, ...] | None


@dataclass(frozen=True)
class Steps:
    """What has to be done. `holds` is None when our file is as it should be."""

    install: tuple[str, ...]
    change: Mapping[str, str]
    remove: tuple[str, ...]
    holds: tuple[str, ...] | None
    lift: tuple[str, ...]
    kept: tuple[str, ...]


def refuse(message: str) -> OperationError:
    """The error that ends an operation."""
    return OperationError(message)


def require_match(pattern: re.Pattern[str], value: object, kind: str) -> str:
    """The value, when it has the form of its kind; a leading dash or a shell character never has.

    Raises:
        OperationError: it has not.
    """
    if not isinstance(value, str) or not pattern.fullmatch(value):
        message = f"{value!r} is no {kind}"
        raise refuse(message)
    return value


def _names(values: Sequence[str], kind: str, pattern: re.Pattern[str] = NAME) -> tuple[str, ...]:
    if isinstance(values, str):
        message = f"{values!r} is one text: a list of {kind}s is needed"
        raise refuse(message)
    return tuple(dict.fromkeys(require_match(pattern, value, kind) for value in values))


def wishes(
    present: Sequence[str],
    absent: Sequence[str],
    exact: Mapping[str, str],
    held: Sequence[str] | None,
    repositories: Sequence[str] | None,
) -> Wishes:
    """The wishes, checked on their own and against each other.

    Raises:
        OperationError: a name or version of a wrong form, a contradiction, or a protected package to be
        removed.
    """
    checked = Wishes(
        _names(present, "package name"),
        _names(absent, "package name"),
        {
            require_match(NAME, key, "package name"): require_match(VERSION, value, "version")
            for key, value in exact.items()
        },
        None if held is None else _names(held, "package name"),
        None if repositories is None else _names(repositories, "repository id", REPOSITORY),
    )
    _require_consistent(checked)
    return checked


def _require_consistent(given: Wishes) -> None:
    absent = set(given.absent)
    for wanted, what in ((given.present, "present"), (given.exact, "exact"), (given.held or (), "held")):
        if both := sorted(absent & set(wanted)):
            message = f"{', '.join(both)}: wanted absent and {what}"
            raise refuse(message)
    if essential := sorted(absent & PROTECTED):
        message = f"{', '.join(essential)}: never removed, the host could not be reached or repaired without"
        raise refuse(message)


def is_version(evr: str, wanted: str) -> bool:
    """Whether an installed `[epoch:]version-release` is the wanted version; what is not given is free."""
    if ":" not in wanted:
        evr = evr.partition(":")[2] or evr
    elif ":" not in evr:
        evr = f"0:{evr}"
    return evr == wanted or ("-" not in wanted and evr.rpartition("-")[0] == wanted)


def steps(given: Wishes, installed: Mapping[str, list[Package]], holds: Holds) -> Steps:
    """What has to be done on a host with these packages and holds.

    Raises:
        OperationError: a package that has to change or go is held by a file that is not ours.
    """
    change = {
        name: version
        for name, version in given.exact.items()
        if not any(is_version(one["evr"], version) for one in installed.get(name, ()))
    }
    install = tuple(name for name in given.present if name not in installed and name not in given.exact)
    remove = tuple(name for name in given.absent if name in installed)
    current = tuple(holds["locks"].get(HOLDS, ()))
    kept = current if given.held is None else tuple(sorted(given.held))
    moved = [name for name in (*change, *remove) if name in installed]
    _require_not_held_elsewhere(moved, holds)
    return Steps(
        install=install,
        change=change,
        remove=remove,
        holds=None if kept == current else kept,
        lift=tuple(name for name in kept if name in moved),
        kept=kept,
    )


def _require_not_held_elsewhere(moved: Iterable[str], holds: Holds) -> None:
    for path, names in holds["locks"].items():
        if path != HOLDS and (both := sorted(set(moved) & set(names))):
            message = f"{', '.join(both)}: held by {path}, which is not ours to change"
            raise refuse(message)


def require_feature(version: TdnfVersionInfo, feature: str, purpose: str) -> None:
    """End the operation on a tdnf that is too old, or that cannot be run.

    Raises:
        OperationError: with the reason.
    """
    require_healthy(version["trouble"])
    if feature not in version["features"]:
        message = f"tdnf {version['version']} is too old {purpose}"
        raise refuse(message)


def require_healthy(trouble: Sequence[str]) -> None:
    """End the operation when a fact was not the whole truth: no updates and no answer are two things.

    Raises:
        OperationError: with every sentence of the fact's `trouble`.
    """
    if trouble:
        message = "; ".join(trouble)
        raise refuse(message)


def quoted(values: Iterable[str]) -> str:
    """The values as separate words for a shell."""
    return " ".join(shlex.quote(value) for value in values)


def say(sentence: str) -> str:
    """Shell text that prints a sentence to stderr; `$p` in it is the package at hand."""
    return f'echo "{sentence}" >&2'


def install_command(given: Steps, repositories: Sequence[str] | None) -> str:
    """One transaction for everything that is missing or at another version, and the proof of it."""
    targets = [*given.install, *(f"{name}-{version}" for name, version in given.change.items())]
    only = [f"--repo={repository}" for repository in repositories or ()]
    proofs = [_installed_proof(given.install)] if given.install else []
    proofs += [_version_proof(name, version) for name, version in given.change.items()]
    run = f"LC_ALL=C {RUN_LIMIT} tdnf install -y {quoted([*only, *targets])} </dev/null"
    return _with_holds_lifted(given, f"{run} && {{ bad=0; {'; '.join(proofs)}; [ $bad = 0 ]; }}")


def _installed_proof(names: Sequence[str]) -> str:
    wrong = say("tdnf reported no error, but $p is not installed: a repository may be answering rubbish")
    return (
        f"for p in {quoted(names)}; do rpm -q --qf '%{{NAME}}\\n' \"$p\" 2>/dev/null "
        f'| grep -Fxq -e "$p" || {{ {wrong}; bad=1; }}; done'
    )


def _version_proof(name: str, version: str) -> str:
    shapes = "%{VERSION}\\n%{VERSION}-%{RELEASE}\\n%{EPOCHNUM}:%{VERSION}\\n%{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n"
    wrong = say(f"tdnf reported no error, but {name} is not at {version}: a repository may be answering rubbish")
    query = f"rpm -q --qf '{shapes}' {shlex.quote(name)} 2>/dev/null"
    return f"{query} | grep -Fxq -e {shlex.quote(version)} || {{ {wrong}; bad=1; }}"


def remove_command(given: Steps, wanted: Iterable[str]) -> str:
    """One transaction for everything that has to go: planned, looked at, carried out, and proved.

    tdnf takes along whatever needs a removed package. Nothing is removed when that would be a protected
    package, or one that is wanted.
    """
    names = quoted(given.remove)
    plan = f"plan=$(LC_ALL=C {PLAN_LIMIT} tdnf -j --assumeno remove --noautoremove {names} </dev/null)"
    empty = say("tdnf plans no removal: a repository may be answering rubbish")
    taken = say("removing this would take $p along")
    left = say("tdnf reported no error, but $p is still installed")
    guarded = quoted(sorted(PROTECTED | set(wanted)))
    return _with_holds_lifted(
        given,
        f"{plan} || {{ printf '%s\\n' \"$plan\" >&2; false; }} && bad=0 && "
        f"{{ case $plan in *'\"Remove\"'*) ;; *) {empty}; bad=1 ;; esac; "
        f'for p in {guarded}; do case $plan in *"\\"Name\\":\\"$p\\""*) {taken}; bad=1 ;; esac; done; '
        f"[ $bad = 0 ]; }} && LC_ALL=C {RUN_LIMIT} tdnf remove -y --noautoremove {names} </dev/null && "
        f'{{ for p in {names}; do ! rpm -q "$p" >/dev/null 2>&1 || {{ {left}; bad=1; }}; done; '
        "[ $bad = 0 ]; }",
    )


def _with_holds_lifted(given: Steps, command: str) -> str:
    """The command, with our holds out of tdnf's sight for as long as it runs where they are in its way."""
    if not given.lift:
        return command
    rest = [name for name in given.kept if name not in given.lift]
    keep = f" && printf '%s\\n' {quoted(rest)} > {HOLDS} && chmod 644 {HOLDS}" if rest else ""
    # bash runs the trap also when the connection is lost; it waits for tdnf first.
    return f"mv -f {HOLDS} {LIFTED}{keep} && trap 'mv -f {LIFTED} {HOLDS}' EXIT && {{ {command}; }}"
