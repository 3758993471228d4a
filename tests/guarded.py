"""Fake hosts and their facts for operations that ask a function before they change anything.

A function is no data, so these cases are not in tests/fixtures/operations.
"""

from __future__ import annotations

import hashlib

import pytest
from pyinfra.api import OperationError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.operations import parse_commands
from pyinfra_testing.util import FakeFact, FakeHost, FakeState

from operations import iptables

CONNECTION = {
    "user": "root", "groups": ["root"], "client": "10.0.0.5", "server": "10.0.0.9", "port": 22, "interface": "eth0",
}  # fmt: skip
DROP = {"INPUT": "DROP", "FORWARD": "DROP", "OUTPUT": "DROP"}
CHAINS = {
    "INPUT": ["-i lo -j ACCEPT", "-s 10.0.0.5 -p tcp -m tcp --dport 22 -m comment --comment ssh -j ACCEPT"],
    "DOCKER-USER": ["-j RETURN"],
}
PRINTED = {
    "INPUT": ["-i lo -j ACCEPT", '-s 10.0.0.5/32 -p tcp -m comment --comment "ssh" -m tcp --dport 22 -j ACCEPT'],
    "FORWARD": ["-j DOCKER-USER"],
    "OUTPUT": [],
    "DOCKER": ["-d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT"],
    "DOCKER-USER": ["-j RETURN"],
}
SAVED = """\
# Written by Photon Fleet (policy: firewall). Changes made here are undone by the next run.
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
:DOCKER-USER - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -s 10.0.0.5 -p tcp -m tcp --dport 22 -m comment --comment ssh -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
"""
TRANSACTION = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
:DOCKER-USER - [0:0]
-F INPUT
-F DOCKER-USER
-A INPUT -i lo -j ACCEPT
-A INPUT -s 10.0.0.5 -p tcp -m tcp --dport 22 -m comment --comment ssh -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
"""
SAVE_IPV4 = {
    "_stdin": SAVED,
    "command": (
        "umask 022 && mkdir -p /etc/systemd/scripts && umask 077 && "
        "new=$(mktemp /etc/systemd/scripts/.ip4save.XXXXXX) && "
        '{ { cat > "$new" && [ "$(wc -c < "$new")" -eq 316 ] && chmod 644 "$new" && chown root:root "$new" && '
        '(\niptables-restore --wait 5 --test < "$new"\n) && mv -fT "$new" /etc/systemd/scripts/ip4save; } || '
        '{ rm -f "$new"; exit 1; }; }'
    ),
}
LOAD_IPV4 = {"_stdin": TRANSACTION, "command": "iptables-restore --wait 5 --noflush"}
SSHD = "Port 22\nPermitRootLogin no\n"
WRITE_SSHD = {
    "_stdin": SSHD,
    "command": (
        "umask 022 && mkdir -p /etc/ssh && umask 077 && new=$(mktemp /etc/ssh/.sshd_config.XXXXXX) && "
        '{ { cat > "$new" && [ "$(wc -c < "$new")" -eq 27 ] && chmod 600 "$new" && chown root:root "$new" && '
        '(\nsshd -t -f "$new"\n) && mv -fT "$new" /etc/ssh/sshd_config; } || { rm -f "$new"; exit 1; }; } && '
        "{ if systemctl is-active --quiet sshd.service; "
        "then systemctl kill --signal=HUP --kill-who=main sshd.service; "
        "else systemctl is-active --quiet sshd.socket; fi "
        "&& mkdir -p /run/photon-fleet && touch /run/photon-fleet/sshd-read; }"
    ),
}


class Host(FakeHost):
    """Gives a fact's own value: the wrapper around it could never be None."""

    def get_fact(self, fact_cls, *args, **kwargs):
        found = super().get_fact(fact_cls, *args, **kwargs)
        return found.data if isinstance(found, FakeFact) else found


class State(FakeState):
    failed_hosts = frozenset()


class Executing(State):
    is_executing = True


class Refuse:
    """Answers always the same, and remembers what it was asked."""

    def __init__(self, reason=None):
        self.reason, self.asked = reason, []

    def __call__(self, connection):
        self.asked.append(connection)
        return self.reason


def as_file(text, mode):
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "mode": mode, "user": "root", "group": "root"}


def firewall(chains=PRINTED, policies=DROP, saved=SAVED, connection=CONNECTION, family="ipv4"):
    """The facts of a host with this table, and this file for the next boot."""
    path = f"path={iptables.SAVE_FILES[family]}"
    return {
        "iptables.FilterTable": {f"family={family}": {"policies": policies, "chains": chains}},
        "file.TextFile": {path: None if saved is None else as_file(saved, 644)},
        "ssh.SshConnection": connection,
    }


def ssh(found, mode=600, connection=CONNECTION, *, stale=False):
    return {
        "file.TextFile": {"path=/etc/ssh/sshd_config": None if found is None else as_file(found, mode)},
        "file.IsOlderThan": {
            "marker=/run/photon-fleet/sshd-read, path=/etc/ssh/sshd_config, unit=sshd.service": stale,
        },
        "ssh.SshConnection": connection,
    }


def run(operation, facts, state=None, **arguments):
    """All commands, and the sentence when there is nothing to do."""
    state = state or State()
    host = Host(state, "host", facts, {})
    with ctx_state.use(state), ctx_host.use(host):
        commands = list(operation._inner(**arguments))
    return parse_commands(commands), host.noop_description


def refusal(operation, facts, state=None, **arguments):
    """The sentence of a refusal that comes before the first command."""
    state = state or State()
    with ctx_state.use(state), ctx_host.use(Host(state, "host", facts, {})):
        commands = operation._inner(**arguments)
        with pytest.raises(OperationError) as caught:
            next(commands)
        assert list(commands) == []
    return str(caught.value)
