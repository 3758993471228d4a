"""An inventory of any size for `tests.bench.scale`: the three roles of inventories/lab.py on hosts of `@fake`.

`SCALE_HOSTS` says how many; every third one has the same role. The answers of the hosts, with the key and the image
that they were recorded with, are in answers.json. With `SCALE_RECORD` the hosts are three of the lab, which answer.
"""

import os
from pathlib import Path

from deploys.policies.docker import Docker
from deploys.policies.docker_models import Container, ContainerNetwork, Daemon, Health, Image, Publish
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.ssh import Ssh
from inventories._fleet import fleet, group, host
from tests.bench import scale

_RECORDING = os.environ.get("SCALE_RECORD")
_recorded = scale.recording(Path(_RECORDING)) if _RECORDING else scale.recorded()

base = group(
    "base",
    Packages(
        keys=[SigningKey(name="photon-lab", file=_recorded.key, fingerprint=_recorded.fingerprint)],
        repositories=[
            Repository(id="photon", url="http://packages.lab/photon", key="photon-lab"),
            Repository(id="photon-updates", url="http://packages.lab/photon-updates", key="photon-lab", priority=40),
        ],
        present=["less", "logrotate"],
        absent=["telnet"],
    ),
    Ssh(root_login="prohibit-password", max_auth_tries=3),
    Firewall(rules=[Rule(name="ssh", ports=[22], sources=[_recorded.network], limit="60/minute")]),
)

containers = group(
    "containers",
    Docker(
        engine="20.10.24",
        daemon=Daemon(log_max_size="5m", live_restore=True),
        images=[Image(reference="lab/web:1", archive=_recorded.image)],
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
    Firewall(rules=[Rule(name="postgres", ports=[5432], sources=[_recorded.network])]),
)

edge = group(
    "edge",
    Packages(exact={"tree": "2.1.0"}),
    Ssh(tcp_forwarding="local"),
    Firewall(rules=[Rule(name="vpn", protocol="udp", ports=[51820])], ping=False),
)

_ROLES = {"web": (base, containers, web), "db": (base, db), "edge": (base, edge, Ssh(max_auth_tries=4))}
_names = [(role, f"{role}-{place}") for place in range(1, scale.hosts_asked() // 3 + 2) for role in _ROLES]

hosts = fleet(
    # No connection can be opened anew to a host that is not there.
    *(
        host(name, *_ROLES[role], guard=bool(_RECORDING), **_recorded.data(role))
        for role, name in _names[: scale.hosts_asked()]
    ),
    connector="lab" if _RECORDING else "fake",
)
