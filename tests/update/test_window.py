"""Windows by local time: nights on which the clocks change, midnights, freezes, and what a person reads."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.errors import InputError
from deploys.policies.update_window import DAYS, Freeze, Window, open_until, opens_next, shut

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(start: str = "02:00", hours: float = 2, days=DAYS, zone: str = BERLIN) -> Window:
    return Window(name="night", start=start, hours=hours, days=days, zone=zone)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-01-14 00:59", None),
        ("2026-01-14 01:00", "2026-01-14 03:00"),
        ("2026-01-14 02:59", "2026-01-14 03:00"),
        ("2026-01-14 03:00", None),
        ("2026-07-14 00:00", "2026-07-14 02:00"),  # summer time
        ("2026-07-14 02:00", None),
    ],
)
def test_local_time_decides(now: str, end: str | None) -> None:
    assert window().open_until(at(now)) == (at(end) if end else None)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    friday = window("23:00", 3, days=("fri",), zone="UTC")
    assert friday.open_until(at("2026-11-27 22:59")) is None
    assert friday.open_until(at("2026-11-28 01:59")) == at("2026-11-28 02:00")
    assert friday.open_until(at("2026-11-27 01:00")) is None  # the night from Thursday


def test_the_clocks_jump_over_its_beginning() -> None:
    # On 29 March 2026 at 01:00 UTC it is 03:00 in Berlin: there is no 02:30, it begins at 03:30.
    assert window("02:30", 1).open_until(at("2026-03-29 01:29")) is None
    assert window("02:30", 1).open_until(at("2026-03-29 01:30")) == at("2026-03-29 02:30")


def test_an_hour_that_comes_twice_opens_it_once() -> None:
    # On 25 October 2026 at 01:00 UTC the clocks in Berlin go back from 03:00 to 02:00.
    twice = window("02:00", 1)
    assert twice.open_until(at("2026-10-25 00:30")) == at("2026-10-25 01:00")
    assert twice.open_until(at("2026-10-25 01:30")) is None
    assert window("01:00", 4).open_until(at("2026-10-25 02:30")) == at("2026-10-25 03:00")


@given(
    st.integers(1_700_000_000, 1_900_000_000),
    st.integers(0, 23), st.floats(0.25, 24), st.sets(st.sampled_from(DAYS), min_size=1),
    st.sampled_from([BERLIN, "UTC", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Kiritimati"]),
)  # fmt: skip
def test_what_opens_next_is_open_and_before_it_nothing_is(when, hour, hours, days, zone) -> None:
    now = datetime.fromtimestamp(when, UTC)
    given_window = Window(name="w", start=f"{hour:02}:00", hours=hours, days=tuple(sorted(days)), zone=zone)
    opens = opens_next([given_window], [], now)
    assert opens is not None
    assert given_window.open_until(opens) is not None
    assert now <= opens <= now + timedelta(days=8)
    if opens > now:
        assert given_window.open_until(now) is None
        assert given_window.open_until(opens - timedelta(seconds=1)) is None


def test_a_freeze_wins_over_every_window() -> None:
    freeze = Freeze(name="Christmas sales", first=date(2026, 12, 20), last=date(2027, 1, 2), zone=BERLIN)
    always = window("00:00", 24)
    assert open_until([always], [freeze], at("2026-12-19 22:59")) is not None
    assert open_until([always], [freeze], at("2026-12-19 23:00")) is None
    assert open_until([always], [freeze], at("2027-01-02 22:59")) is None
    assert open_until([], [freeze], at("2026-12-24 12:00")) is None
    assert opens_next([always], [freeze], at("2026-12-24 12:00")) == at("2027-01-02 23:00")


def test_without_windows_it_is_always_open() -> None:
    assert open_until([], [], at("2026-12-24 12:00")) is not None
    assert shut([], [], at("2026-12-24 12:00")) == ""


def test_freezes_one_after_the_other_for_ever_are_said() -> None:
    freezes = [
        Freeze(name="one", first=date(2026, 1, 1), last=date(2026, 12, 31), zone="UTC"),
        Freeze(name="two", first=date(2027, 1, 1), last=date(2028, 12, 31), zone="UTC"),
    ]
    assert opens_next([window()], freezes, at("2026-11-29 12:00")) is None
    assert shut([window()], freezes, at("2026-11-29 12:00")) == (
        "one lasts until 2026-12-31 (UTC), and none opens for more than a year"
    )


def test_the_sentence_names_the_next_moment_in_the_zone_of_the_window() -> None:
    said = shut([window("22:30", days=("sat",))], [], at("2026-11-26 12:00"))
    assert said == "no window is open; the next moment is Sat 28 Nov 2026 22:30 (Europe/Berlin)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"start": "24:00"}, "'24:00' is no time of day"),
        ({"start": "2:00"}, "'2:00' is no time of day"),
        ({"zone": "Berlin"}, "'Berlin' is no time zone"),
        ({"zone": "../../etc/passwd"}, "is no time zone"),
        ({"hours": 0}, "hours"),
        ({"hours": 25}, "hours"),
        ({"days": ()}, "days"),
        ({"days": ("monday",)}, "days"),
    ],
)
def test_what_is_no_window(given, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Window(**{"name": "w", "start": "02:00", "hours": 2, "zone": "UTC", **given})


def test_a_freeze_that_ends_before_it_begins() -> None:
    with pytest.raises(InputError, match="2026-01-01 is before 2026-01-02"):
        Freeze(name="f", first=date(2026, 1, 2), last=date(2026, 1, 1), zone="UTC")
