"""Debian's cloud-init reads what hosts are given: its VMware datasource, its schema, its files for networkd."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from deploys.policies.network import Network
from deploys.policies.network_models import Link, Route
from deploys.vsphere.seed.cloud_init import as_yaml, seed, user_data_of
from deploys.vsphere.seed.encode import GuestInfo, guest_info
from tests.lab import cloud_init
from tests.lab.errors import LabError
from tests.vsphere.new_hosts import HOSTS, MAC, ROOT, key_for, new_host

SCRIPT = Path(__file__).with_name("read_seed.py")
ODD = {
    "text": "tab\t ünï 🐙 \x7f \x85 \u2028 \ud7ff 'quote' \"two\" \\U0001f419 %s {{ }} # no: comment",
    "looks": ["yes", "1e3", "0o7", "~", "null", "2026-11-29", "1:30", ""],
    "nested": {"a": [1, True, None]},
}


@pytest.fixture(scope="module")
def read():
    """Asks cloud-init what it makes of keys of guestinfo, for several seeds at once."""
    try:
        modules = cloud_init.unpacked()
    except LabError as error:
        pytest.skip(str(error))

    def ask(*seeds: GuestInfo, cards: dict[str, str] | None = None) -> list[dict]:
        given = [(dict(each.keys), cards or {}) for each in seeds]
        env = {"PYTHONPATH": str(modules), "PATH": os.environ["PATH"]}
        done = subprocess.run([cloud_init.PYTHON, SCRIPT], input=json.dumps(given), text=True, capture_output=True,
                              env=env, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


@pytest.fixture(scope="module")
def found(read) -> dict[str, dict]:
    """Name of a host -> what cloud-init reads of its seed."""
    given = {name: seed(host, f"id-{number}", key_for(host)) for number, (name, host) in enumerate(HOSTS.items())}
    return dict(zip(given, read(*(each.guest_info() for each in given.values())), strict=True))


@pytest.mark.parametrize("name", HOSTS)
def test_cloud_init_reads_what_was_meant(name: str, found) -> None:
    host, seen = HOSTS[name], found[name]
    number = list(HOSTS).index(name)
    assert seen["wrong"] == []
    assert seen["first_line"] == "#cloud-config"
    assert (seen["instance_id"], seen["hostname"]) == (f"id-{number}", host.hostname)
    assert seen["redact"] == ["userdata"]
    if host.first_boot.host_keys == "guest":
        assert seen["config"] == user_data_of(host, f"id-{number}", None)


@pytest.mark.parametrize("name", [name for name, host in HOSTS.items() if host.network.links])
def test_the_first_boot_has_the_networks_addresses(name: str, found) -> None:
    assert differences(HOSTS[name].network, found[name]["files"]) == []


def test_any_network_of_cards_is_the_policys(read) -> None:
    source = random.Random(7)  # noqa: S311 - cases, the same ones each time
    networks = [Network(links=[card(source, n) for n in range(source.randint(1, 4))], domains=["all.example"])
                for _ in range(40)]  # fmt: skip
    seen = read(*(seed(new_host(ROOT, network), "id").guest_info() for network in networks))
    assert [differences(network, each["files"]) for network, each in zip(networks, seen, strict=True)] == [[]] * 40


def test_a_card_asks_for_its_address_by_the_hosts_name(found) -> None:
    files = found["static addresses"]["files"]
    assert {"Hostname=web-1.example.com", "SendHostname=True", "UseHostname=False"} <= set(files["eth0"].splitlines())
    assert {f"MACAddress={MAC}", "Name=eth1"} <= set(files["eth1"].splitlines())


def test_a_card_is_found_by_its_mac_whatever_it_is_called(read) -> None:
    files = read(seed(HOSTS["static addresses"], "id").guest_info(), cards={MAC: "eth5"})[0]["files"]
    assert set(files) == {"eth0", "eth5"}
    assert {"Address=10.0.0.5/24", "DNS=10.0.0.53 10.0.0.54"} <= set(files["eth5"].splitlines())


def test_a_host_without_links_keeps_photons_own_network(found) -> None:
    assert found["root"]["files"] == {}


def test_yaml_reads_odd_text_as_it_was(read) -> None:
    keys = {"metadata": as_yaml({"instance-id": "x", "redact": []}), "userdata": f"#cloud-config\n{as_yaml(ODD)}"}
    assert read(guest_info(keys, {}))[0]["config"] == ODD


def test_the_schema_is_asked(read) -> None:
    wrong = {"users": [{"name": "x", "uid": ["no"]}], "runcmd": "no"}
    keys = {"metadata": as_yaml({"instance-id": "x", "redact": []}), "userdata": f"#cloud-config\n{as_yaml(wrong)}"}
    assert "runcmd" in read(guest_info(keys, {}))[0]["wrong"][0]


def card(source: random.Random, number: int) -> Link:
    """Any card that has an address, or asks for one."""
    mac = source.random() < 0.5
    old = [f"10.{number}.0.5/{source.choice([8, 24, 30, 32])}", f"10.{number}.0.6/24"][: source.randint(0, 2)]
    new = [f"2001:db8:{number}::5/{source.choice([48, 64, 127, 128])}"][: source.randint(0, 1)]
    routes = [("192.0.2.0/24", f"10.{number}.0.9"), ("2001:db8:ffff::/48", f"2001:db8:{number}::9")]
    return Link(
        name=f"card-{number}",
        mac=f"00:50:56:00:00:0{number}" if mac else None,
        device=None if mac else f"eth{number}",
        addresses=[*old, *new],
        gateway=f"10.{number}.0.6" if len(old) > 1 and source.random() < 0.5 else None,
        gateway6="fe80::1" if new and source.random() < 0.5 else None,
        dhcp=source.choice(["no", "yes", "ipv4", "ipv6"] if old or new else ["yes", "ipv4", "ipv6"]),
        accept_ra=source.random() < 0.5,
        routes=[Route(to=to, via=via) for to, via in routes if source.random() < 0.3],
        dns=source.choice([[], ["10.0.0.1"], ["2001:db8::53", "10.0.0.2"]]),
        domains=source.choice([[], ["~corp.example"], ["a.example", "b.example"]]),
        mtu=source.choice([None, 1400, 9000]),
        required=source.random() < 0.5,
    )


def differences(network: Network, files: dict[str, str]) -> list[str]:
    """What cloud-init's files for networkd say otherwise than the policy's own, which come later."""
    found = []
    theirs = [_settings(text) for text in files.values()]
    for link in network.links:
        ours = _settings(network.files()[f"05-photon-fleet-{link.name}.network"])
        match = ("MACAddress", link.mac) if link.mac else ("Name", link.device)
        seen = next((each for each in theirs if each.get(match[0]) == {match[1]}), {})
        servers = {*link.dns, *network.dns}
        wanted = {key: ours.get(key, set()) for key in ("Address", "DHCP", "MTUBytes", "Gateway")}
        wanted["Destination"] = {route.to for route in link.routes if route.via} - {"0.0.0.0/0", "::/0"}
        wanted |= {"DNS": servers, "Domains": {*link.domains, *network.domains} if servers else set()}
        found += [f"{link.name}: {key}={seen.get(key)}, not {value}" for key, value in wanted.items()
                  if seen.get(key, set()) != value]  # fmt: skip
    return found


def _settings(text: str) -> dict[str, set[str]]:
    """Keys of a file of networkd -> what all its sections say, word by word."""
    seen: dict[str, set[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            seen.setdefault(key, set()).update(value.split())
    return seen
