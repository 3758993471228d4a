"""Two examples of each policy that differ in every field, for the contract test."""

from __future__ import annotations

from pathlib import Path

from deploys.policies.base import Policy
from deploys.policies.docker import Docker
from deploys.policies.docker_models import AddressPool, Container, Daemon, Health, Image, Network, Publish, Volume
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.secret import Secret
from deploys.policies.ssh import Login, Ssh
from tests.lab import images

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"


def archive(directory: Path, content: str) -> Path:
    """An archive of `lab/web:1`, different for each content."""
    path = directory / f"{content}.tar"
    path.write_bytes(images._archive("lab/web:1", content.encode()))
    return path


def examples(directory: Path) -> list[tuple[Policy, Policy]]:
    return [
        (
            Packages(
                keys=[
                    SigningKey(name="k", file="/nowhere/a", fingerprint="A" * 40),
                    SigningKey(name="l", file="/nowhere/c", fingerprint="C" * 40),
                ],
                repositories=[Repository(id="r", url="https://a.example/x", key="k")],
                present=["less"],
                absent=["telnet"],
                exact={"jq": "1.7"},
                held=["linux-esx"],
            ),
            Packages(
                keys=[
                    SigningKey(name="k", file="/nowhere/b", fingerprint="B" * 40),
                    SigningKey(name="l", file="/nowhere/c", fingerprint="C" * 40),
                ],
                repositories=[
                    Repository(
                        id="r", url="https://b.example/x", key="l", title="R", enabled=False, priority=10, optional=True
                    )
                ],
                present=["vim"],
                absent=["ntp"],
                exact={"jq": "1.8"},
                held=["docker"],
            ),
        ),
        (
            Ssh(logins=[Login(user="ops", keys=[f"{KEY}A a"])]),
            Ssh(
                ports=[22, 2222],
                root_login="no",
                password_login=True,
                allow_users=["ops"],
                allow_groups=["wheel"],
                logins=[Login(user="ops", keys=[f"{KEY}B b"])],
                tcp_forwarding="local",
                agent_forwarding=True,
                x11_forwarding=True,
                max_auth_tries=2,
                max_sessions=3,
                login_grace_seconds=60,
                client_alive_seconds=60,
                client_alive_count=5,
                ciphers=["aes256-ctr"],
                macs=["hmac-sha2-512"],
                key_exchanges=["curve25519-sha256"],
                log_level="INFO",
            ),
        ),
        (
            Firewall(rules=[Rule(name="a", ports=[80])]),
            Firewall(
                rules=[
                    Rule(
                        name="a",
                        protocol="udp",
                        ports=["100-200"],
                        sources=["10.0.0.0/8"],
                        interface="eth1",
                        limit="5/minute",
                    )
                ],
                ping=False,
                log_drops=True,
                container_interfaces=["podman0"],
            ),
        ),
        (
            Docker(
                engine="28.2.2",
                networks=[Network(name="n", subnet="10.9.0.0/24", gateway="10.9.0.1")],
                images=[Image(reference="lab/web:1", archive=archive(directory, "one"))],
                containers=[Container(name="c", image="nginx:1", health=Health(command="true"))],
            ),
            Docker(
                engine="29.0.1",
                daemon=Daemon(
                    log_driver="local",
                    log_max_size="1m",
                    log_max_files=9,
                    live_restore=False,
                    userland_proxy=False,
                    inter_container=False,
                    no_new_privileges=True,
                    address_pools=[AddressPool(base="10.0.0.0/8", size=24)],
                    dns=["10.0.0.1"],
                    mtu=1400,
                    registry_mirrors=["https://a.example"],
                    insecure_registries=["b.example"],
                    data_root="/srv/docker",
                ),
                networks=[
                    Network(name="n", driver="macvlan", subnet="10.9.0.0/16", gateway="10.9.0.2", internal=True),
                ],
                images=[Image(reference="lab/web:1", archive=archive(directory, "two"))],
                containers=[
                    Container(
                        name="c",
                        image="nginx:2",
                        command=["sleep", "1"],
                        ports=[Publish(host=8080, container=80, address="10.0.0.1")],
                        volumes=[Volume(source="/srv", target="/data", read_only=True)],
                        env={"A": "b", "PASSWORD": Secret.env("PASSWORD")},
                        restart="on-failure:3",
                        health=Health(
                            command="false", interval_seconds=1, timeout_seconds=2, retries=4, start_seconds=5
                        ),
                        network="n",
                        user="1000",
                        read_only=True,
                        memory="64m",
                    )
                ],
            ),
        ),
    ]
