"""Adapters with MACs of their own, by which the network policy finds its cards; and what else a clone must not keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from deploys.errors import InputError
from deploys.policies.network import Network
from deploys.policies.network_models import Link
from deploys.policies.secret import Secret
from deploys.policies.vcenter import VCenter
from deploys.policies.vm import Adapter, Vm, shared_macs
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import Fleet

FIRST, SECOND, OTHER = "00:50:56:00:00:01", "00:50:56:3f:ff:ff", "00:50:56:10:00:07"
VCENTER = VCenter(host="vcenter.example.com", user="u", password=Secret.env("X"), pin_sha256="0" * 64)
BODY = """
from deploys.policies.network import Network
from deploys.policies.network_models import Link

def machine(name, first, link, **more):
    adapters = [Adapter(index=0, network="DC0_DVPG1", mac=first), Adapter(index=1, network="DC0_DVPG0", mac="{second}")]
    policy = Vm(vcenter=VC, folder="DC0/prod/web", template="DC0/photon-5", cluster="DC0_C0", memory_mib=1024,
                adapters=adapters, **more)
    network = Network(links=[Link(name="front", mac=link, dhcp="ipv4")])
    return host(name, Ssh(root_login="prohibit-password"), policy, network, **DATA)

hosts = fleet(machine("web-1", "{first}", "{link}", may_cycle_power={cycle}))
"""


def policy(*adapters: Adapter) -> Vm:
    return Vm(vcenter=VCENTER, folder="DC0/x", template="DC0/t", cluster="C", adapters=adapters)


def adapter(index: int, mac: str | None = None) -> Adapter:
    return Adapter(index=index, network="n", mac=mac)


@pytest.mark.parametrize("mac", ["00:50:56:40:00:00", "00:50:56:80:00:01", "00:0c:29:00:00:01", "02:00:00:00:00:01"])
def test_a_mac_that_a_vcenter_gives_itself_is_refused(mac: str) -> None:
    with pytest.raises(InputError, match="none that a vCenter lets people give"):
        adapter(0, mac)
    assert adapter(0, FIRST.upper()).mac == FIRST


def test_no_two_adapters_have_one_mac() -> None:
    assert list(policy(adapter(0, FIRST), adapter(1, SECOND)).problems()) == []
    assert list(policy(adapter(0), adapter(1)).problems()) == []
    assert "2 of them have the MAC" in "".join(policy(adapter(0, FIRST), adapter(1, FIRST)).problems())
    one, other = policy(adapter(0, FIRST), adapter(1)), policy(adapter(0, FIRST))
    assert list(shared_macs({"a": one, "b": policy(adapter(0, SECOND))})) == []
    (found,) = shared_macs({"a": one, "b": other})
    assert found == f"a, b: vm: adapters: each has the MAC {FIRST}; give each one of its own"


def test_a_link_whose_mac_no_adapter_has_is_refused_where_all_are_known() -> None:
    links = Network(links=[Link(name="front", mac=OTHER, dhcp="ipv4"), Link(name="back", device="eth1", dhcp="ipv4")])
    (found,) = policy(adapter(0, FIRST), adapter(1, SECOND)).conflicts({"network": links})
    assert f"none has the MAC {OTHER}, by which the network policy's link front finds its card" in found
    for known in ((), (adapter(0),), (adapter(0, FIRST), adapter(1)), (adapter(0, OTHER),)):
        assert list(policy(*known).conflicts({"network": links})) == []


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=0, template="photon-5", port_groups=2, boot=0.1)


def body(first: str = FIRST, link: str = FIRST, *, cycle: bool = False) -> str:
    return BODY.format(first=first, second=SECOND, link=link, cycle=cycle)


def adapters(simulator: vcenter.VCenter) -> list[tuple[str, str]]:
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm/prod/web/web-1")
        assert not vm.config.annotation
        devices = sorted(vm.config.hardware.device, key=lambda device: device.key)
        cards = [each for each in devices if isinstance(each, vim.vm.device.VirtualEthernetCard)]
        return [(each.macAddress, each.addressType) for each in cards]


def test_a_machine_has_its_macs_before_its_first_boot(simulator, tmp_path: Path) -> None:
    with Fleet(simulator, tmp_path, body(link=OTHER), ("web-1",)) as fleet:
        before = simulator.calls()
        refused = fleet.run()
        assert refused.status != 0
        assert f"web-1: vm: adapters: none has the MAC {OTHER}" in refused.out + refused.err
        assert simulator.calls() == before
        fleet.body = body()
        simulator.fault("PowerOnVM_Task", "task", "NoPermission")
        assert fleet.run().status == 1
        assert adapters(simulator) == [(FIRST, "manual"), (SECOND, "manual")]
        assert fleet.run().status == 0
        assert fleet.changes() == 0
        fleet.body = body(first=OTHER, link=OTHER)
        refused = fleet.run()
        assert "the MAC address cannot be changed while the machine runs" in refused.err
        fleet.body = body(first=OTHER, link=OTHER, cycle=True)
        # Changed, switched on, waited for, and written down: it has another address, too.
        assert fleet.changes() == 4
        assert adapters(simulator) == [(OTHER, "manual"), (SECOND, "manual")]
        assert fleet.changes() == 0
