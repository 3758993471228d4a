"""Time: which servers set the clock, and the time zone.

systemd-timesyncd, which Photon starts by default, keeps the clock; two daemons that do would fight over it, so a host
with another one is refused unless the policy says that it is replaced. The servers are the policy's alone: those of
other files, and the fallback servers that systemd was built with, do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, ClassVar
from zoneinfo import available_timezones

from pydantic import AfterValidator
from typing_extensions import override

from deploys.errors import near
from deploys.policies.base import Check, Policy, Risk, file_check
from deploys.policies.render import render
from deploys.policies.types import Server
from facts.clock import LOCALTIME, ZONES
from operations import clock, systemd

if TYPE_CHECKING:
    from testinfra.host import Host

UNIT = "systemd-timesyncd.service"
DROP_IN = "/etc/systemd/timesyncd.conf.d/90-photon-fleet.conf"
OTHERS = ("chronyd.service", "ntpd.service", "ntp.service", "ntpsec.service")
"""The other daemons that Photon's releases have packages of, by every name of their units."""

_RUNNING = "time.running"


@lru_cache(maxsize=1)
def _known_zones() -> frozenset[str]:
    """The zones that the controller knows; none on one without the data."""
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if not clock.ZONE_NAME.fullmatch(value):
        message = f"{value!r} is no name of a time zone, such as Europe/Berlin"
        raise ValueError(message)
    if _known_zones() and value not in _known_zones():
        message = f"there is no time zone {value!r}{near(value, _known_zones())}"
        raise ValueError(message)
    return value


Zone = Annotated[str, AfterValidator(_zone)]


class Time(Policy):
    """How a host keeps its clock, and its time zone."""

    name: ClassVar[str] = "time"
    risk: ClassVar[Risk] = Risk.SERVICE
    unproved: ClassVar[Mapping[str, str]] = {
        "replace": "how another daemon is dealt with; that none is left is proved either way",
    }

    servers: tuple[Server, ...] = ()
    """Asked in turn until one answers. Those that DHCP gives come first (timesyncd's own order)."""
    fallback_servers: tuple[Server, ...] = ()
    """Asked when there are no others; the `servers` themselves when empty."""
    zone: Zone = "UTC"
    replace: bool = False
    """Stop and disable chronyd and ntpd where they run; without it such a host is refused."""

    @override
    def problems(self) -> Iterable[str]:
        if not self.servers and not self.fallback_servers:
            yield "servers: no server and no fallback server, so nothing would set the clock"

    def render(self) -> str:
        """The text of the drop-in that the policy owns."""
        return render("time/timesyncd", servers=self.servers, fallback_servers=self.asked_last())

    def asked_last(self) -> tuple[str, ...]:
        """The fallback servers. Never none: timesyncd then asks those that it was built with."""
        return self.fallback_servers or self.servers

    @override
    def apply(self) -> None:
        clock.only_keeper(name="Let nothing else set the clock", others=OTHERS, replace=self.replace)
        systemd.configured(name="Name the time servers", unit=UNIT, path=DROP_IN, content=self.render())
        systemd.unit(name="Keep the clock, now and at boot", unit=UNIT, running=True, enabled=True)
        clock.zone(name="Set the time zone", zone=self.zone)

    @override
    def checks(self) -> Iterable[Check]:
        yield Check(
            id=_RUNNING, field="", proves="systemd-timesyncd keeps the clock",
            read=lambda host: host.service(UNIT).is_running, expect=True,
        )  # fmt: skip
        yield Check(
            id="time.boot", field="", proves="systemd-timesyncd starts at boot",
            read=lambda host: host.service(UNIT).is_enabled, expect=True,
        )  # fmt: skip
        for field, key, servers in (
            ("servers", "SystemNTPServers", self.servers),
            ("fallback_servers", "FallbackNTPServers", self.asked_last()),
        ):
            yield Check(
                id=f"time.{field}", field=field,
                proves=f"the daemon that runs asks {', '.join(servers) or 'no'} {field.replace('_', ' ')}",
                read=partial(asked_servers, key), expect=list(servers), needs=_RUNNING,
            )  # fmt: skip
        yield file_check("time.file", "", DROP_IN, "644")
        yield Check(
            id="time.zone", field="zone", proves=f"the time zone is {self.zone}",
            read=partial(local_zone, self.zone), expect=self.zone,
        )  # fmt: skip
        for unit in OTHERS:
            yield Check(
                id=f"time.alone[{unit.removesuffix('.service')}]", field="",
                proves=f"{unit} does not set the clock, now or after a reboot",
                read=partial(keeps_clock, unit), expect="no",
            )  # fmt: skip


def asked_servers(key: str, host: Host) -> list[str]:
    """The servers as the running daemon has them. It is not asked when it does not run: that would start it."""
    show = f"systemctl is-active --quiet {UNIT} && timedatectl show-timesync --property={key} --value"
    return host.check_output(f"sh -c '{show}'").split()  # type: ignore[no-any-return]


def local_zone(zone: str, host: Host) -> str:
    """The zone itself when /etc/localtime is its file, by whatever links; else what it is."""
    wanted, actual = (host.check_output("readlink -f %s", path) for path in (f"{ZONES}/{zone}", LOCALTIME))
    return zone if wanted == actual else str(actual).removeprefix(f"{ZONES}/")


def keeps_clock(unit: str, host: Host) -> str:
    """Whether a unit runs, or is enabled for the next boot."""
    shown = host.check_output("systemctl show --property=ActiveState,UnitFileState %s", unit)
    found = dict(line.split("=", 1) for line in shown.splitlines())
    if found["ActiveState"] in {"active", "reloading", "activating"}:
        return "it runs"
    return "it is enabled" if found["UnitFileState"] == "enabled" else "no"
