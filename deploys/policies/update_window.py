"""When a host may be updated and rebooted: windows by local time, and days on which nothing is.

The zone is always stated. A window begins at its local time of day: where the clocks jump over that time, as much later
as they jump, and where it comes twice, at the first. It lasts its hours as they pass, so that a night on which the
clocks change gives neither more nor less time than the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies.base import Item

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_AHEAD_DAYS = 400


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError) as error:
        message = f"{value!r} is no time zone of this machine, such as Europe/Berlin or UTC"
        raise ValueError(message) from error
    return value


def _time_of_day(value: str) -> str:
    if not _TIME.fullmatch(value):
        message = f"{value!r} is no time of day, such as 02:30"
        raise ValueError(message)
    return value


Zone = Annotated[str, AfterValidator(_zone)]


class Window(Item):
    """A span of time that comes again every week."""

    name: str = Field(min_length=1)
    days: tuple[Day, ...] = Field(default=DAYS, min_length=1)
    """On which it begins."""
    start: Annotated[str, AfterValidator(_time_of_day)]
    """Local time of day, such as `22:30`."""
    hours: float = Field(gt=0, le=24)
    zone: Zone

    def begins_on(self, day: date) -> datetime | None:
        """When it begins on a local day, in UTC; None on other days of the week."""
        if DAYS[day.weekday()] not in self.days:
            return None
        hour, minute = map(int, self.start.split(":"))
        return datetime.combine(day, time(hour, minute), ZoneInfo(self.zone)).astimezone(UTC)

    def open_until(self, now: datetime) -> datetime | None:
        """The end, in UTC, of the span that `now` lies in; None outside of all."""
        today = now.astimezone(ZoneInfo(self.zone)).date()
        for day in (today, today - timedelta(days=1)):
            begin = self.begins_on(day)
            if begin is not None and begin <= now < begin + timedelta(hours=self.hours):
                return begin + timedelta(hours=self.hours)
        return None

    def opens_after(self, now: datetime) -> datetime:
        """When the next span begins that has not begun yet, in UTC."""
        today = now.astimezone(ZoneInfo(self.zone)).date()
        begins = (self.begins_on(today + timedelta(days=ahead)) for ahead in range(9))
        return next(begin for begin in begins if begin is not None and begin > now)


class Freeze(Item):
    """Days on which nothing is updated or rebooted, whatever the windows say."""

    name: str = Field(min_length=1)
    first: date
    last: date
    """Included."""
    zone: Zone

    @override
    def contradictions(self) -> Iterable[str]:
        if self.last < self.first:
            yield f"last: {self.last} is before {self.first}"

    identity: ClassVar[str] = "name"

    def holds(self, now: datetime) -> bool:
        """Whether it is one of these days, in its zone."""
        return self.first <= now.astimezone(ZoneInfo(self.zone)).date() <= self.last

    def ends(self) -> datetime:
        """The moment after its last day, in UTC."""
        return datetime.combine(self.last + timedelta(days=1), time(), ZoneInfo(self.zone)).astimezone(UTC)


def open_until(windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """The end of the longest window that is open now, in UTC; None when none is, or on a day of a freeze.

    Without windows it is always open, but for freezes: then the end is far away.
    """
    if any(freeze.holds(now) for freeze in freezes):
        return None
    if not windows:
        return datetime.max.replace(tzinfo=UTC)
    return max((end for window in windows if (end := window.open_until(now))), default=None)


def opens_next(windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """The next moment that is open, in UTC: now, if it is; None when there is none for more than a year."""
    moment, limit = now, now + timedelta(days=_AHEAD_DAYS)
    while moment < limit:
        if open_until(windows, freezes, moment) is not None:
            return moment
        frozen = [freeze.ends() for freeze in freezes if freeze.holds(moment)]
        moment = max(frozen) if frozen else min(window.opens_after(moment) for window in windows)
    return None


def shut(windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> str:
    """Why nothing may be done now, and when it may next; "" when it may."""
    if open_until(windows, freezes, now) is not None:
        return ""
    frozen = next((freeze for freeze in freezes if freeze.holds(now)), None)
    why = f"{frozen.name} lasts until {frozen.last} ({frozen.zone})" if frozen else "no window is open"
    opens = opens_next(windows, freezes, now)
    if opens is None:
        return f"{why}, and none opens for more than a year"
    zone = windows[0].zone if windows else frozen.zone if frozen else "UTC"
    return f"{why}; the next moment is {opens.astimezone(ZoneInfo(zone)):%a %d %b %Y %H:%M} ({zone})"
