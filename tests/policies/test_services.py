"""Units: what may not be switched off, and what is refused before any connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.docker import Docker
from deploys.policies.services import DropIn, Service, Services, UnitFile
from deploys.policies.time import Time
from inventories._fleet import fleet, host

TEXT = "[Service]\nExecStart=/bin/true\n"


def examples(_: Path) -> tuple[Services, Services]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Services(
            units=[Service(unit="a.service", masked=True)],
            files=[UnitFile(name="b.service", content=TEXT)],
            drop_ins=[DropIn(unit="c.service", content=TEXT)],
        ),
        Services(
            units=[Service(unit="a.service", enabled=True, running=True)],
            files=[UnitFile(name="b.service", content="[Unit]\n", restart=False)],
            drop_ins=[DropIn(unit="c.service", name="60-x", content="[Unit]\n", restart=False)],
        ),
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"unit": "sshd", "running": True}, "no whole name of a unit"),
        ({"unit": "-x.service", "running": True}, "no whole name of a unit"),
        ({"unit": "a b.service", "running": True}, "no whole name of a unit"),
        ({"unit": "../x.service", "running": True}, "no whole name of a unit"),
        ({"unit": "x.service"}, "says nothing"),
        ({"unit": "x.service", "masked": True, "running": True}, "masked, and yet"),
    ],
)
def test_bad_units_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Service(**fields)


@pytest.mark.parametrize(
    "unit",
    ["sshd.service", "sshd.socket", "sshd@.service", "systemd-networkd.service", "systemd-journald.socket",
     "dbus.service", "dbus-broker.service", "multi-user.target", "boot.mount", "user.slice"],
)  # fmt: skip
@pytest.mark.parametrize("off", [{"masked": True}, {"running": False}, {"enabled": False}])
def test_what_a_host_cannot_be_without_is_not_switched_off(unit: str, off: dict) -> None:
    assert "could not be reached" in "".join(Services(units=[Service(unit=unit, **off)]).problems())


def test_it_may_be_switched_on() -> None:
    assert list(Services(units=[Service(unit="sshd.service", running=True, enabled=True)]).problems()) == []


def test_what_another_policy_of_the_host_keeps_running_is_not_switched_off() -> None:
    off = Services(units=[Service(unit="docker.service", running=False)])
    with pytest.raises(InputError, match=r"units.docker.service.: the docker policy of this host keeps it running"):
        fleet(host("x", off, Docker()))
    assert fleet(host("x", off, Time(servers=["a.example"])))
    assert fleet(host("x", Services(units=[Service(unit="docker.service", running=True)]), Docker()))


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        (Services(files=[UnitFile(name="sshd.service", content=TEXT)]), "would replace the system's own unit"),
        (Services(files=[UnitFile(name="docker.service", content=TEXT)]), "would replace the system's own unit"),
        (Services(drop_ins=[DropIn(unit="dbus.service", content=TEXT)]), "would end sessions"),
        (
            Services(drop_ins=[DropIn(unit="docker.service", name="photon-fleet-firewall", content=TEXT)]),
            "are other policies'",
        ),
    ],
)
def test_what_would_break_the_host_is_a_problem(policy: Services, complaint: str) -> None:
    assert complaint in "".join(policy.problems())


def test_a_drop_in_for_the_next_boot_is_none() -> None:
    assert list(Services(drop_ins=[DropIn(unit="dbus.service", content=TEXT, restart=False)]).problems()) == []


def test_two_drop_ins_of_one_unit_are_two_and_one_name_is_one() -> None:
    one, other = (DropIn(unit="a.service", name=name, content=TEXT) for name in ("x", "y"))
    assert len(Services(drop_ins=[one, other]).drop_ins) == 2
    with pytest.raises(InputError, match=r"'a.service/x' is given 2 times"):
        Services(drop_ins=[one, one])


def test_a_text_without_a_section_is_no_unit() -> None:
    with pytest.raises(InputError, match="no text of a unit file"):
        UnitFile(name="a.service", content="ExecStart=/bin/true")
