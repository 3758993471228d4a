"""Updates: which level a host is kept at, what is installed, and when and by whose leave it is updated and rebooted.

Applying the policy pins. What `install` names is installed after all policies are applied, by deploys/update, as
deploys/fixes/update.py does it; both, and reboot.py, keep to the windows and the reboot slot that are given here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, InstanceOf
from typing_extensions import override

from deploys.policies import _update_checks
from deploys.policies.base import Check, Contains, Model, Policy, Risk
from deploys.policies.packages import Packages
from deploys.policies.update_slot import FleetLock, SlotFile
from deploys.policies.update_window import Freeze, Window, shut
from operations import reboot, updates
from operations._reboot import LABEL
from operations._tdnf import NAME, VERSION
from operations._updates import PATTERN

if TYPE_CHECKING:
    from testinfra.host import Host

MINVERSIONS = "/etc/tdnf/minversions.d/photon-fleet.conf"
_LEVEL = re.compile(r"latest|[0-9]{1,6}")


def _level(value: str) -> str:
    if not _LEVEL.fullmatch(value):
        message = f"{value!r} is no level of updates, such as 12 or latest"
        raise ValueError(message)
    return value


def _versions(value: Mapping[str, str]) -> Mapping[str, str]:
    for name, version in value.items():
        if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
            message = f"{name}={version} is no package and version, such as sudo=1.9.15p5-4.ph5"
            raise ValueError(message)
    return value


def _label(value: str) -> str:
    if not LABEL.fullmatch(value):
        message = f"{value!r} is no label of a container, such as drain=true"
        raise ValueError(message)
    return value


def _pattern(value: str) -> str:
    if not PATTERN.fullmatch(value):
        message = f"{value!r} is no package, nor a pattern of some, such as docker*"
        raise ValueError(message)
    return value


class Drain(Model):
    """What a reboot waits for; a host that is not drained in time is not rebooted."""

    containers: tuple[Annotated[str, AfterValidator(_label)], ...] = ()
    """Labels: no container that has one may run any more."""
    nfs_clients: bool = False
    """No NFS client may be connected any more."""
    seconds: int = Field(default=300, ge=reboot.LEAST_SECONDS, le=reboot.MOST_SECONDS)

    @override
    def contradictions(self) -> Iterable[str]:
        if not self.containers and not self.nfs_clients:
            yield "containers or nfs_clients: one of them says what is waited for"


class Update(Policy):
    """How a host is kept current."""

    name: ClassVar[str] = "update"
    risk: ClassVar[Risk] = Risk.REBOOT
    unproved: ClassVar[Mapping[str, str]] = {
        "windows": "the controller keeps to them; the host knows nothing of them",
        "freezes": "the controller keeps to them; the host knows nothing of them",
        "drain": "waited for at the moment of a reboot, and true only then",
        "slot": "kept by a lock server or a file of the controller's, not by the host",
    }

    level: Annotated[str, AfterValidator(_level)] | None = None
    """The update of Photon's snapshot repositories that the host is pinned to, `latest` for the newest; None leaves it
    alone. Hosts without such a repository, or with a tdnf before 3.6, are refused."""
    minversions: Annotated[Mapping[str, str], AfterValidator(_versions)] = {}
    """Package -> the least version that tdnf may install or go back to."""
    install: Literal["no", "security", "all"] = "no"
    """What a run of deploys/host.py installs inside the windows: nothing, what security advisories are about, or
    everything. On a host of images `all` is the newest image."""
    minimum_score: float = Field(default=0.0, ge=0, le=10)
    """The least CVSS score of these advisories; one without a score counts as severe."""
    exclude: tuple[Annotated[str, AfterValidator(_pattern)], ...] = ()
    """Packages, or patterns of them, that are left out."""
    reboot: Literal["no", "due", "always"] = "no"
    """Whether a reboot follows, with the slot and after draining: when one is due, or whenever something came."""
    windows: tuple[Window, ...] = ()
    """When the host may be updated and rebooted; always, if there is none."""
    freezes: tuple[Freeze, ...] = ()
    """Days on which it may not, whatever the windows say."""
    drain: Drain | None = None
    """What a reboot waits for."""
    slot: InstanceOf[FleetLock] | InstanceOf[SlotFile] | None = None
    """Who is asked before the host is rebooted, so that never too many of a group are away at once."""

    @override
    def problems(self) -> Iterable[str]:
        if self.install == "no":
            idle = [
                name for name in ("minimum_score", "exclude", "reboot") if getattr(self, name) not in {0.0, (), "no"}
            ]
            if idle:
                yield f"{idle[0]}: says nothing as long as install is no"
        if self.install == "all" and self.minimum_score:
            yield 'minimum_score: is about advisories, and install="all" does not look at these'

    @override
    def conflicts(self, others: Mapping[str, Policy]) -> Iterable[str]:
        packages = others.get(Packages.name)
        if self.install == "no" or not isinstance(packages, Packages):
            return
        wanted = [name for name in sorted(packages.exact) if not any(fnmatchcase(name, each) for each in self.exclude)]
        if wanted:
            yield f"exclude: leaves out no {wanted[0]}, of which the packages policy wants exactly one version"

    def shut(self, now: datetime) -> str:
        """Why the host may not be updated or rebooted now, and when it may next; "" when it may."""
        return shut(self.windows, self.freezes, now)

    @override
    def apply(self) -> None:
        if self.level is not None:
            updates.level(name=f"Stay at update {self.level}", number=self.level)
        updates.minversions(name="Keep least versions", wanted=dict(self.minversions))

    @override
    def checks(self) -> Iterable[Check]:
        if self.level is not None:
            yield Check(
                id="update.level", field="level", proves=f"tdnf's level of updates is {self.level}",
                read=lambda host: host.check_output("cat /etc/tdnf/vars/updatenumber"), expect=self.level,
            )  # fmt: skip
        yield Check(
            id="update.minversions", field="minversions", proves="tdnf has the least versions of packages",
            read=minversions, expect=sorted(f"{name}={version}" for name, version in self.minversions.items()),
        )  # fmt: skip
        if self.install != "no":
            yield from self._of_what_is_installed()

    def _of_what_is_installed(self) -> Iterable[Check]:
        """Outside the windows it only has to be known what is pending."""
        why = self.shut(datetime.now(UTC))
        what = "no image or update" if self.install == "all" else "no security update"
        yield Check(
            id="update.pending", field="install", expect=Contains(()) if why else [],
            proves=f"it can be told what is pending; it waits, as {why}" if why else f"{what} is pending",
            read=partial(_update_checks.pending, self.install, self.minimum_score, self.exclude),
        )  # fmt: skip
        if self.reboot != "no" and not why:
            yield Check(
                id="update.reboot", field="reboot", proves="no image waits for a reboot",
                read=_update_checks.waits_for_reboot, expect="no",
            )  # fmt: skip


def minversions(host: Host) -> list[str]:
    """The lines of our file of least versions; none where it is not there."""
    text = host.check_output("[ ! -e %s ] || cat %s", MINVERSIONS, MINVERSIONS)
    return sorted(str(text).split())
