"""Updates of a package host: what tdnf does, planned and said beforehand, proved afterwards.

Contract: as operations/tdnf.py. Nothing here reboots, and nothing undoes itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra import host, logger
from pyinfra.api import OperationError, StringCommand

from facts.file import TextFile
from facts.tdnf import TdnfHolds, TdnfPackages, TdnfUpdatePlan, TdnfVersion
from facts.update import DownloadedPackages, HeldBack, SecurityUpdates, TdnfVariables
from operations import _tdnf, _updates
from operations._contain import Commands, operation, read
from operations._point import announce, call, leaving
from operations.file import is_as_wanted, write

if TYPE_CHECKING:
    from facts._types import Plan

__all__ = ["level", "minversions", "packages"]


@dataclass(frozen=True)
class Open:
    """The ids of advisories that were open when a host was looked at, and of those that its update leaves open."""

    ids: tuple[str, ...]
    left: tuple[str, ...]


OPEN: dict[str, Open] = {}
"""Host name -> what the last look at its advisories found in this run."""


@operation()
def packages(
    names: Sequence[str] = (),
    exclude: Sequence[str] = (),
    minimum_score: float = 0.0,
    *,
    security: bool = False,
    download_only: bool = False,
    way_back: bool = False,
    of: str = "",
) -> Commands:
    """
    Update packages in one transaction, after a look at what it would do, and prove it.

    + names: only these, which are installed, and what they need; none means all, or what `security` says
    + exclude: names or globs that stay as they are
    + minimum_score: a CVSS score; only what advisories of at least this severity name. An advisory that has no number
      counts as severe
    + security: only what security advisories name
    + download_only: fetch the package files ahead of time and change nothing; a later update takes them from there
    + way_back: first note what is installed and lay down the package files of what changes, so that `gone_back` can
      put it back without a repository; a host where that cannot be done is not updated
    + of: the rollout that updates, for the way back of that one; "" for none

    The repositories are read anew first. Refused: a repository that cannot be read or answers rubbish, a plan that
    removes what the host needs to be reached or repaired, and a host on which an interrupted transaction has left two
    versions of a package.

    **Example:**

    .. code:: python

        updates.packages(name="Close what is severe", security=True, minimum_score=7.0, exclude=["docker*"])
    """
    _updates.require_wish(names, exclude, minimum_score, security=security)
    installed = read(TdnfPackages)
    _updates.require_single(installed)
    if missing := sorted(set(names) - set(installed)):
        message = f"{', '.join(missing)}: not installed on this host, so there is nothing to update"
        raise OperationError(message)
    chosen = _updates.without(names, exclude)
    if names and not chosen:
        host.noop(f"{', '.join(names)}: excluded")
        return
    if security or minimum_score:
        chosen = _severe(minimum_score, exclude, installed)
        if not chosen:
            host.noop("no advisory of this severity is pending")
            return
    chosen, exclude, plan = _planned(chosen, exclude)
    wanted = _updates.targets(plan)
    _updates.require_safe(wanted, "the update")
    if not wanted:
        host.noop("no update is pending")
        return
    announce(_updates.lines_of(plan, installed))
    if download_only:
        have = read(DownloadedPackages)
        missing = [name for name in _updates.files_of(plan) if name not in have]
        if not missing:
            host.noop("the files of the pending update are here already")
            return
        yield StringCommand(_updates.download_command(chosen, exclude, missing))
        return
    if way_back:
        yield call("save", of, *leaving(plan, installed))
    yield StringCommand(_updates.update_command(chosen, exclude, wanted))


def _severe(minimum_score: float, exclude: Sequence[str], installed: Mapping[str, object]) -> tuple[str, ...]:
    """The installed packages that advisories are about, without those that are held."""
    found = read(SecurityUpdates, minimum_score=minimum_score)
    _tdnf.require_healthy(found["trouble"])
    chosen, held = _updates.chosen(found["advisories"], installed, exclude, read(TdnfHolds))
    OPEN[host.name] = Open(
        tuple(each["id"] for each in found["advisories"]),
        tuple(_updates.left_open(found["advisories"], installed, chosen)),
    )
    if held:
        logger.warning("%sheld back in spite of an advisory: %s", host.print_prefix, ", ".join(held))
    return chosen


def _planned(names: tuple[str, ...], exclude: Sequence[str]) -> tuple[tuple[str, ...], Sequence[str], Plan]:
    """What tdnf would do, without the versions that the host has gone back from: names, exclusions, plan."""
    plan = read(TdnfUpdatePlan, names=names, exclude=tuple(exclude), refresh=True)
    _tdnf.require_healthy(plan["trouble"])
    held = read(HeldBack)
    back = _updates.held_back(plan, held)
    if not back:
        return names, exclude, plan
    logger.warning("%sheld back, as this host has gone back from it: %s", host.print_prefix, ", ".join(back))
    rest = tuple(name for name in names if name not in back)
    if names and not rest:
        return (), exclude, _updates.nothing()
    without = [*exclude, *back]
    plan = read(TdnfUpdatePlan, names=rest, exclude=tuple(without))
    _tdnf.require_healthy(plan["trouble"])
    return rest, without, plan


@operation()
def level(number: str) -> Commands:
    """
    Pin the host to one update level of its snapshot repositories, as Photon 5.0 has them since 2026.

    + number: of the update, such as "12", or "latest"

    Refused where the number would pin nothing: a tdnf before 3.6, or no enabled repository with `snapshot=`. Takes
    effect with the next update.

    **Example:**

    .. code:: python

        updates.level(name="Stay at update 12", number="12")
    """
    _updates.require_number(number)
    _tdnf.require_feature(read(TdnfVersion), "vars", "to pin a level of updates (tdnf 3.6 can)")
    found = read(TdnfVariables)
    if not found["snapshots"]:
        message = "no enabled repository of this host has snapshot=: a level of updates would pin nothing"
        raise _tdnf.refuse(message)
    if found["values"].get("updatenumber") == number:
        host.noop(f"the level of updates is {number}")
        return
    yield write(_updates.UPDATE_NUMBER, f"{number}\n", mode="644")


@operation()
def minversions(wanted: Mapping[str, str]) -> Commands:
    """
    Say which versions of packages are the least: tdnf then neither installs nor goes back to older ones.

    + wanted: name to version, the whole content of /etc/tdnf/minversions.d/photon-fleet.conf; an empty one removes it

    **Example:**

    .. code:: python

        updates.minversions(name="Never again the broken sudo", wanted={"sudo": "1.9.15p5-4.ph5"})
    """
    text = _updates.minversions_text(wanted)
    if not text:
        if _updates.MINVERSIONS_FILE not in read(TdnfHolds)["minversions"]:
            host.noop("there are no least versions of ours")
            return
        yield StringCommand(f"rm -f -- {_updates.MINVERSIONS_FILE}")
        return
    if is_as_wanted(read(TextFile, path=_updates.MINVERSIONS_FILE), text, mode="644"):
        host.noop("the least versions are as wanted")
        return
    yield write(_updates.MINVERSIONS_FILE, text, mode="644")
