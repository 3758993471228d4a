"""Links and names: what is refused before any connection, and the files that networkd gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.network import DOCKER_PROXY, LOGIN_PROXY, UNMANAGED, Network
from deploys.policies.network_models import Bond, Bridge, HostEntry, Link, Macvlan, Proxy, Route, Vlan


def examples(_: Path) -> tuple[Network, Network]:
    """Two policies that differ in every field, for the contract test."""
    one = Link(name="lan", mac="00:50:56:00:00:01", addresses=["10.0.0.5/24"], routes=[Route(to="10.9.0.0/16")])
    other = Link(
        name="lan",
        mac="00:50:56:00:00:02",
        addresses=["10.0.0.6/24", "2001:db8::6/64"],
        dhcp="ipv6",
        gateway="10.0.0.1",
        gateway6="2001:db8::1",
        routes=[Route(to="10.9.0.0/16", via="10.0.0.9", metric=5)],
        dns=["10.0.0.53"],
        domains=["example.com"],
        mtu=9000,
        accept_ra=True,
        link_local=False,
        required=False,
        vlans=["vlan7"],
        macvlans=["mac0"],
    )
    return (
        Network(
            links=[one],
            vlans=[Vlan(name="vlan7", id=7)],
            bonds=[Bond(name="bond0", mode="802.3ad")],
            bridges=[Bridge(name="br0")],
            macvlans=[Macvlan(name="mac0")],
            hosts=[HostEntry(address="10.0.0.5", names=["a"])],
            proxy=Proxy(http="http://other.example.com:3128"),
        ),
        Network(
            hostname="web-1",
            links=[other.model_copy(update={"device": "eth0", "bond": "bond0", "bridge": "br0"})],
            vlans=[Vlan(name="vlan7", id=8)],
            bonds=[Bond(name="bond0", mode="balance-rr", monitor_milliseconds=50, fast_lacp=False)],
            bridges=[Bridge(name="br0", stp=True)],
            macvlans=[Macvlan(name="mac0", mode="vepa")],
            dns=["10.0.0.53"],
            domains=["example.com"],
            fallback_dns=["10.0.0.54"],
            hosts=[HostEntry(address="10.0.0.5", names=["b"])],
            proxy=Proxy(http="http://proxy.example.com:3128", https="http://proxy.example.com:3129", without=["x"]),
        ),
    )


def test_a_link_is_told_by_its_mac_or_its_name() -> None:
    with pytest.raises(InputError, match="exactly one"):
        Link(name="lan", addresses=["10.0.0.5/24"])
    with pytest.raises(InputError, match="exactly one"):
        Link(name="lan", mac="00:50:56:00:00:01", device="eth0")
    # A VLAN has the address of the card below it: the type keeps them apart.
    text = Network(links=[Link(name="lan", mac="00:50:56:AA:00:01", dhcp="yes")]).files()["05-photon-fleet-lan.network"]
    assert text.splitlines()[1:4] == ["[Match]", "MACAddress=00:50:56:aa:00:01", "Type=ether"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"addresses": ["10.0.0.5"]}, "no address with its prefix length"),
        ({"addresses": ["10.0.0.5/33"]}, "no address with its prefix length"),
        ({"addresses": ["10.0.0.5/24"], "gateway": "10.0.1.1"}, "in none of the networks"),
        ({"gateway": "2001:db8::1"}, "no IPv4 address"),
        ({"dns": ["resolver"]}, "no IP address"),
        ({"mtu": 100}, "greater than or equal to 1280"),
        ({"bond": "bond0", "dhcp": "yes"}, "belong to the bond or bridge"),
        ({"bond": "bond0", "bridge": "br0"}, "part of one of them"),
        ({"domains": ["a b"]}, "no domain name"),
        ({"routes": [{"to": "10.0.0.0/8", "via": "2001:db8::1"}]}, "another family"),
        ({"routes": [{"to": "10.0.0.1/8"}]}, "no network in CIDR notation"),
        ({"vlans": ["../x"]}, "no name of a network device"),
        ({"vlans": ["a23456789012345678"]}, "no name of a network device"),
    ],
)
def test_what_is_no_link(given: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Link(name="lan", device="eth0", **given)


def test_stacked_devices_and_links_know_each_other() -> None:
    lan = Link(name="lan", device="eth0", addresses=["10.0.0.5/24"], vlans=["vlan7"])
    assert list(Network(links=[lan]).problems()) == ["links: vlan 'vlan7' is not among vlans"]
    assert list(Network(links=[lan], vlans=[Vlan(name="vlan7", id=7)]).problems()) == []
    assert list(Network(vlans=[Vlan(name="vlan7", id=7)]).problems()) == ["vlans[vlan7]: no link has it"]
    twice = Network(links=[lan, Link(name="other", device="eth0", vlans=["vlan7"])], vlans=[Vlan(name="vlan7", id=7)])
    assert "links: two have the device eth0" in list(twice.problems())
    assert list(Network(links=[Link(name="lan", device="eth0")]).problems()) == [
        "links: none of them has an address or DHCP"
    ]


def test_a_bond_of_two_cards_with_a_vlan() -> None:
    policy = Network(
        links=[
            Link(name="one", mac="00:50:56:00:00:01", bond="bond0"),
            Link(name="two", mac="00:50:56:00:00:02", bond="bond0"),
            Link(name="lan", device="bond0", addresses=["10.0.0.5/24"], gateway="10.0.0.1", vlans=["vlan7"]),
            Link(name="storage", device="vlan7", addresses=["10.7.0.5/24"], mtu=9000, required=False),
        ],
        bonds=[Bond(name="bond0", mode="802.3ad")],
        vlans=[Vlan(name="vlan7", id=7)],
    )
    assert not list(policy.problems())
    files = policy.files()
    assert sorted(files) == [
        "05-photon-fleet-bond0.netdev", UNMANAGED, "05-photon-fleet-lan.network", "05-photon-fleet-one.network",
        "05-photon-fleet-storage.network", "05-photon-fleet-two.network", "05-photon-fleet-vlan7.netdev",
    ]  # fmt: skip
    assert (
        "Kind=bond\n\n[Bond]\nMode=802.3ad\nMIIMonitorSec=100ms\nLACPTransmitRate=fast\n"
        in files["05-photon-fleet-bond0.netdev"]
    )
    assert "Bond=bond0\n" in files["05-photon-fleet-one.network"]
    assert "Gateway=10.0.0.1\nVLAN=vlan7\n" in files["05-photon-fleet-lan.network"]
    assert policy.devices() == {"05-photon-fleet-bond0.netdev": "bond0", "05-photon-fleet-vlan7.netdev": "vlan7"}


def test_a_policy_without_links_leaves_networkd_alone() -> None:
    assert Network(hostname="web-1").files() == {}


@pytest.mark.parametrize("name", ["-web", "a b", "x" * 65, "", "web_1"])
def test_what_is_no_host_name(name: str) -> None:
    with pytest.raises(InputError, match="no host name"):
        Network(hostname=name)


def test_proxies_are_told_in_both_spellings_and_without_passwords() -> None:
    files = Network(proxy=Proxy(http="http://proxy.example.com:3128", without=["localhost", ".example.com"])).proxies()
    assert "export http_proxy='http://proxy.example.com:3128'\n" in files[LOGIN_PROXY]
    assert 'Environment="NO_PROXY=localhost,.example.com"\n' in files[DOCKER_PROXY]
    assert Network().proxies() == {}
    with pytest.raises(InputError, match="password would be in files") as caught:
        Proxy(http="http://me:hunter2@proxy.example.com:3128")
    assert "hunter2" not in str(caught.value)
    for wrong in ("proxy:3128", "http://a b", "http://x'y", "http://x$(y)"):
        with pytest.raises(InputError, match="no proxy"):
            Proxy(http=wrong)
