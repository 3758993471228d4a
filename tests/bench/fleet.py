"""The hosts of the benchmark: each with the full policy of a web host, reached through the proxy.

`python -m tests.bench` says in the environment which hosts there are and how to reach them; by itself this file has
no hosts.
"""

import os
from pathlib import Path

from deploys.policies.docker import Docker
from deploys.policies.docker_models import Container, ContainerNetwork, Daemon, Image, Publish
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.ssh import Ssh
from inventories._fleet import fleet, group, host

_setting = os.environ.get

web = group(
    "web",
    Packages(
        keys=[SigningKey(name="photon-lab", file=Path(_setting("BENCH_SIGNING_KEY", "")),
                         fingerprint=_setting("BENCH_FINGERPRINT", "0" * 40))],
        repositories=[
            Repository(id="photon", url="http://packages.lab/photon", key="photon-lab"),
            Repository(id="photon-updates", url="http://packages.lab/photon-updates", key="photon-lab", priority=40),
        ],
        present=["less", "logrotate", "htop"],
        absent=["telnet"],
    ),
    Ssh(root_login="prohibit-password", max_auth_tries=3),
    Firewall(
        rules=[
            # Every contender connects again and again: a limit fit for people would drop some of it.
            Rule(name="ssh", ports=[22], sources=[_setting("BENCH_NETWORK", "192.0.2.0/24")], limit="6000/minute"),
            Rule(name="http", ports=[80]),
        ],
    ),
    Docker(
        engine="20.10.24",
        daemon=Daemon(log_max_size="5m", live_restore=True),
        images=[Image(reference="lab/web:1", archive=Path(_setting("BENCH_IMAGE", "")))],
        networks=[ContainerNetwork(name="front", subnet="10.9.0.0/24")],
        containers=[
            Container(
                name="web",
                image="lab/web:1",
                network="front",
                ports=[Publish(host=80, container=80)],
                env={"ROLE": "web"},
                # No health check: those of thirty hosts on one machine would be most of what it does.
            ),
        ],
    ),
)  # fmt: skip

_places = [word.split("=") for word in _setting("BENCH_HOSTS", "").split()]

hosts = fleet(
    *(
        host(
            name, web, address="127.0.0.1", ssh_port=int(port), ssh_user="root", ssh_key=_setting("BENCH_KEY"),
            ssh_known_hosts_file=_setting("BENCH_KNOWN_HOSTS"), ssh_strict_host_key_checking="yes",
            # pyinfra's own connector cannot open a connection anew; a no-op run has nothing to guard.
            guard=_setting("BENCH_CONNECTOR", "photon") == "photon",
        )
        for name, port in _places
    ),
    connector=_setting("BENCH_CONNECTOR", "photon"),
)  # fmt: skip
