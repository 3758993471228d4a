"""Users, keys and sudo rules: what is refused before any connection, and what is rendered."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Group, Root, Sudo, User
from deploys.policies.secret import Secret
from facts.ssh import Connection

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"


def examples(_: Path) -> tuple[Accounts, Accounts]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Accounts(
            groups=[Group(name="ops", gid=3000)],
            users=[User(name="ann", groups=["wheel"])],
            absent_users=["bob"],
            sudo=[Sudo(name="ops", who=["%ops"])],
        ),
        Accounts(
            root=Root(password="locked", keys=[f"{KEY}A"], only_keys=True),
            groups=[Group(name="ops", gid=3001, system=True)],
            users=[
                User(  # noqa: S604 - a login shell
                    name="ann",
                    uid=2000,
                    group="ops",
                    groups=["docker"],
                    home="/srv/ann",
                    shell="/bin/sh",
                    comment="Ann",
                    system=True,
                    password=Secret.env("ANN"),
                    keys=[f"{KEY}B"],
                    only_keys=True,
                    min_days=1,
                    warn_days=14,
                    inactive_days=30,
                    expires=date(2030, 1, 1),
                ).model_copy(update={"max_days": 90}),
            ],
            absent_users=["eve"],
            sudo=[Sudo(name="ops", who=["ann"], commands=["/usr/bin/less"], run_as="root", password=False)],
        ),
    )


def test_a_password_that_expires_under_a_key_is_refused() -> None:
    with pytest.raises(InputError, match="expired password refuses logins by key"):
        User(name="ann", keys=[f"{KEY}A"], max_days=90)
    assert User(name="ann", max_days=90).max_days == 90


@pytest.mark.parametrize("name", ["-x", "Ann", "a b", "a" * 33, "", "a:b", "ann\n"])
def test_what_is_no_name_of_a_user(name: str) -> None:
    with pytest.raises(InputError, match="lower-case letters"):
        User(name=name)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"name": "root"}, "root is the policy's field `root`"),
        ({"name": "a", "keys": [f"{KEY}A"], "shell": "/usr/sbin/nologin"}, "no key lets the user in"),
        ({"name": "a", "comment": "a:b"}, "no colon"),
        ({"name": "a", "home": "relative"}, "no absolute path"),
        ({"name": "a", "keys": ["not a key"]}, "a public key is one line"),
        ({"name": "a", "uid": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_no_user(given: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        User(**given)


def test_roots_keys_are_not_all_taken_away() -> None:
    with pytest.raises(InputError, match="take all of root's keys away"):
        Root(only_keys=True)


@pytest.mark.parametrize("command", ["less", "/bin/a, /bin/b", "/bin/a:b", "/bin/a=b", "/bin/a\\"])
def test_what_is_no_command_of_sudo(command: str) -> None:
    with pytest.raises(InputError, match="commands"):
        Sudo(name="x", who=["ann"], commands=[command])


def test_rules_in_sudoers_words() -> None:
    policy = Accounts(
        sudo=[
            Sudo(name="ops", who=["%ops", "ann"]),
            Sudo(name="log", who=["bob"], commands=["/usr/bin/journalctl -u web"], run_as="root", password=False),
        ]
    )
    assert policy.sudoers().splitlines()[1:] == [
        "# ops", "%ops, ann ALL=(ALL) ALL", "# log", "bob ALL=(root) NOPASSWD: /usr/bin/journalctl -u web",
    ]  # fmt: skip


def test_nobody_is_wanted_and_absent() -> None:
    policy = Accounts(users=[User(name="ann")], absent_users=["ann", "root"], sudo=[Sudo(name="x", who=["ann"])])
    assert sorted(policy.problems()) == [
        "absent_users: ann is wanted as well", "absent_users: root is wanted as well",
        "sudo[x].who: ann is among absent_users",
    ]  # fmt: skip


def test_the_login_of_the_run_is_not_removed() -> None:
    connection: Connection = {
        "user": "ops", "groups": ["ops"], "client": "10.0.0.5", "server": "10.0.0.9", "port": 22, "interface": "eth0",
    }  # fmt: skip
    policy = Accounts(absent_users=["ops"])
    assert policy.locks_out(connection) == "absent_users: this run is logged in as ops"
    assert policy.locks_out({**connection, "user": "root"}) is None
    assert policy.locks_out(None) is not None
    assert Accounts().locks_out(None) is None


def test_secrets_stay_out_of_checks(monkeypatch) -> None:
    monkeypatch.setenv("ANN", "$6$salt$hash")
    policy = Accounts(users=[User(name="ann", password=Secret.env("ANN"))])
    assert "$6$" not in repr(policy) + policy.model_dump_json() + "".join(map(str, policy.checks()))
