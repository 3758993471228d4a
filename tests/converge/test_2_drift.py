"""Each policy broken by hand: the proof names exactly what is off, a converge mends it, the proof passes again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.converge.conftest import HOSTS, changes, converge, prove

pytestmark = pytest.mark.lab

Break = tuple[str, str, str, set[str]]

BREAKS: list[Break] = [
    # host, policy, what somebody did, the checks that must fail
    ("web-1", "docker", "systemctl stop docker.socket docker.service", {"docker.running"}),
    ("web-1", "docker", "systemctl disable docker.service", {"docker.boot"}),
    ("web-1", "docker", "docker rm -f web", {"docker.container[web].running"}),
    ("web-1", "docker", "docker stop web", {"docker.container[web].running"}),
    ("web-1", "docker", "docker update --restart=no web", {"docker.container[web].restart"}),
    (
        "web-1", "docker",
        "docker rm -f web; docker run -d --name web --network front -p 80:80 -p 8082:80 -e ROLE=db lab/web:1",
        {"docker.container[web].ports", "docker.container[web].env", "docker.container[web].restart"},
    ),
    (
        "web-1", "docker", "sed -i s/5m/500m/ /etc/docker/daemon.json",
        {"docker.daemon[log-opts]"},
    ),
    ("web-1", "docker", "sysctl -w net.ipv4.ip_forward=0", {"docker.forwarding"}),
    ("web-1", "firewall", "iptables -I INPUT -p tcp --dport 8080 -j ACCEPT", {"firewall.order[ipv4:INPUT]"}),
    ("web-1", "firewall", "iptables -P INPUT ACCEPT", {"firewall.default-drop[ipv4:INPUT]"}),
    ("web-1", "firewall", "ip6tables -P FORWARD ACCEPT", {"firewall.default-drop[ipv6:FORWARD]"}),
    ("web-1", "firewall", "iptables -F DOCKER-USER", {"firewall.order[ipv4:DOCKER-USER]"}),
    ("web-1", "firewall", "iptables -I FORWARD -j ACCEPT", {"firewall.first[ipv4:FORWARD]"}),
    ("edge-1", "ssh", "sleep 1; touch /etc/ssh/sshd_config", {"ssh.in-force"}),
    ("web-1", "docker", "sleep 1; touch /etc/docker/daemon.json", {"docker.daemon.in-force"}),
    ("web-1", "docker", "docker pause web", {"docker.container[web].running"}),
    (
        "db-1", "firewall", "iptables -D INPUT $(( $(iptables -S INPUT | grep -n postgres | cut -d: -f1) - 1 ))",
        {"firewall.rule[ipv4:postgres]", "firewall.order[ipv4:INPUT]"},
    ),
    ("db-1", "firewall", "sed -i /postgres/d /etc/systemd/scripts/ip4save", {"firewall.saved[ipv4]"}),
    ("db-1", "firewall", "systemctl disable iptables.service", {"firewall.boot"}),
    ("db-1", "ssh", "sed -i 's/^MaxAuthTries .*/MaxAuthTries 9/' /etc/ssh/sshd_config",
     {"ssh.maxauthtries", "ssh.no-other-settings"}),
    ("db-1", "ssh", "sed -i 's/^PasswordAuthentication no/PasswordAuthentication yes/' /etc/ssh/sshd_config",
     {"ssh.passwordauthentication", "ssh.no-other-settings"}),
    ("db-1", "ssh", "printf 'Match User root\\n  PermitTTY no\\n' >> /etc/ssh/sshd_config", {"ssh.no-other-settings"}),
    ("edge-1", "packages", "tdnf install -y tree-2.1.1", {"packages.exact[tree]"}),
    ("edge-1", "packages", "tdnf remove -y less", {"packages.present[less]"}),
    ("edge-1", "packages", "tdnf install -y telnet", {"packages.absent[telnet]"}),
    ("edge-1", "packages", "sed -i s/gpgcheck=1/gpgcheck=0/ /etc/yum.repos.d/photon.repo",
     {"packages.repository[photon].gpgcheck"}),
    ("edge-1", "packages", "rm /etc/rpm/macros.photon-fleet", {"packages.signatures"}),
    ("edge-1", "packages", "sed -i s/gpgcheck=1/gpgcheck=0/ /etc/tdnf/tdnf.conf", {"packages.gpgcheck"}),
    ("edge-1", "packages", "rpm -e --allmatches gpg-pubkey", {"packages.key[photon-lab]"}),
    ("db-1", "packages", "rm /etc/tdnf/locks.d/photon-fleet.conf; tdnf install -y jq-1.7.2",
     {"packages.exact[jq]", "packages.held[jq]"}),
]  # fmt: skip


def failed(out: str, host: str = "") -> set[str]:
    """Ids of the checks that the proof reports as failed, of a host or of all."""
    return {
        line.split()[1] for before, line in pairwise(out.splitlines())
        if line.startswith("    check ") and before.startswith(f"{host}: " if host else "")
    }  # fmt: skip


def rounds() -> list[list[Break]]:
    """At most one break of a policy on a host in each, so that what is found tells which one was seen."""
    queues: dict[tuple[str, str], list[Break]] = {}
    for each in BREAKS:
        queues.setdefault(each[:2], []).append(each)
    longest = max(map(len, queues.values()))
    return [[queue[number] for queue in queues.values() if number < len(queue)] for number in range(longest)]


@pytest.mark.parametrize("breaks", rounds(), ids=lambda breaks: " + ".join(f"{h}:{d[:20]}" for h, _, d, _ in breaks))
def test_what_is_broken_is_named_and_mended(converged, on, breaks: list[Break]) -> None:
    for host, _, deed, _ in breaks:
        on(host, deed)
    hosts = sorted({host for host, *_ in breaks})
    scope = [word for host in hosts for word in ("--limit", host)]
    broken = prove(*scope)
    assert broken.status == 1
    for host in hosts:
        found = failed(broken.out, host)
        named = set().union(*(checks for at, _, _, checks in breaks if at == host))
        policies = tuple(f"{policy}." for at, policy, *_ in breaks if at == host)
        assert named <= found, broken.out[-3000:]
        assert all(check.startswith(policies) for check in found), found
    mended = converge("--json", *scope)
    assert mended.status == 0, mended.err
    assert changes(mended)["success"] >= len(hosts)
    # Its own proof, of all policies: another process would read the same once more.
    for host in hosts:
        assert f"{host}: ok; " in mended.err


def test_afterwards_nothing_is_left_to_mend(converged) -> None:
    again = converge("--json")
    assert changes(again)["success"] == 0
    assert all(f"{host}: ok; 0 changes; " in again.err for host in HOSTS)
