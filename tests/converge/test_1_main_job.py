"""From nothing to three proven hosts, and again without a change."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploys.rollout.gate_kinds import ContainerGate, HostCommandGate, HostHttpGate, ProofGate
from deploys.rollout.host_gates import on_hosts
from deploys.rollout.model import Answer
from tests.converge.conftest import HOSTS, INVENTORY, changes, converge, dry, prove
from tests.lab.probe import get

pytestmark = pytest.mark.lab

FINGERPRINT = (
    "find /etc /usr/bin /var/lib/photon-fleet -xdev -type f -newermt '1 hour ago' -exec sha256sum {} + 2>/dev/null "
    "| sort; "
    "iptables-save | grep '^[-:]' | sed 's/\\[.*//'; ip6tables-save | grep '^[-:]' | sed 's/\\[.*//'; rpm -qa | sort; "
    "systemctl list-unit-files --state=enabled --no-legend; docker ps -a 2>/dev/null | wc -l"
)


def answers_within(address: str, port: int, seconds: float) -> tuple[int, str] | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = get(address, port)
        if answer:
            return answer
        time.sleep(0.3)
    return None


def knock(address: str, port: int) -> str:
    """`open`, `refused` or `dropped`."""
    try:
        with socket.create_connection((address, port), 1.0):
            return "open"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "dropped"


def test_the_first_run_ends_with_what_a_person_wants_to_see(first_run, converged, address) -> None:
    for host in HOSTS:
        assert ": ok; " in first_run.line(f"{host}:")
        assert "checks passed" in first_run.line(f"{host}:")
        assert f"look around: python -m tests.lab ssh {host}" in first_run.err
    assert f"http://{address('web-1')}/ answers 200: hello from a lab container" in first_run.err
    assert "remove all of it: python -m tests.lab down" in first_run.err


def test_the_container_answers_from_outside(converged, address) -> None:
    assert get(address("web-1"), 80) == (200, "hello from a lab container")


@pytest.mark.parametrize(("host", "open_ports"), [("web-1", {22, 80}), ("db-1", {22}), ("edge-1", {22})])
def test_every_other_port_is_dropped(converged, address, host: str, open_ports: set[int]) -> None:
    ports = [*range(1, 1025), 2375, 2376, 3306, 8080, 8443, 9100]
    with ThreadPoolExecutor(256) as pool:
        found = dict(zip(ports, pool.map(lambda port: knock(address(host), port), ports), strict=True))
    assert {port for port, state in found.items() if state == "open"} == open_ports
    assert {port for port, state in found.items() if state == "refused"} == set()


def test_a_port_that_somebody_publishes_by_hand_is_dropped_too(converged, address, on) -> None:
    on("web-1", "docker run -d --name stray -p 8081:80 lab/web:1")
    try:
        assert on("web-1", "curl -s --max-time 5 http://127.0.0.1:8081/").strip() == "hello from a lab container"
        assert knock(address("web-1"), 8081) == "dropped"
    finally:
        on("web-1", "docker rm -f stray")


def test_the_second_run_changes_nothing(converged) -> None:
    done = converge("--json")
    totals = changes(done)
    assert done.status == 0
    assert totals["success"] == 0
    assert totals["error"] == 0
    assert totals["no_change"] == totals["hosts"] > 0


def test_the_whole_proof_passes(converged) -> None:
    done = prove()
    assert done.status == 0, done.all
    assert "failed" not in done.out.splitlines()[-1]
    assert int(done.out.splitlines()[-1].split()[0]) > 150


def test_published_ports_survive_a_reload_of_the_firewall(converged, address, on) -> None:
    on("web-1", "systemctl restart iptables.service")
    assert answers_within(address("web-1"), 80, 40) == (200, "hello from a lab container")
    on("web-1", "docker run -d --name stray -p 8081:80 lab/web:1")
    assert knock(address("web-1"), 8081) == "dropped"
    on("web-1", "docker rm -f stray")
    assert prove("--limit", "web-1").status == 0


def test_everything_survives_a_reboot(converged, address, on, lab) -> None:
    read = "cat /proc/sys/kernel/random/boot_id"
    boot = on("db-1", read)
    for host in ("web-1", "db-1"):
        on(host, "systemctl reboot", check=False)
    assert answers_within(address("web-1"), 80, 60) == (200, "hello from a lab container")
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and on("db-1", read, check=False) in {"", boot}:
        time.sleep(0.3)
    assert on("db-1", read) != boot
    totals = changes(converge("--json"))
    assert (totals["success"], totals["error"]) == (0, 0)


def test_the_rules_are_the_same_with_the_other_backend_of_iptables(converged, lab, on) -> None:
    """Photon's alternatives choose nftables' iptables by default, and old hosts have the legacy one."""
    switch = """
    for ip in iptables ip6tables; do
      $ip -P INPUT ACCEPT; $ip -P OUTPUT ACCEPT; $ip -F; $ip -X
      for part in "" -save -restore; do ln -sf /usr/sbin/$ip-nft$part /etc/alternatives/$ip$part; done
    done
    """
    on("edge-1", switch)
    try:
        assert "nf_tables" in on("edge-1", "iptables --version")
        first, second = (converge("--json", "--limit", "edge-1", "--data", "only=firewall") for _ in range(2))
        assert first.line("edge-1: ok; "), first.err
        assert changes(first)["success"] == 2
        assert changes(second)["success"] == 0
    finally:
        lab.reset("edge-1")


def test_dry_shows_changes_and_touches_nothing(converged, lab, on) -> None:
    lab.reset("edge-1")
    before = on("edge-1", FINGERPRINT)
    shown = dry("--limit", "edge-1")
    plan = json.loads(dry("--json", "--limit", "edge-1").out)["plan"]
    assert shown.status == 0
    assert "Configure sshd" in shown.err
    assert {operation["name"] for operation in plan if operation["hosts_with_change"]} >= {
        "Configure sshd", "Load the IPv4 rules", "Install and remove packages", "Define the repositories",
    }  # fmt: skip
    assert on("edge-1", FINGERPRINT) == before
    assert converge("--limit", "edge-1").status == 0


def test_only_runs_the_named_policies(converged) -> None:
    done = converge("--json", "--limit", "web-1", "--data", "only=firewall")
    assert done.status == 0
    assert "Load the IPv4 rules" in done.out
    assert "Configure sshd" not in done.out
    assert "web-1: ok; 0 changes; " in done.err
    assert "db-1" not in done.err


def test_the_summary_says_ok_only_of_what_was_proved(converged) -> None:
    unproved = converge("--limit", "db-1", "--data", "prove=false")
    assert unproved.line("db-1:") == "db-1: done; 0 changes; not proved"
    nothing = converge("--limit", "db-1", "--data", "only=docker")
    assert nothing.line("db-1:") == "db-1: nothing to do; it has none of the policies asked for"


def test_gates_of_a_rollout_ask_hosts(converged) -> None:
    proof, site = ProofGate(name="proof"), HostHttpGate(name="site", url="http://127.0.0.1:80/nothing", status=404)
    words = HostCommandGate(name="words", command=("sh", "-c", 'echo "$1 here"; test "$1" = good', "sh", "good"))
    assert on_hosts(INVENTORY, proof, ["web-1", "db-1"]) == (Answer.PASS, "2 hosts")
    assert on_hosts(INVENTORY, words, ["db-1"]) == (Answer.PASS, "1 hosts")
    bad = words.model_copy(update={"command": (*words.command[:-1], "bad")})
    assert on_hosts(INVENTORY, bad, ["db-1"]) == (Answer.FAIL, "db-1: it ended with 1: bad here")
    deaf = HostCommandGate(name="deaf", command=("sh", "-c", "trap '' TERM; sleep 30; sleep 30"), seconds=1)
    assert on_hosts(INVENTORY, deaf, ["db-1"])[0] is Answer.INCONCLUSIVE
    assert on_hosts(INVENTORY, site, ["db-1"])[0] is Answer.INCONCLUSIVE
    assert on_hosts(INVENTORY, ContainerGate(name="containers"), ["web-1"])[0] is Answer.PASS
    assert on_hosts(INVENTORY, ContainerGate(name="containers", label="no.such=1"), ["web-1"]) == (
        Answer.INCONCLUSIVE, "web-1: no container has its label"
    )  # fmt: skip
    assert on_hosts(INVENTORY, ContainerGate(name="containers"), ["db-1"])[0] is Answer.INCONCLUSIVE
