"""The network of the first boot, from the network policy: cloud-init's network configuration, version 2.

Only cards: on Photon cloud-init writes files of systemd-networkd, and its renderer for these makes no VLANs, bonds and
bridges, and drops metrics, routes without a gateway and domains without servers. What is left out here comes with
`deploys/host.py`, whose files sort before those of cloud-init.

Source of the format: cloud-init's "Networking config Version 2" and its net/network_state.py, net/networkd.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deploys.policies.network import Network
from deploys.policies.network_models import Link

_DEFAULT = {"0.0.0.0/0": "gateway4", "::/0": "gateway6"}


def network_data(network: Network, hostname: str) -> dict[str, Any] | None:
    """The value of `network` in the metadata; None leaves Photon's own: DHCP on every card."""
    found = list(cards(network))
    if not found:
        return None
    taken = {link.device for link in found}
    free = (f"eth{number}" for number in range(len(found) * 2) if f"eth{number}" not in taken)
    # cloud-init itself looks up what a card with this MAC is called; `set-name` would only have it look for two names.
    ethernets = {link.device or next(free): _card(link, network, hostname) for link in found}
    return {"version": 2, "ethernets": ethernets}


def cards(network: Network) -> Iterable[Link]:
    """The links that are cards, and have an address or ask for one."""
    made = set(network.devices().values())
    return (link for link in network.links if link.device not in made and (link.addresses or link.dhcp != "no"))


def problems(network: Network) -> Iterable[str]:
    """Why a host could not be reached after its first boot."""
    if network.links and not any(True for _ in cards(network)):
        yield (
            "network.links: the first boot configures cards alone (cloud-init makes no VLANs, bonds and bridges on "
            "Photon), and none of them has an address or DHCP: give one to a card"
        )


def _card(link: Link, network: Network, hostname: str) -> dict[str, Any]:
    card: dict[str, Any] = {"dhcp4": link.dhcp in {"yes", "ipv4"}, "dhcp6": link.dhcp in {"yes", "ipv6"},
                            "accept-ra": link.accept_ra}  # fmt: skip
    if link.mac:
        card["match"] = {"macaddress": link.mac}
    if card["dhcp4"]:
        # Photon asks before it has its name, and would be known to the DHCP server as photon-machine.
        card["dhcp4-overrides"] = {"hostname": hostname, "send-hostname": True, "use-hostname": False}
    if link.addresses:
        card["addresses"] = list(link.addresses)
    # Not as routes: cloud-init 22.4 writes ::/0 as ::/64.
    card |= {_DEFAULT[route.to]: route.via for route in link.routes if route.to in _DEFAULT and route.via}
    gateways = {"gateway4": link.gateway, "gateway6": link.gateway6}
    card |= {key: gateway for key, gateway in gateways.items() if gateway}
    routes = [{"to": route.to, "via": route.via} for route in link.routes if route.via and route.to not in _DEFAULT]
    servers = list(dict.fromkeys([*link.dns, *network.dns]))
    if servers:
        # Domains without servers would cost this card and all that follow their servers, too.
        card["nameservers"] = {"addresses": servers, "search": list(dict.fromkeys([*link.domains, *network.domains]))}
    card |= {"routes": routes} if routes else {}
    card |= {"mtu": link.mtu} if link.mtu else {}
    card |= {} if link.required else {"optional": True}
    return card
