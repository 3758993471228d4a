"""The roles that production and staging share: plain tuples of policies, composed with plain Python."""

from pathlib import Path

from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Group, Root, Sudo, User
from deploys.policies.docker import Docker
from deploys.policies.docker_models import AddressPool, Container, ContainerNetwork, Daemon, Health, Publish, Volume
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from deploys.policies.logging import Logging
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.secret import Secret
from deploys.policies.ssh import Ssh
from deploys.policies.time import Time

OPERATORS = "192.0.2.128/25"
APPLICATION = "192.0.2.0/28"
MIRROR = "https://packages.example.com/photon/$releasever"

EVERY_HOST = (
    Packages(
        keys=[
            SigningKey(
                name="PHOTON-EXAMPLE-KEY",
                file=Path(__file__).parent / "keys" / "photon-example.asc",
                fingerprint="068E132301CC89142680E0142C3912C85DF04BDC",
            ),
        ],
        repositories=[
            Repository(id="photon", url=f"{MIRROR}/photon_$releasever_$basearch", key="PHOTON-EXAMPLE-KEY"),
            Repository(
                id="photon-updates",
                url=f"{MIRROR}/photon_updates_$releasever_$basearch",
                key="PHOTON-EXAMPLE-KEY",
                priority=40,
            ),
        ],
        present=["less", "logrotate", "tar"],
        absent=["telnet"],
    ),
    Ssh(root_login="prohibit-password"),
    Firewall(rules=[Rule(name="ssh", ports=[22], sources=[OPERATORS], limit="30/minute")]),
    Accounts(
        root=Root(
            keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEvl0Hn1ZbKrXyR6nRjgF5fO1ZKcwHqNq0n0m5Y2l8dP fleet@example.com"]
        ),
        groups=[Group(name="operators")],
        users=[User(name="ops", groups=["operators"], comment="Operators on call")],
        sudo=[Sudo(name="operators", who=["%operators"])],
    ),
    Time(servers=["192.0.2.123", "192.0.2.124"], zone="UTC"),
    Logging(max_use="1G", retention_days=30),
)

RUNS_CONTAINERS = (
    Docker(
        engine="28.2.2",
        daemon=Daemon(
            log_max_size="20m",
            log_max_files=5,
            address_pools=[AddressPool(base="172.30.0.0/16", size=24)],
            registry_mirrors=["https://registry.example.com"],
        ),
    ),
)

WEB = (
    Firewall(rules=[Rule(name="web", ports=[80, 443])]),
    Docker(
        networks=[ContainerNetwork(name="front", subnet="10.9.0.0/24")],
        containers=[
            Container(
                name="nginx",
                image="nginx:1.27.5",
                network="front",
                ports=[Publish(host=80, container=80), Publish(host=443, container=443)],
                volumes=[Volume(source="/etc/nginx-site", target="/etc/nginx/conf.d", read_only=True)],
                health=Health(command="curl -fsS http://127.0.0.1/health", start_seconds=10),
            ),
        ],
    ),
)

DATABASE = (
    Packages(present=["postgresql16-server"], held=["postgresql16-server"]),
    Firewall(rules=[Rule(name="postgres", ports=[5432], sources=[APPLICATION])]),
)

CACHE = (
    Firewall(rules=[Rule(name="redis", ports=[6379], sources=[APPLICATION])]),
    Docker(
        containers=[
            Container(
                name="redis",
                image="redis:7.4.3",
                command=["sh", "-c", 'exec redis-server --requirepass "$REDIS_PASSWORD"'],
                ports=[Publish(host=6379, container=6379)],
                env={"REDIS_PASSWORD": Secret.env("REDIS_PASSWORD")},
                volumes=[Volume(source="redis-data", target="/data")],
                memory="512m",
            ),
        ],
    ),
)
