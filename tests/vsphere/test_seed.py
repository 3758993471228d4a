"""What hosts are given for their first boot: what is refused, what is the same each time, and what is not shown."""

from __future__ import annotations

import base64
import gzip
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.errors import InputError
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Group, Root, Sudo, User
from deploys.policies.network import Network
from deploys.policies.network_models import Link
from deploys.policies.secret import Secret
from deploys.policies.ssh import Login, Ssh
from deploys.vsphere.seed.cloud_init import seed, user_data_of
from deploys.vsphere.seed.encode import LIMIT, encoded, guest_info
from deploys.vsphere.seed.host_keys import HostKey, read_back
from deploys.vsphere.seed.network_data import network_data
from deploys.vsphere.seed.shown import shown
from tests.vsphere.new_hosts import ALICE, BOB, HOSTS, OPS, ROOT, STACKED, key_for, new_host

FREE = Sudo(name="ops", who=["ops"], password=False)
USER = User(name="ops", keys=[ALICE])


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=500))
def test_text_comes_out_as_it_went_in_on_one_line(text: str) -> None:
    value = encoded(text)
    assert gzip.decompress(base64.b64decode(value, validate=True)).decode() == text
    assert not set(value) & set("\r\n ")


def test_the_same_text_is_the_same_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before = encoded("text")
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert encoded("text") == before


def test_every_encoded_key_says_so() -> None:
    keys = guest_info({"metadata": "a", "userdata": "b"}, {"fleet.hash": "c"}).keys
    assert keys["guestinfo.metadata.encoding"] == keys["guestinfo.userdata.encoding"] == "gzip+base64"
    assert keys["guestinfo.fleet.hash"] == "c"


def test_what_a_vm_does_not_take_is_told_in_bytes() -> None:
    large = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(LIMIT // 2))
    with pytest.raises(InputError, match=r"guestinfo.userdata: it takes [0-9,]+ bytes, and a VM takes 524,288"):
        guest_info({"userdata": large}, {})


def test_a_key_made_here_is_one_for_openssh(tmp_path) -> None:
    key = HostKey.make()
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(key.private)
    done = subprocess.run(["ssh-keygen", "-y", "-f", file], text=True, capture_output=True, check=True)
    assert done.stdout.split()[:2] == key.public.split() == read_back(f"{key.public}\n").split()
    assert HostKey.make().public != key.public


@pytest.mark.parametrize(
    "value",
    [
        "", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAB3NzaC1yc2E=", ALICE, f"* {ALICE}",
        "ssh-ed25519 not/base64!",
        f"{' '.join(ALICE.split()[:2])}\n{' '.join(BOB.split()[:2])}",
        "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"x" * 33).decode(),
    ],
)  # fmt: skip
def test_nothing_but_a_key_is_read_back_from_a_guest(value: str) -> None:
    with pytest.raises(InputError, match="nothing is pinned"):
        read_back(value)


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        (new_host(Ssh()), "no key lets root in: give one in accounts.root.keys"),
        (new_host(ROOT, name="web_1"), "network.hostname: 'web_1' is no host name"),
        (new_host(ROOT, Ssh(root_login="no")), "ssh.root_login='no': the first run is logged in as root"),
        (new_host(ROOT, Ssh(allow_users=["ops"])), "ssh.allow_users: the first run is logged in as root"),
        (new_host(ROOT, user="ops"), "ops is not among the users of the accounts policy"),
        (new_host(ROOT, user="-x"), "ssh_user: '-x' is no name of a user"),
        (new_host(Accounts(users=[USER]), user="ops"), "accounts.sudo: no rule lets ops do everything"),
        *(
            (new_host(Accounts(users=[USER], sudo=[rule]), user="ops"), "accounts.sudo: no rule lets ops")
            for rule in (
                Sudo(name="asks", who=["ops"]),
                Sudo(name="another", who=["ops"], password=False, run_as="web"),
                Sudo(name="little", who=["ops"], password=False, commands=["/bin/true"]),
                Sudo(name="others", who=["%ops-team"], password=False),
            )
        ),
        (
            new_host(Accounts(users=[USER], sudo=[FREE]), Ssh(allow_groups=["wheel"]), user="ops"),
            "ssh.allow_groups: the first run is logged in as ops",
        ),
        (new_host(ROOT, STACKED), "network.links: the first boot configures cards alone"),
    ],
)
def test_a_host_that_nobody_could_log_in_to_is_refused(host, complaint: str) -> None:
    with pytest.raises(InputError) as refusal:
        seed(host, "id", key_for(host))
    assert complaint in str(refusal.value)
    assert str(refusal.value).startswith(f"{host.name} could not be logged in to after its first boot:\n    ")


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as refusal:
        seed(new_host(Ssh(root_login="no"), STACKED, name="web_1"), "id")
    assert len(str(refusal.value).splitlines()) == 5


def test_the_keys_of_all_policies_let_the_first_login_in_once_each() -> None:
    host = new_host(
        Accounts(root=Root(keys=[ALICE])),
        Ssh(logins=[Login(user="root", keys=[BOB]), Login(user="ops", keys=["ssh-ed25519 AAAAother"])]),
        keys=[ALICE.replace("alice", "again")],
    )
    assert [" ".join(key.split()[:2]) for key in host.login_keys()] == [
        " ".join(key.split()[:2]) for key in (ALICE, BOB)
    ]


def test_a_groups_rule_lets_the_user_in_as_its_member() -> None:
    group = Sudo(name="all", who=["%admins"], password=False)
    for groups, free in ((["admins"], True), ([], False)):
        user = User(name="ops", groups=groups, keys=[ALICE])
        accounts = Accounts(groups=[Group(name="admins")], users=[user], sudo=[group])
        assert new_host(accounts, user="ops").has_free_sudo() is free


@pytest.mark.parametrize("instance_id", ["", "-x", "a b", "a\n", "$(id)", "x" * 200])
def test_what_is_no_instance_id(instance_id: str) -> None:
    with pytest.raises(ValueError, match="is no instance id"):
        seed(HOSTS["root"], instance_id)


def test_the_controllers_key_is_neither_forgotten_nor_given_in_vain() -> None:
    with pytest.raises(ValueError, match="the host key is made by the controller"):
        seed(HOSTS["root, key made here"], "id")
    with pytest.raises(ValueError, match="the host key is made by the guest"):
        seed(HOSTS["root"], "id", HostKey.make())


def test_the_digest_is_of_what_was_asked_for() -> None:
    host = HOSTS["root, key made here"]
    digests = {seed(host, name, HostKey.make()).digest for name in ("a", "b")}
    assert len(digests) == 1
    others = [HOSTS["root"], new_host(ROOT, Ssh(max_sessions=7), host_keys="controller")]
    assert digests.isdisjoint({seed(each, "a", key_for(each)).digest for each in others})


def test_the_private_key_is_in_the_user_data_alone() -> None:
    key = HostKey.make()
    made = seed(HOSTS["root, key made here"], "id", key)
    body = key.private.splitlines()[1]
    assert body in made.user_data
    for text in (repr(made), repr(made.guest_info()), repr(key), made.metadata, made.digest, made.instance_id):
        assert body not in text
    assert "guestinfo.userdata: " in repr(made.guest_info())


@pytest.mark.parametrize("name", HOSTS)
def test_people_see_all_but_secrets(name: str) -> None:
    text = shown(HOSTS[name])
    assert "PRIVATE KEY" not in text
    assert '"local-hostname"' in text
    assert ("(masked: made when the VM is)" in text) == (HOSTS[name].first_boot.host_keys == "controller")


def test_a_password_of_root_does_not_travel() -> None:
    host = new_host(Accounts(root=Root(keys=[ALICE], password=Secret.env("NOT_SET"))))
    assert "usermod -p '*' root" in seed(host, "id").user_data


def test_cards_are_told_apart_by_mac_and_name() -> None:
    links = [Link(name=str(number), mac=f"00:50:56:00:00:0{number}", dhcp="yes") for number in range(3)]
    data = network_data(Network(links=[*links, Link(name="x", device="eth1", dhcp="yes")]), "web-1")
    assert data is not None
    macs = {name: card.get("match", {}).get("macaddress") for name, card in data["ethernets"].items()}
    assert macs == {"eth0": links[0].mac, "eth2": links[1].mac, "eth3": links[2].mac, "eth1": None}


def test_a_users_numbers_are_kept() -> None:
    data = user_data_of(HOSTS["a user"], "id", None)
    user = data["users"][0]
    assert (user["name"], user["uid"], user["primary_group"], user["groups"]) == ("ops", 1501, "operators", ["wheel"])
    assert "groupadd -g 1500 operators" in data["bootcmd"][0][-1]
    assert "1600" not in data["bootcmd"][0][-1]
    files = {file["path"]: file for file in data["write_files"]}
    assert files["/etc/sudoers.d/photon-fleet"]["content"] == OPS.sudoers()
    assert files["/etc/sudoers.d/photon-fleet"]["permissions"] == "0440"
