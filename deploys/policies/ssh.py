"""sshd: who may log in, how, and what a login may do.

The policy owns /etc/ssh/sshd_config as a whole: Photon's file has no Include, and a setting left over from an image
(there have been four different ones) would otherwise win or lose by its place in the file. The new file is checked
with `sshd -t` before it is put in place, and a policy that would refuse the login of the run itself is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import Annotated, ClassVar, Literal

from paramiko import Transport
from pydantic import AfterValidator, Field
from pyinfra import host
from typing_extensions import override

from deploys.policies.accounts_models import PublicKey
from deploys.policies.base import Check, Item, Policy, Risk, Undo, file_check
from deploys.policies.render import render
from deploys.policies.ssh_reads import effective_value, has_read_configuration, missing_keys, other_settings
from deploys.policies.types import Port, Word
from facts.ssh import Connection
from operations import keys, sshd, systemd

RootLogin = Literal["no", "prohibit-password", "forced-commands-only", "yes"]
Forwarding = Literal["no", "yes", "local", "remote"]

# Known to every OpenSSH that Photon 3 to 5 ships (7.8 to 10.3) and to FIPS builds' clients; no CBC, no SHA-1, and no
# ChaCha20 or encrypt-then-MAC-only sets, which the images of October 2025 cannot negotiate.
CIPHERS = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr")
MACS = ("hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512", "hmac-sha2-256")
KEY_EXCHANGES = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha256",
)
BOOT_LINKS = ("/etc/systemd/system/multi-user.target.wants/sshd.service",
              "/etc/systemd/system/sockets.target.wants/sshd.socket")  # fmt: skip

_ALWAYS = {
    "permitemptypasswords": "no", "hostbasedauthentication": "no", "permituserenvironment": "no", "strictmodes": "yes",
    "compression": "no", "ignorerhosts": "yes", "ignoreuserknownhosts": "yes", "gssapiauthentication": "no",
    "kerberosauthentication": "no",
}  # fmt: skip
"""What no policy decides otherwise, as `sshd -T` prints it."""


def _algorithm(value: str) -> str:
    if not value or not all(letter.isalnum() or letter in "-@._" for letter in value) or value.startswith("-"):
        message = f"{value!r} is no name of an algorithm"
        raise ValueError(message)
    return value


def _plain_path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", value):
        message = f"{value!r} is no plain absolute path"
        raise ValueError(message)
    return value


PlainPath = Annotated[str, AfterValidator(_plain_path)]
Algorithm = Annotated[str, AfterValidator(_algorithm)]


class Login(Item):
    """Public keys that let a user in. The user must exist; other keys of the user are left alone."""

    identity: ClassVar[str] = "user"

    user: Word
    keys: tuple[PublicKey, ...] = Field(min_length=1)


class Ssh(Policy):
    """How sshd of the host is configured."""

    name: ClassVar[str] = "ssh"
    risk: ClassVar[Risk] = Risk.CONNECTIVITY

    ports: tuple[Port, ...] = Field(default=(22,), min_length=1)
    root_login: RootLogin = "prohibit-password"
    password_login: bool = False
    allow_users: tuple[Word, ...] = ()
    """Only these may log in; everybody when empty. Root counts."""
    allow_groups: tuple[Word, ...] = ()
    logins: tuple[Login, ...] = ()
    tcp_forwarding: Forwarding = "no"
    agent_forwarding: bool = False
    x11_forwarding: bool = False
    max_auth_tries: int = Field(default=4, ge=1, le=20)
    max_sessions: int = Field(default=10, ge=1, le=100)
    login_grace_seconds: int = Field(default=30, ge=5, le=600)
    client_alive_seconds: int = Field(default=300, ge=0, le=86400)
    client_alive_count: int = Field(default=2, ge=0, le=100)
    """With 0, sshd from 8.2 on never ends a connection that does not answer."""
    ciphers: tuple[Algorithm, ...] = Field(default=CIPHERS, min_length=1)
    macs: tuple[Algorithm, ...] = Field(default=MACS, min_length=1)
    key_exchanges: tuple[Algorithm, ...] = Field(default=KEY_EXCHANGES, min_length=1)
    log_level: Literal["INFO", "VERBOSE"] = "VERBOSE"
    syslog_facility: Literal["AUTH", "AUTHPRIV"] = "AUTH"
    banner: PlainPath | None = None
    """A file of the host that is shown before each login, such as /etc/issue."""
    print_last_log: bool = True

    def settings(self) -> list[tuple[str, str]]:
        """sshd_config's keywords and values, in file order."""
        pairs = [("Port", str(port)) for port in self.ports]
        pairs += [
            ("PermitRootLogin", self.root_login),
            ("PubkeyAuthentication", "yes"),
            ("PasswordAuthentication", _yes(self.password_login)),
            ("KbdInteractiveAuthentication", "no"),
            ("PermitEmptyPasswords", "no"),
            ("HostbasedAuthentication", "no"),
            ("IgnoreRhosts", "yes"),
            ("IgnoreUserKnownHosts", "yes"),
            ("GSSAPIAuthentication", "no"),
            ("KerberosAuthentication", "no"),
            ("PermitUserEnvironment", "no"),
            ("StrictModes", "yes"),
            ("UsePAM", "yes"),
            ("AuthorizedKeysFile", ".ssh/authorized_keys"),
            ("MaxAuthTries", str(self.max_auth_tries)),
            ("MaxSessions", str(self.max_sessions)),
            ("LoginGraceTime", str(self.login_grace_seconds)),
            ("ClientAliveInterval", str(self.client_alive_seconds)),
            ("ClientAliveCountMax", str(self.client_alive_count)),
            ("TCPKeepAlive", "no"),
            ("Compression", "no"),
            ("AllowTcpForwarding", self.tcp_forwarding),
            ("AllowAgentForwarding", _yes(self.agent_forwarding)),
            ("X11Forwarding", _yes(self.x11_forwarding)),
            ("PermitTunnel", "no"),
            ("Ciphers", ",".join(self.ciphers)),
            ("MACs", ",".join(self.macs)),
            ("KexAlgorithms", ",".join(self.key_exchanges)),
            ("LogLevel", self.log_level),
            ("SyslogFacility", self.syslog_facility),
            ("Banner", self.banner or "none"),
            ("PrintLastLog", _yes(self.print_last_log)),
            # The external server is in another place on every image, and missing from some sshd_configs.
            ("Subsystem", "sftp internal-sftp"),
        ]
        pairs += [("AllowUsers", " ".join(self.allow_users))] if self.allow_users else []
        pairs += [("AllowGroups", " ".join(self.allow_groups))] if self.allow_groups else []
        return pairs

    def render(self) -> str:
        """The text of the file that the policy owns."""
        return render("ssh/sshd_config", settings=self.settings())

    @override
    def problems(self) -> Iterable[str]:
        for field, ours in (
            # paramiko has no public list without a connection
            ("ciphers", "_preferred_ciphers"),
            ("macs", "_preferred_macs"),
            ("key_exchanges", "_preferred_kex"),
        ):
            if not set(getattr(self, field)) & set(getattr(Transport, ours)):
                yield f"{field}: nothing in it is known to our own SSH client, so this run would be the last one"

    def locks_out(self, connection: Connection | None) -> str | None:
        """Why this configuration would refuse the login of the run, or None.

        Fails closed: a connection that is not known counts as one that would be refused, unless nothing in the
        policy can tell logins apart.
        """
        if connection is None:
            restricted = self.allow_users or self.allow_groups or self.root_login == "no"
            return "the host does not tell as whom and where this run is logged in" if restricted else None
        user = connection["user"]
        if connection["port"] not in self.ports:
            return f"ports: this run is connected to port {connection['port']}, which is not among {list(self.ports)}"
        if user == "root" and self.root_login in {"no", "forced-commands-only"}:
            return f"root_login={self.root_login!r}: this run is logged in as root"
        if self.allow_users and user not in self.allow_users:
            return f"allow_users: this run is logged in as {user}, who is not among {list(self.allow_users)}"
        if self.allow_groups and not set(connection["groups"]) & set(self.allow_groups):
            return f"allow_groups: this run is logged in as {user}, who is in none of {list(self.allow_groups)}"
        return None

    @override
    def apply(self) -> None:
        for login in host.loop(self.logins):
            keys.authorized_keys(name=f"Let the keys of {login.user} in", user=login.user, keys=login.keys)
        sshd.config(name="Configure sshd", content=self.render(), refuse=self.locks_out)
        systemd.unit(name="Start sshd at boot", unit="sshd.service", running=True, enabled=True)

    @override
    def undo(self) -> Undo:
        keys = [f"~{login.user}/.ssh/authorized_keys" for login in self.logins]
        return Undo(paths=(sshd.PATH, *BOOT_LINKS, *keys), running=render("ssh/undo.sh", reload=sshd.RELOAD))

    @override
    def checks(self) -> Iterable[Check]:
        for field, keyword, expect in self._effective():
            yield Check(
                id=f"ssh.{keyword}", field=field, proves=f"sshd uses {keyword} {expect}",
                read=partial(effective_value, keyword), expect=expect,
            )  # fmt: skip
        settings = {f"{keyword} {value}" for keyword, value in self.settings()}
        yield Check(
            id="ssh.no-other-settings", field="", proves="sshd_config has no setting that the policy did not write",
            read=partial(other_settings, settings), expect=[],
        )  # fmt: skip
        yield file_check("ssh.file", "", sshd.PATH, "600")
        yield Check(
            id="ssh.in-force", field="", proves="sshd has read sshd_config since it was last changed",
            read=has_read_configuration, expect=True,
        )  # fmt: skip
        yield Check(
            id="ssh.running", field="", proves="sshd accepts connections",
            read=lambda host: host.service("sshd").is_running, expect=True,
        )  # fmt: skip
        for login in self.logins:
            keys = [" ".join(key.split()[:2]) for key in login.keys]
            yield Check(
                id=f"ssh.keys[{login.user}]", field=f"logins[{login.user}]",
                proves=f"{len(keys)} key(s) let {login.user} in",
                read=partial(missing_keys, login.user, keys), expect=[],
            )  # fmt: skip

    def _effective(self) -> list[tuple[str, str, str]]:
        """(field, keyword as `sshd -T` prints it, value as it prints it)."""
        root = {"prohibit-password": "without-password"}.get(self.root_login, self.root_login)
        return [
            ("ports", "port", " ".join(sorted(map(str, self.ports)))),
            ("root_login", "permitrootlogin", root),
            ("password_login", "passwordauthentication", _yes(self.password_login)),
            ("", "pubkeyauthentication", "yes"),
            *(("", keyword, value) for keyword, value in _ALWAYS.items()),
            ("tcp_forwarding", "allowtcpforwarding", self.tcp_forwarding),
            ("agent_forwarding", "allowagentforwarding", _yes(self.agent_forwarding)),
            ("x11_forwarding", "x11forwarding", _yes(self.x11_forwarding)),
            ("max_auth_tries", "maxauthtries", str(self.max_auth_tries)),
            ("max_sessions", "maxsessions", str(self.max_sessions)),
            ("login_grace_seconds", "logingracetime", str(self.login_grace_seconds)),
            ("client_alive_seconds", "clientaliveinterval", str(self.client_alive_seconds)),
            ("client_alive_count", "clientalivecountmax", str(self.client_alive_count)),
            ("ciphers", "ciphers", ",".join(self.ciphers)),
            ("macs", "macs", ",".join(self.macs)),
            ("key_exchanges", "kexalgorithms", ",".join(self.key_exchanges)),
            ("log_level", "loglevel", self.log_level),
            ("syslog_facility", "syslogfacility", self.syslog_facility),
            ("banner", "banner", self.banner or "none"),
            ("print_last_log", "printlastlog", _yes(self.print_last_log)),
            ("allow_users", "allowusers", " ".join(sorted(self.allow_users)) or "not set"),
            ("allow_groups", "allowgroups", " ".join(sorted(self.allow_groups)) or "not set"),
        ]


def _yes(value: bool) -> str:  # noqa: FBT001 - it renders a boolean
    return "yes" if value else "no"
