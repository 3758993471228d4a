"""Hosts that are to be made, one for each thing that their first boot must do otherwise."""

from __future__ import annotations

from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Group, Root, Sudo, User
from deploys.policies.base import Policy
from deploys.policies.network import Network
from deploys.policies.network_models import Bond, Link, Route, Vlan
from deploys.policies.ssh import Login, Ssh
from deploys.vsphere.seed.first_boot import FirstBoot
from deploys.vsphere.seed.host import NewHost
from deploys.vsphere.seed.host_keys import HostKey

ALICE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA1ur7H0n3ClJWM9aHyz1dIsGzwFm0BZ8x0bDRdvx7Cl alice"
BOB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGm2sV4vZ8Zq1Xn7p7m6r7yYQ3qkWm9l1mS7H0Yw4n2x bob"
MAC = "00:50:56:01:02:03"
ROOT = Accounts(root=Root(keys=[ALICE]))
OPS = Accounts(
    groups=[Group(name="operators", gid=1500), Group(name="others", gid=1600)],
    users=[
        User(name="ops", uid=1501, group="operators", groups=["wheel"], comment="Ünïcode 🐙 it's", keys=[ALICE, BOB])
    ],
    sudo=[Sudo(name="operators", who=["%operators"], password=False)],
)
STATIC = Network(
    hostname="web-1.example.com",
    links=[
        Link(
            name="front", mac=MAC, addresses=["10.0.0.5/24", "2001:db8::5/64"], gateway="10.0.0.1",
            gateway6="2001:db8::1", dns=["10.0.0.53"], domains=["front.example.com"], mtu=1400,
            routes=[Route(to="10.9.0.0/16", via="10.0.0.9", metric=50), Route(to="10.8.0.0/16")],
        ),
        Link(name="back", device="eth0", dhcp="ipv4", required=False),
    ],
    dns=["10.0.0.54"], domains=["example.com"],
)  # fmt: skip
STACKED = Network(
    links=[
        Link(name="a", device="eth0", bond="bond0"),
        Link(name="b", device="eth1", bond="bond0"),
        Link(name="bond", device="bond0", vlans=["bond0.7"]),
        Link(name="vlan", device="bond0.7", addresses=["10.0.0.5/24"]),
    ],
    bonds=[Bond(name="bond0")],
    vlans=[Vlan(name="bond0.7", id=7)],
)


def new_host(*policies: Policy, user: str = "root", name: str = "web-1", **first_boot: object) -> NewHost:
    """A host with these policies."""
    return NewHost(name, user, {policy.name: policy for policy in policies}, FirstBoot(**first_boot))


HOSTS = {
    "nothing but a key": new_host(keys=[ALICE]),
    "root": new_host(ROOT, Ssh()),
    "root, key made here": new_host(ROOT, Ssh(), host_keys="controller"),
    "a user": new_host(OPS, Ssh(root_login="no", allow_groups=["operators"]), user="ops"),
    "a user, image's sshd": new_host(OPS, user="ops"),
    "another port": new_host(Ssh(ports=[2222], logins=[Login(user="root", keys=[BOB])])),
    "static addresses": new_host(ROOT, Ssh(), STATIC),
    "IPv6 alone": new_host(
        ROOT,
        Network(links=[Link(name="x", device="eth0", addresses=["2001:db8::5/64"], gateway6="fe80::1")]),
    ),
    "default routes as routes": new_host(
        ROOT,
        Network(links=[Link(name="x", device="eth0", addresses=["10.0.0.5/24", "2001:db8::5/64"],
                            routes=[Route(to="0.0.0.0/0", via="10.0.0.1"), Route(to="::/0", via="2001:db8::1"),
                                    Route(to="2001:db8:7::/48", via="2001:db8::7")])]),
    ),
    "DHCP of both families": new_host(
        ROOT, Network(links=[Link(name="x", mac=MAC, dhcp="yes", accept_ra=True)], dns=["10.0.0.53"])
    ),
}  # fmt: skip


def key_for(host: NewHost) -> HostKey | None:
    """A host key where the controller makes it."""
    return HostKey.make() if host.first_boot.host_keys == "controller" else None
