"""sshd's settings, and the promise that no configuration refuses the run that writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.ssh import Login, Ssh
from facts.ssh import Connection

ROOT: Connection = {
    "user": "root", "groups": ["root"], "client": "10.0.0.5", "server": "10.0.0.9", "port": 22, "interface": "eth0",
}  # fmt: skip
OPS: Connection = {**ROOT, "user": "ops", "groups": ["users", "wheel"]}


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"


def examples(_: Path) -> tuple[Ssh, Ssh]:
    """Two policies that differ in every field, for the contract test."""
    return (
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
            syslog_facility="AUTHPRIV",
            banner="/etc/issue",
            print_last_log=False,
        ),
    )


def test_defaults_are_hardened() -> None:
    settings = dict(Ssh().settings())
    assert settings["PasswordAuthentication"] == "no"
    assert settings["PermitRootLogin"] == "prohibit-password"
    assert settings["AllowTcpForwarding"] == "no"
    assert settings["PermitEmptyPasswords"] == "no"
    assert "cbc" not in settings["Ciphers"]
    assert "sha1" not in settings["MACs"] + settings["KexAlgorithms"]


def test_every_setting_is_one_line_of_the_file() -> None:
    policy = Ssh(ports=[22, 2222], allow_users=["root", "ops"])
    lines = [line for line in policy.render().splitlines() if not line.startswith("#")]
    assert lines == [f"{keyword} {value}" for keyword, value in policy.settings()]
    assert "Port 2222" in lines
    assert "AllowUsers root ops" in lines


def test_no_include_and_no_match_block() -> None:
    assert "Include" not in Ssh().render()
    assert "Match" not in Ssh().render()


@pytest.mark.parametrize(
    ("fields", "who", "reason"),
    [
        ({}, ROOT, None),
        ({"root_login": "no"}, ROOT, "root_login"),
        ({"root_login": "forced-commands-only"}, ROOT, "root_login"),
        ({"root_login": "no"}, OPS, None),
        ({"ports": [2222]}, ROOT, "ports"),
        ({"allow_users": ["ops"]}, ROOT, "allow_users"),
        ({"allow_users": ["ops"]}, OPS, None),
        ({"allow_groups": ["admins"]}, OPS, "allow_groups"),
        ({"allow_groups": ["wheel"]}, OPS, None),
        ({"allow_users": ["ops"]}, None, "does not tell"),
        ({}, None, None),
    ],
)
def test_configurations_that_would_refuse_this_run_are_known(
    fields: dict, who: Connection | None, reason: str | None
) -> None:
    found = Ssh(**fields).locks_out(who)
    assert (found is None) if reason is None else (found is not None and reason in found)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"ports": []}, "at least 1 item"),
        ({"ports": [70000]}, "65535"),
        ({"root_login": "maybe"}, "root_login"),
        ({"allow_users": ["-oProxyCommand"]}, "letters, digits"),
        ({"ciphers": ["aes256-ctr\nPermitRootLogin yes"]}, "no name of an algorithm"),
        ({"pasword_login": True}, "did you mean 'password_login'"),
    ],
)
def test_bad_fields_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Ssh(**fields)


@pytest.mark.parametrize("key", ["ssh-ed25519", "-----BEGIN", "ssh-ed25519 AAAA\nssh-ed25519 BBBB", "ssh-dss AAAA x"])
def test_what_is_no_public_key_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="a public key is one line"):
        Login(user="ops", keys=[key])


def test_ciphers_that_our_own_client_lacks_are_a_problem() -> None:
    assert list(Ssh(ciphers=["chacha20-poly1305@openssh.com"]).problems())
    assert not list(Ssh().problems())
