"""Debian's cloud-init reads what hosts are given: its VMware datasource, its schema, its files for networkd."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploys.vsphere.seed.cloud_init import as_yaml, seed, user_data_of
from deploys.vsphere.seed.encode import guest_info
from tests.lab import cloud_init
from tests.lab.errors import LabError
from tests.vsphere.new_hosts import HOSTS, MAC, key_for

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

    def ask(seeds: list[dict[str, str]]) -> list[dict]:
        env = {"PYTHONPATH": str(modules), "PATH": os.environ["PATH"]}
        done = subprocess.run([cloud_init.PYTHON, SCRIPT], input=json.dumps(seeds), text=True, capture_output=True,
                              env=env, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


@pytest.fixture(scope="module")
def found(read) -> dict[str, dict]:
    """Name of a host -> what cloud-init reads of its seed."""
    given = {name: seed(host, f"id-{number}", key_for(host)) for number, (name, host) in enumerate(HOSTS.items())}
    return dict(zip(given, read([dict(each.guest_info().keys) for each in given.values()]), strict=True))


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
    """What cloud-init writes for networkd says of every card what the policy's own file says later."""
    host = HOSTS[name]
    files = {text: _settings(text) for text in found[name]["files"].values()}
    for link in host.network.links:
        ours = _settings(host.network.files()[f"05-photon-fleet-{link.name}.network"])
        theirs = next(each for each in files.values() if _is_for(each, link.mac, link.device))
        for key in ("Address", "DHCP", "MTUBytes"):
            assert sorted(theirs.get(key, [])) == sorted(ours.get(key, [])), key
        assert set(theirs.get("Gateway", [])) == set(ours.get("Gateway", []))
        for key, wanted in (
            ("DNS", {*link.dns, *host.network.dns}),
            ("Domains", {*link.domains, *host.network.domains}),
        ):
            assert {word for line in theirs.get(key, []) for word in line.split()} == wanted
        assert "::/64" not in theirs.get("Destination", [])


def test_a_card_asks_for_its_address_by_the_hosts_name(found) -> None:
    files = found["static addresses"]["files"]
    assert {"Hostname=web-1.example.com", "SendHostname=True", "UseHostname=False"} <= set(files["eth0"].splitlines())
    assert {f"MACAddress={MAC}", "Name=eth1"} <= set(files["eth1"].splitlines())


def test_a_host_without_links_keeps_photons_own_network(found) -> None:
    assert found["root"]["files"] == {}


def test_yaml_reads_odd_text_as_it_was(read) -> None:
    keys = {"metadata": as_yaml({"instance-id": "x", "redact": []}), "userdata": f"#cloud-config\n{as_yaml(ODD)}"}
    assert read([dict(guest_info(keys, {}).keys)])[0]["config"] == ODD


def test_the_schema_is_asked(read) -> None:
    wrong = {"users": [{"name": "x", "uid": ["no"]}], "runcmd": "no"}
    keys = {"metadata": as_yaml({"instance-id": "x", "redact": []}), "userdata": f"#cloud-config\n{as_yaml(wrong)}"}
    assert "runcmd" in read([dict(guest_info(keys, {}).keys)])[0]["wrong"][0]


def _settings(text: str) -> dict[str, list[str]]:
    """Keys of a file of networkd -> values of all its sections."""
    seen: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            seen.setdefault(key, []).append(value)
    return seen


def _is_for(settings: dict[str, list[str]], mac: str | None, device: str | None) -> bool:
    return settings.get("MACAddress") == [mac] if mac else settings.get("Name") == [device]
