"""NFS: units that hold nothing up, files of a server, and what is refused before a connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.nfs import Nfs
from deploys.policies.nfs_models import Client, Export, NfsMount
from deploys.policies.storage import Storage
from deploys.policies.storage_models import Disk, Volume
from operations.nfs import automount_text, mount_text


def examples(_: Path) -> tuple[Nfs, Nfs]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Nfs(
            mounts=[NfsMount(path="/mnt/a", server="10.0.0.5", export="/srv/a")],
            exports=[Export(path="/srv/x", clients=[Client(who="10.0.0.0/8")])],
            domain="one.example",
        ),
        Nfs(
            mounts=[
                NfsMount(
                    path="/mnt/a", server="files.example.com", export="/srv/b", version="4.1", read_only=True,
                    automount=False, idle_seconds=60, hard=False, timeout_tenths=50, retries=3, mount_seconds=10,
                    options=["noatime"],
                )
            ],
            exports=[
                Export(path="/srv/x", clients=[Client(who="10.0.0.0/8", read_only=False, squash="all", write="async")])
            ],
            threads=16,
            version3=True,
            mountd_port=4001,
            statd_port=4002,
            lockd_port=4003,
            domain="two.example",
        ),
    )  # fmt: skip


def test_a_mount_unit_is_in_nobodys_way() -> None:
    text = mount_text("/mnt/a", "s:/srv/a", ["rw", "vers=4.2"], 30, automount=True)
    assert "Options=_netdev,nofail,rw,vers=4.2\n" in text
    assert "After=network-online.target\n" in text
    assert "TimeoutSec=30s\n" in text
    assert "[Install]" not in text
    assert "WantedBy=remote-fs.target" in mount_text("/mnt/a", "s:/srv/a", [], 30, automount=False)
    assert "RequiredBy" not in text
    assert "TimeoutIdleSec=60s\n" in automount_text("/mnt/a", "s:/srv/a", 60)


def test_every_option_is_said() -> None:
    mount = NfsMount(path="/mnt/a", server="2001:db8::5", export="/srv/a")
    assert mount.mount_options() == ["rw", "vers=4.2", "hard", "timeo=600", "retrans=2"]
    assert mount.source == "[2001:db8::5]:/srv/a"


def test_an_export_says_everything_that_has_a_default() -> None:
    export = Export(path="/srv/x", clients=[Client(who="10.0.0.7/32"), Client(who="web.example", read_only=False)])
    assert export.line() == (
        "/srv/x 10.0.0.7(ro,sync,root_squash,no_all_squash,no_subtree_check,sec=sys) "
        "web.example(rw,sync,root_squash,no_all_squash,no_subtree_check,sec=sys)"
    )


def test_a_server_speaks_version_4_alone_on_one_port() -> None:
    nfs = Nfs(exports=[Export(path="/srv/x", clients=[Client(who="10.0.0.0/8"), Client(who="10.1.2.3")])])
    assert "vers3 = n\nvers4 = y" in nfs.nfs_conf()
    (rule,) = nfs.firewall_rules()
    assert (rule.protocol, rule.ports, rule.sources) == ("tcp", (2049,), ("10.0.0.0/8", "10.1.2.3/32"))
    assert Nfs().firewall_rules() == ()


def test_version_3_needs_its_ports_in_the_firewall() -> None:
    nfs = Nfs(exports=[Export(path="/srv/x", clients=[Client(who="web.example")])], version3=True)
    assert [(rule.name, rule.ports, rule.sources) for rule in nfs.firewall_rules()] == [
        ("nfs", (2049,), ()), *((f"nfs3-{protocol}", (111, 20048, 32765, 32768), ()) for protocol in ("tcp", "udp")),
    ]  # fmt: skip
    assert "[mountd]\nport = 20048" in nfs.nfs_conf()


def test_problems_of_the_whole() -> None:
    nfs = Nfs(
        mounts=[
            NfsMount(path="/mnt", server="s", export="/a"), NfsMount(path="/mnt/b", server="s", export="/b"),
            NfsMount(path="/data", server="s", export="/c"),
        ],
        exports=[Export(path="/data", clients=[Client(who="10.0.0.0/8")])],
        statd_port=20048,
    )  # fmt: skip
    problems = "\n".join(nfs.problems())
    assert "mounts[/mnt/b]: it is below /mnt" in problems
    assert "mounts[/data]: what is mounted from a server cannot be exported again" in problems
    assert "each service needs a port of its own" in problems


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"server": "-o x"}, "no name or address"),
        ({"server": "a b"}, "no name or address"),
        ({"export": "srv"}, "absolute path"),
        ({"path": "/etc/x"}, "nothing is mounted at"),
        ({"version": "3"}, "version"),
        ({"options": ["vers=3"]}, "a field of its own"),
        ({"options": ["soft"]}, "a field of its own"),
        ({"options": ["x-systemd.automount"]}, "one option"),
        ({"options": ["_netdev"]}, "decided by the policy"),
        ({"mount_seconds": 0}, "mount_seconds"),
    ],
)
def test_bad_mounts_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        NfsMount(**{"path": "/mnt/a", "server": "s", "export": "/x", **fields})


@pytest.mark.parametrize("who", ["10.0.0.1/8", "*", "10.0.0", "a(rw)", "-x", "a b", "300.1.1.1"])
def test_bad_clients_are_refused(who: str) -> None:
    with pytest.raises(InputError, match="no network and no name"):
        Client(who=who)


def test_bad_exports_are_refused() -> None:
    with pytest.raises(InputError, match="the whole host is no export"):
        Export(path="/", clients=[Client(who="a")])
    with pytest.raises(InputError, match="clients"):
        Export(path="/srv/x", clients=[])
    with pytest.raises(InputError, match="given"):
        Export(path="/srv/x", clients=[Client(who="a"), Client(who="a")])


def test_a_place_has_one_mount() -> None:
    policy = Nfs(mounts=[NfsMount(path="/data", server="10.0.0.5", export="/srv/a")])
    volume = Volume(name="data", disk=Disk(device="/dev/sdb"), filesystem="ext4", mount="/data")
    assert list(policy.conflicts({"storage": Storage(volumes=[volume])})) == [
        "mounts[/data]: the storage policy mounts a volume there"
    ]
    assert not list(policy.conflicts({}))
