"""Updates: which level a host is kept at, and when and by whose leave it is updated and rebooted.

Applying the policy pins; it installs nothing and never reboots. That is done by deploys/fixes/update.py and reboot.py,
which keep to the windows and the reboot slot that are given here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field, InstanceOf
from typing_extensions import override

from deploys.policies.base import Check, Model, Policy, Risk
from deploys.policies.update_slot import FleetLock, SlotFile
from deploys.policies.update_window import Freeze, Window, shut
from operations import reboot, updates
from operations._reboot import LABEL
from operations._tdnf import NAME, VERSION

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
    risk: ClassVar[Risk] = Risk.NONE
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
    windows: tuple[Window, ...] = ()
    """When the host may be updated and rebooted; always, if there is none."""
    freezes: tuple[Freeze, ...] = ()
    """Days on which it may not, whatever the windows say."""
    drain: Drain | None = None
    """What a reboot waits for."""
    slot: InstanceOf[FleetLock] | InstanceOf[SlotFile] | None = None
    """Who is asked before the host is rebooted, so that never too many of a group are away at once."""

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


def minversions(host: Host) -> list[str]:
    """The lines of our file of least versions; none where it is not there."""
    text = host.check_output("[ ! -e %s ] || cat %s", MINVERSIONS, MINVERSIONS)
    return sorted(str(text).split())
