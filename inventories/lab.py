"""Three throwaway hosts on this machine, with three roles. Needs root; see docs/lab.md.

pyinfra inventories/lab.py deploys/host.py -y
python -m tests.lab down
"""

from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Group, Sudo, User
from deploys.policies.docker import Docker
from deploys.policies.docker_models import Container, ContainerNetwork, Daemon, Health, Image, Publish
from deploys.policies.files import File, Files
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from deploys.policies.kernel import Kernel, Setting
from deploys.policies.logging import Logging
from deploys.policies.network import Network
from deploys.policies.network_models import HostEntry
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.services import Service, Services
from deploys.policies.ssh import Ssh
from deploys.policies.time import Time
from inventories._fleet import fleet, group, host
from inventories._lab import lab_image, lab_key, lab_network

# Every host: signed packages, operators with sudo, time, logs, kernel settings, hardened SSH, and a firewall that lets
# only SSH from this machine in.
base = group(
    "base",
    Packages(
        keys=[SigningKey(name="photon-lab", **lab_key())],
        repositories=[
            Repository(id="photon", url="http://packages.lab/photon", key="photon-lab"),
            Repository(id="photon-updates", url="http://packages.lab/photon-updates", key="photon-lab", priority=40),
        ],
        present=["less", "logrotate"],
        absent=["telnet"],
    ),
    Network(hosts=[HostEntry(address="192.0.2.10", names=["registry.example.com", "registry"])]),
    Accounts(
        groups=[Group(name="operators", gid=3000)],
        users=[User(name="ops", groups=["operators", "wheel"], comment="Operator")],
        sudo=[Sudo(name="operators", who=["%operators"])],
    ),
    Kernel(settings=[Setting(key="net.ipv4.tcp_syncookies", value=1)]),
    Time(servers=["192.0.2.123"], zone="UTC"),
    Logging(max_use="200M", retention_days=30),
    Files(files=[File(path="/etc/motd", content="This host is kept by Photon Fleet.\n")]),
    Services(units=[Service(unit="debug-shell.service", masked=True)]),
    Ssh(root_login="prohibit-password", max_auth_tries=3),
    Firewall(rules=[Rule(name="ssh", ports=[22], sources=[lab_network()], limit="60/minute")]),
)

# Hosts that run containers.
containers = group(
    "containers",
    Docker(
        engine="20.10.24",
        daemon=Daemon(log_max_size="5m", live_restore=True),
        images=[Image(reference="lab/web:1", archive=lab_image())],
    ),
)

web = group(
    "web",
    Packages(present=["htop"]),
    Firewall(rules=[Rule(name="http", ports=[80])]),
    Docker(
        networks=[ContainerNetwork(name="front", subnet="10.9.0.0/24")],
        containers=[
            Container(
                name="web",
                image="lab/web:1",
                network="front",
                ports=[Publish(host=80, container=80)],
                env={"ROLE": "web"},
                health=Health(command="wget -q -O /dev/null http://127.0.0.1/health", interval_seconds=1),
            ),
        ],
    ),
)

db = group(
    "db",
    Packages(present=["tree"], exact={"jq": "1.7.1"}, held=["jq"]),
    Firewall(rules=[Rule(name="postgres", ports=[5432], sources=[lab_network()])]),
)

edge = group(
    "edge",
    Packages(exact={"tree": "2.1.0"}),
    Ssh(tcp_forwarding="local"),
    Firewall(rules=[Rule(name="vpn", protocol="udp", ports=[51820])], ping=False),
)

hosts = fleet(
    host("web-1", base, containers, web),
    host("db-1", base, db),
    host("edge-1", base, edge, Ssh(max_auth_tries=4)),
    connector="lab",
)
