"""Names of the inventory, and which of a machine's addresses is the one to log in to."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.vsphere.rows import AddressRule, Nic, Vm, coded, shown, vm_from_json

MANAGEMENT = Nic(4000, "management", "00:50:56:00:00:01", ("fe80::1", "10.9.0.4", "2001:db8::4"))
STORAGE = Nic(4001, "storage", "00:50:56:00:00:02", ("10.20.0.4",))
DOCKER = Nic(-1, "", "02:42:00:00:00:01", ("172.17.0.1",))


def vm(*nics: Nic, power: str = "on", tools: bool = True, **more) -> Vm:
    return Vm("vm-1", "web-1", ("DC0", "prod"), power=power, tools=tools, nics=nics, **more)


@given(st.text(min_size=1))
def test_a_name_comes_back_as_it_was(name: str) -> None:
    assert shown(coded(name)) == name


def test_a_path_tells_a_slash_in_a_name_from_a_folder() -> None:
    assert Vm("vm-1", "a/b", ("DC0", "50%")).path == "DC0/50%25/a%2fb"


@pytest.mark.parametrize(
    ("rule", "nics", "wanted"),
    [
        (AddressRule(), (DOCKER, MANAGEMENT), "10.9.0.4"),
        (AddressRule(), (STORAGE, MANAGEMENT), "10.9.0.4"),
        (AddressRule(network="storage"), (MANAGEMENT, STORAGE), "10.20.0.4"),
        (AddressRule(family=6), (MANAGEMENT,), "2001:db8::4"),
        (AddressRule(within=("10.20.0.0/16", "2001:db8::/32")), (MANAGEMENT, STORAGE), "10.20.0.4"),
        (AddressRule(), (DOCKER,), None),
        (AddressRule(), (Nic(4000, "management", "", ("169.254.3.4", "127.0.0.1", "0.0.0.0")),), None),
        (AddressRule(), (Nic(4000, "management", "", ("10.9.0.4",), connected=False),), None),
        (AddressRule(), (Nic(4000, "management", "", ("rubbish", "10.9.0.4/24", "10.9.0.5")),), "10.9.0.5"),
        (AddressRule(network="elsewhere"), (MANAGEMENT, STORAGE), None),
    ],
)
def test_the_address_is_chosen_by_rule(rule: AddressRule, nics: tuple[Nic, ...], wanted: str | None) -> None:
    assert rule.of(vm(*nics)) == wanted


def test_the_reason_for_none_says_what_is_there() -> None:
    rule = AddressRule(network="elsewhere")
    assert rule.reason(vm(MANAGEMENT, power="off")) == "it is off"
    assert "VMware Tools do not run" in rule.reason(vm(MANAGEMENT, tools=False))
    assert rule.reason(vm(DOCKER)) == "it has no IPv4 address on elsewhere; it has 172.17.0.1 (the guest's own)"
    assert rule.reason(vm()) == "it has no IPv4 address on elsewhere; it has none at all"


def test_a_row_survives_being_kept() -> None:
    row = vm(MANAGEMENT, DOCKER, attributes={"owner": "ops"}, tags={"role": ("db", "web")}, annotation="ü\n<&>",
             host="esx-1", datastores=("a", "b"))  # fmt: skip
    assert vm_from_json(json.loads(json.dumps(asdict(row)))) == row
