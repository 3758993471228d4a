"""Links of a real host through networkd: applied, kept over a reboot, moved, and undone when they cut us off.

The kernel of many a test machine has no VLANs and no bonds: here a macvlan stands on the link, and the
files of the others are held to networkd's documentation by tests/policies/test_network.py.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.converge.conftest import ROOT, Done, converge, program, prove, run
from tests.lab import seed
from tests.lab.settings import mac, network, state_dir

pytestmark = pytest.mark.lab

NAME = "net-1"
SECONDS = 14
TEXT = """
from deploys.policies.network import Network
from deploys.policies.network_models import HostEntry, Link, Macvlan, Proxy, Route
from inventories._fleet import fleet, host
hosts = fleet(host("net-1", {policy}, guard_seconds=14, {data}), connector="lab")
"""
POLICY = """Network(
    hostname="net-1.example.com",
    links=[
        Link(name="lan", mac="{mac}", addresses=["{address}/24"{more}], gateway="{net}.1", macvlans=["mac0"]),
        Link(name="shim", device="mac0", addresses=["10.77.0.5/24", "2001:db8:7::5/64"], mtu=1400, required=False,
             routes=[Route(to="10.78.0.0/16", via="10.77.0.1", metric=50)]),
    ],
    macvlans=[Macvlan(name="mac0")],
    fallback_dns=["192.0.2.53"],
    hosts=[HostEntry(address="192.0.2.10", names=["registry.example.com", "registry"])],
    proxy=Proxy(http="http://proxy.example.com:3128"),
)"""


def inventory(tmp_path: Path, data: str = "", **values: str) -> str:
    given = {"mac": mac(address()), "address": address(), "net": network(), "more": "", **values}
    path = tmp_path / "net.py"
    path.write_text(TEXT.format(policy=POLICY.format(**given), data=data))
    return str(path)


def address() -> str:
    return seed.specs()[NAME].address


def lets_in(lab) -> bool:
    return run("ssh", "-F", lab.ssh_config(), "-o", "ConnectTimeout=2", NAME, "true").status == 0


@pytest.fixture(scope="module")
def networked(lab, tmp_path_factory) -> str:
    lab.boot(NAME)
    path = inventory(tmp_path_factory.mktemp("net"))
    done = converge(inventory=path)
    assert done.status == 0, done.all
    return path


def test_the_second_run_changes_nothing_and_networkd_understands_all(networked, on) -> None:
    again = converge(inventory=networked)
    assert again.line(f"{NAME}: ok; 0 changes"), again.all
    assert "macvlan mode bridge" in on(NAME, "ip -d link show mac0")
    assert "10.78.0.0/16 via 10.77.0.1 dev mac0 proto static metric 50" in on(NAME, "ip route")
    assert on(NAME, "hostname; getent hosts registry") .split() == [
        "net-1.example.com", "192.0.2.10", "registry.example.com", "registry",
    ]  # fmt: skip
    said = on(NAME, "journalctl -b -u systemd-networkd -o cat --no-pager")
    assert "05-photon-fleet-" not in "".join(line for line in said.splitlines() if "nknown" in line)
    assert on(NAME, "echo $http_proxy") == "http://proxy.example.com:3128\n"


def test_it_is_there_after_a_reboot(networked, lab, on) -> None:
    lab.stop(NAME)
    lab.boot(NAME)
    time.sleep(2)
    found = prove(inventory=networked)
    assert found.status == 0, found.out[-3000:]


LOOK = "ip -4 -o addr | sed 's/ *valid_lft.*//'; ip route; ls /etc/systemd/network"
BROKEN = {
    "hostname": "hostname elsewhere",
    "links[shim].addresses": "ip addr del 10.77.0.5/24 dev mac0",
    "links[shim].mtu": "ip link set mac0 mtu 1300",
    "links[shim].routes": "ip route del 10.78.0.0/16",
    "hosts[192.0.2.10]": "sed -i /registry/d /etc/hosts",
    "fallback_dns": "sed -i s/192.0.2.53/192.0.2.54/ /etc/systemd/resolved.conf.d/photon-fleet.conf",
    "proxy": "rm /etc/profile.d/photon-fleet-proxy.sh",
    "macvlans[mac0]": "sed -i s/bridge/vepa/ /etc/systemd/network/05-photon-fleet-mac0.netdev",
    "links[lan]": "chmod 600 /etc/systemd/network/05-photon-fleet-lan.network",
    "links": "echo '[Match]' > /etc/systemd/network/05-photon-fleet-old.network",
}


def test_what_is_broken_by_hand_is_named_and_mended(networked, on) -> None:
    on(NAME, "; ".join(BROKEN.values()))
    found = prove(inventory=networked)
    for field in BROKEN:
        assert f"{NAME}: network.{field}: not true that" in found.out, (field, found.out)
    mended = converge(inventory=networked)
    assert mended.line(f"{NAME}: ok; "), mended.all


def test_an_address_that_cuts_us_off_is_undone(networked, tmp_path, lab, on) -> None:
    before = on(NAME, LOOK)
    wrong = inventory(tmp_path, address="10.200.0.5", net="10.200.0")
    done = converge(inventory=wrong)
    assert done.status == 1
    assert done.line(f"{NAME}: REVERTED; "), done.all
    assert "All that it touched is as it was before." in done.err
    assert sorted(on(NAME, LOOK).splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize("then", ["waits", "reboots"])
def test_a_killed_run_is_undone_as_well(networked, tmp_path, lab, on, then: str) -> None:
    wrong = inventory(tmp_path, address="10.200.0.5", net="10.200.0")
    upper = state_dir() / "hosts" / NAME / "upper/etc/systemd/network/05-photon-fleet-lan.network"
    process = subprocess.Popen(
        [program("pyinfra"), wrong, "deploys/host.py", "-y"], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 180
    while "10.200.0.5" not in upper.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if then == "reboots":
        lab.stop(NAME)
        lab.boot(NAME)
    deadline = time.monotonic() + SECONDS + 30
    while not lets_in(lab) or "10.200.0.5" in upper.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    told = converge(inventory=networked)
    assert f"because: {'boot' if then == 'reboots' else 'timer'}. All that it touched" in told.err, told.err
    assert told.line(f"{NAME}: ok; "), told.all


def moved(path: str) -> Done:
    return converge(inventory=path)


def test_a_host_moves_to_another_address(networked, tmp_path, lab, on) -> None:
    """In one run, proved at the new address with the key that is pinned for the host; then back."""
    there = f"{network()}.77"
    done = moved(inventory(tmp_path, address=there, data=f"ssh_next_hostname='{there}'"))
    assert done.line(f"{NAME}: ok; "), done.all
    known = (state_dir() / "known_hosts").read_text().replace(address(), there)
    (tmp_path / "known_hosts").write_text(known)
    at_new = f"ssh_hostname='{there}', ssh_known_hosts_file='{tmp_path / 'known_hosts'}'"
    again = moved(inventory(tmp_path, address=there, data=at_new))
    assert again.line(f"{NAME}: ok; 0 changes"), again.all
    back = moved(inventory(tmp_path, data=f"{at_new}, ssh_next_hostname='{address()}'"))
    assert back.line(f"{NAME}: ok; "), back.all
    assert converge(inventory=networked).line(f"{NAME}: ok; 0 changes")
