"""The policy of updates: what it refuses, and what its checks read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.update import Drain, Update
from deploys.policies.update_slot import FleetLock
from deploys.policies.update_window import Freeze, Window


def examples(_: Path) -> tuple[Update, Update]:
    """Two policies that differ in every field, for the contract test."""
    window = Window(name="night", start="02:00", hours=3, zone="Europe/Berlin")
    freeze = Freeze(name="sales", first=date(2026, 12, 20), last=date(2027, 1, 2), zone="Europe/Berlin")
    return (
        Update(level="12"),
        Update(
            level="latest", minversions={"sudo": "1.9.15p5-4.ph5"}, windows=[window], freezes=[freeze],
            drain=Drain(containers=["drain=true"], nfs_clients=True),
            slot=FleetLock(url="https://lock.example.com", group="web"),
        ),
    )  # fmt: skip


def test_it_says_why_nothing_may_be_done_now(tmp_path) -> None:
    free, bound = examples(tmp_path)
    now = datetime(2026, 12, 24, 2, tzinfo=UTC)
    assert free.shut(now) == ""
    assert bound.shut(now).startswith("sales lasts until 2027-01-02 (Europe/Berlin); the next moment is ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"level": "12; reboot"}, "is no level of updates"),
        ({"minversions": {"--x": "1"}}, "--x=1 is no package and version"),
        ({"minversions": {"sudo": "1 2"}}, "sudo=1 2 is no package and version"),
        ({"window": []}, "unknown field 'window' .did you mean 'windows'"),
    ],
)
def test_what_is_no_policy_of_updates(given, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Update(**given)


@pytest.mark.parametrize(
    "given", [{}, {"containers": ["-x"]}, {"containers": ["a b"]}, {"nfs_clients": True, "seconds": 1}]
)
def test_what_is_no_drain(given) -> None:
    with pytest.raises(InputError):
        Drain(**given)


def test_two_windows_of_one_name() -> None:
    window = Window(name="night", start="02:00", hours=3, zone="UTC")
    with pytest.raises(InputError, match="'night' is given 2 times"):
        Update(windows=[window, window])
