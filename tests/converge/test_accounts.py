"""Users, keys and sudo on a real host: from root's key alone to an operator with sudo, and back when it goes wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.converge.conftest import converge, prove
from tests.lab.settings import state_dir

pytestmark = pytest.mark.lab

TEXT = """
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Group, Root, Sudo, User
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.secret import Secret
from deploys.policies.ssh import Ssh
from inventories._fleet import fleet, host
from inventories._lab import lab_key
packages = Packages(
    keys=[SigningKey(name="photon-lab", **lab_key())],
    repositories=[Repository(id="photon", url="http://packages.lab/photon", key="photon-lab")],
)
KEY = {key!r}
hosts = fleet(host("people-1", packages, {policies}, guard_seconds=12, {data}), connector="lab")
"""
PEOPLE = """Accounts(
    root=Root(password=Secret.env("ROOT_HASH")),
    groups=[Group(name="operators", gid=3000)],
    users=[
        User(name="ops", uid=2000, groups=["operators", "wheel"], comment="Operator", keys=[KEY], only_keys=True),
        User(name="batch", group="operators", home="/srv/batch", shell="/usr/sbin/nologin", min_days=1, max_days=90,
             warn_days=14, inactive_days=30, password=Secret.env("BATCH_HASH")),
    ],
    absent_users=["games"],
    sudo=[Sudo(name="operators", who=["%operators"], password=False)],
)"""
HASHES = {"ROOT_HASH": "$6$lab$roots", "BATCH_HASH": "$6$lab$batchs"}


def inventory(tmp_path: Path, policies: str, data: str = "") -> str:
    key = (state_dir() / "id.pub").read_text().strip()
    path = tmp_path / "people.py"
    path.write_text(TEXT.format(key=key, policies=policies, data=data))
    return str(path)


@pytest.fixture(scope="module")
def people(lab, tmp_path_factory) -> str:
    lab.boot("people-1")
    path = inventory(tmp_path_factory.mktemp("people"), PEOPLE)
    done = converge(inventory=path, **HASHES)
    assert done.status == 0, done.all
    assert "$6$" not in done.all
    return path


def test_the_second_run_changes_nothing(people, on) -> None:
    again = converge(inventory=people, **HASHES)
    assert again.line("people-1: ok; 0 changes"), again.all
    assert set(on("people-1", "id -Gn ops").split()) == {"ops", "operators", "wheel"}
    assert on(
        "people-1", "stat -c '%a %U' /home/ops/.ssh /home/ops/.ssh/authorized_keys /etc/sudoers.d/photon-fleet"
    ) == ("700 ops\n600 ops\n440 root\n")
    assert on("people-1", "getent shadow root batch | cut -d: -f1,2") == "root:$6$lab$roots\nbatch:$6$lab$batchs\n"
    assert on("people-1", "getent passwd games || echo gone") == "gone\n"


def test_the_operator_gets_in_and_becomes_root(people, on, address, tmp_path) -> None:
    """The run as that operator, with sudo: what the next step of a bootstrap is."""
    assert on("people-1", "su -s /bin/sh ops -c 'sudo -n id -un'") == "root\n"
    policies = f"{PEOPLE}, Ssh(root_login='no')"
    as_ops = inventory(tmp_path, policies, data="ssh_user='ops', _sudo=True")
    try:
        done = converge(inventory=as_ops, **HASHES)
        assert done.line("people-1: ok; "), done.all
        assert converge(inventory=as_ops, **HASHES).line("people-1: ok; 0 changes")
    finally:
        back = converge(inventory=inventory(tmp_path, f"{PEOPLE}, Ssh()", "ssh_user='ops', _sudo=True"), **HASHES)
    assert back.line("people-1: ok; "), back.all


BROKEN = {
    "users[ops].comment": "usermod -c Somebody ops",
    "users[ops].groups": "gpasswd -d ops wheel",
    "users[ops].shell": "usermod -s /bin/sh ops",
    "users[ops].only_keys": "echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIX eve' >> /home/ops/.ssh/authorized_keys",
    "users[batch].group": "usermod -g wheel batch",
    "users[batch].password": "usermod -L batch",
    "users[batch].min_days": "chage -m 0 batch",
    "users[batch].max_days": "chage -M 30 batch",
    "users[batch].warn_days": "chage -W 1 batch",
    "users[batch].inactive_days": "chage -I -1 batch",
    "users[batch].expires": "chage -E 30000 batch",
    "root.password": "usermod -p '*' root",
    "sudo": "echo 'eve ALL=(ALL) ALL' >> /etc/sudoers.d/photon-fleet",
    "absent_users[games]": "useradd -M games",
}


def test_what_is_broken_by_hand_is_named_and_mended(people, on) -> None:
    on("people-1", "; ".join(BROKEN.values()))
    found = prove(inventory=people, **HASHES)
    assert found.status == 1
    for field in BROKEN:
        assert f"people-1: accounts.{field}: not true that" in found.out, field
    assert "$6$" not in found.all
    assert converge(inventory=people, **HASHES).line("people-1: ok; "), "not mended"
    assert prove(inventory=people, **HASHES).status == 0
    on("people-1", "sed -i s,/home/ops,/home/other, /etc/passwd")
    found = prove(inventory=people, **HASHES)
    on("people-1", "sed -i s,/home/other,/home/ops, /etc/passwd")
    assert "people-1: accounts.users[ops].home: not true that" in found.out


def test_keys_that_would_lock_us_out_come_back(people, on, tmp_path) -> None:
    """Root's only key is replaced by a stranger's: the new login fails, and the host undoes it."""
    before = on("people-1", "cat /root/.ssh/authorized_keys")
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    public = stranger.with_suffix(".pub").read_text().strip()
    bad = inventory(tmp_path, f"Accounts(root=Root(keys=[{public!r}], only_keys=True))")
    done = converge(inventory=bad)
    assert done.status == 1
    assert done.line("people-1: REVERTED; "), done.all
    assert on("people-1", "cat /root/.ssh/authorized_keys") == before


def test_rules_that_sudo_does_not_understand_are_not_put_in_place(people, on, tmp_path) -> None:
    before = on("people-1", "cat /etc/sudoers.d/photon-fleet")
    bad = inventory(tmp_path, PEOPLE.replace("password=False)]", "commands=['/bin/a !!'], run_as='nobody')]"))
    text = Path(bad).read_text().replace("hosts = fleet", "Accounts.sudoers = lambda self: 'not a rule'\nhosts = fleet")
    Path(bad).write_text(text)
    done = converge(inventory=bad, **HASHES)
    assert done.status == 1
    assert on("people-1", "cat /etc/sudoers.d/photon-fleet") == before


def test_a_home_that_links_elsewhere_makes_root_write_nowhere(people, on) -> None:
    on("people-1", "mv /home/ops/.ssh /home/ops/kept && ln -s /etc /home/ops/.ssh")
    try:
        done = converge(inventory=people, **HASHES)
        assert done.status == 1
        assert on("people-1", "test -e /etc/authorized_keys || echo no") == "no\n"
    finally:
        on("people-1", "rm /home/ops/.ssh && mv /home/ops/kept /home/ops/.ssh")


def test_a_plain_password_is_refused_and_not_repeated(people) -> None:
    done = converge(inventory=people, **{**HASHES, "BATCH_HASH": "hunter2"})
    assert done.status == 1
    assert "no hash of crypt(5)" in done.err
    assert "hunter2" not in done.all
