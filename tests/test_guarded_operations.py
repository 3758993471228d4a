"""Operations that ask a function before they change anything, and what all of them do with a host that is not ready.

A function is no data, so these cases are not in tests/fixtures/operations.
"""

from __future__ import annotations

import hashlib

import pytest
from pyinfra.api import OperationError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.operations import parse_commands
from pyinfra_testing.util import FakeFact, FakeHost, FakeState

from facts.file import TextFile
from operations import docker, file, iptables, sshd

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


def ruleset(facts, refuse=None, family="ipv4", chains=CHAINS):
    return run(iptables.ruleset, facts, family=family, chains=chains, refuse=refuse or Refuse())


def test_rules_as_wanted_are_left_alone_and_nobody_is_asked():
    refuse = Refuse("never")
    assert ruleset(firewall(), refuse) == ([], "the ipv4 rules are as wanted")
    assert refuse.asked == []


@pytest.mark.parametrize(
    "chains",
    [
        {**PRINTED, "INPUT": PRINTED["INPUT"][::-1]},
        {**PRINTED, "INPUT": [*PRINTED["INPUT"], "-j ACCEPT"]},
        {**PRINTED, "INPUT": PRINTED["INPUT"][:1]},
        {**PRINTED, "DOCKER-USER": []},
        {chain: rules for chain, rules in PRINTED.items() if chain != "DOCKER-USER"},
    ],
    ids=["another order", "one too many", "one too few", "empty", "chain is missing"],
)
def test_other_rules_are_replaced_in_one_transaction(chains):
    assert ruleset(firewall(chains)) == ([LOAD_IPV4], None)


@pytest.mark.parametrize("chain", DROP)
def test_another_policy_of_a_chain_is_a_difference(chain):
    assert ruleset(firewall(policies={**DROP, chain: "ACCEPT"})) == ([LOAD_IPV4], None)


def test_a_fresh_host_gets_the_file_and_then_the_rules():
    empty = {"INPUT": [], "FORWARD": [], "OUTPUT": []}
    facts = firewall(empty, dict.fromkeys(DROP, "ACCEPT"), saved=None)
    assert ruleset(facts) == ([SAVE_IPV4, LOAD_IPV4], None)


@pytest.mark.parametrize(
    ("forward", "mend"),
    [
        (["-j ACCEPT", "-j DOCKER-USER"], "-D FORWARD -j DOCKER-USER\n-I FORWARD 1 -j DOCKER-USER\n"),
        (["-j ACCEPT"], "-I FORWARD 1 -j DOCKER-USER\n"),
        (["-j DOCKER-USER", "-j DOCKER-USER"], "-D FORWARD -j DOCKER-USER\n" * 2 + "-I FORWARD 1 -j DOCKER-USER\n"),
    ],
)
def test_nothing_is_forwarded_past_the_rules_for_containers(forward, mend):
    commands, _ = ruleset(firewall({**PRINTED, "FORWARD": forward}))
    assert commands == [{**LOAD_IPV4, "_stdin": TRANSACTION.replace("-F DOCKER-USER\n", f"-F DOCKER-USER\n{mend}")}]


def test_only_the_file_for_the_next_boot_differs():
    assert ruleset(firewall(saved=SAVED.replace("lo", "eth0"))) == ([SAVE_IPV4], None)


def test_ipv6_has_its_own_programs_and_file():
    commands, _ = ruleset(firewall({}, saved=None, family="ipv6"), family="ipv6")
    save, load = commands
    assert load == {"_stdin": TRANSACTION, "command": "ip6tables-restore --wait 5 --noflush"}
    assert save["_stdin"] == SAVED
    assert (
        '(\nip6tables-restore --wait 5 --test < "$new"\n) && mv -fT "$new" /etc/systemd/scripts/ip6save; }'
        in save["command"]
    )


def test_odd_rules_travel_on_standard_input_only():
    odd = {"INPUT": ['-m comment --comment "$(id); é `x`" -j DROP', '-j LOG --log-prefix "dropped: "']}
    commands, _ = ruleset(firewall(saved=None), chains=odd)
    for command in commands:
        assert all(f"-A INPUT {rule}\n" in command["_stdin"] for rule in odd["INPUT"])
        assert "(id)" not in command["command"]


def test_odd_rules_in_the_kernel_are_the_same_rules():
    odd = {"INPUT": ['-j LOG -m limit --limit 5/min --log-prefix "dropped: "', '-m comment --comment "-j é" -j DROP']}
    printed = {
        "INPUT": ['-m limit --limit 5/min -j LOG --log-prefix "dropped: "', odd["INPUT"][1]],
        "FORWARD": ["-j DOCKER-USER"],
    }
    assert ruleset(firewall(printed, saved=iptables.saved_text(odd)), chains=odd)[0] == []


@pytest.mark.parametrize("facts", [firewall({}), firewall(saved=None), firewall({}, saved=None)])
def test_rules_that_would_cut_this_run_are_refused(facts):
    refuse = Refuse("no rule would let you in")
    message = refusal(iptables.ruleset, facts, family="ipv4", chains=CHAINS, refuse=refuse)
    assert message == "refused: no rule would let you in"
    assert refuse.asked == [CONNECTION]


@pytest.mark.parametrize(
    "chains",
    [
        {"INPUT": ["-j DROP\n-A INPUT -j ACCEPT"]},
        {"INPUT": ["-j DROP\r"]},
        {"INPUT": ["-j DROP\0"]},
        {"INPUT ACCEPT [0:0]\n": []},
    ],
)
def test_rules_of_more_than_one_line_are_refused_before_the_host_is_read(chains):
    message = refusal(iptables.ruleset, {}, family="ipv4", chains=chains, refuse=Refuse())
    assert message.endswith("is more than one line")


def test_configuration_as_wanted_is_left_alone_and_nobody_is_asked():
    refuse = Refuse("never")
    assert run(sshd.config, ssh(SSHD), content=SSHD, refuse=refuse) == ([], "sshd uses this configuration")
    assert refuse.asked == []


def test_a_configuration_that_sshd_has_not_read_is_loaded():
    commands, _ = run(sshd.config, ssh(SSHD, stale=True), content=SSHD, refuse=Refuse())
    assert [command.split(" && ")[0] for command in commands] == ["sshd -t"]


@pytest.mark.parametrize(
    "facts",
    [ssh(None), ssh("Port 2222\n"), ssh(SSHD, mode=644)],
    ids=["not there", "another content", "readable by others"],
)
def test_another_configuration_is_checked_written_and_loaded(facts):
    refuse = Refuse()
    assert run(sshd.config, facts, content=SSHD, refuse=refuse) == ([WRITE_SSHD], None)
    assert refuse.asked == [CONNECTION]


def test_odd_configuration_travels_on_standard_input_only():
    odd = "Banner /etc/it's $(id) é\r\n# `x`"
    (command,), _ = run(sshd.config, ssh(SSHD), content=odd, refuse=Refuse())
    assert command["_stdin"] == f"{odd}\n"
    assert "(id)" not in command["command"]
    assert f"-eq {len(odd.encode()) + 1} ]" in command["command"]


def test_configuration_that_would_refuse_this_run_is_refused():
    refuse = Refuse("root_login='no': this run is logged in as root")
    message = refusal(sshd.config, ssh("Port 22\n"), content=SSHD, refuse=refuse)
    assert message == "refused: root_login='no': this run is logged in as root"
    assert refuse.asked == [CONNECTION]


def test_an_empty_reason_is_a_reason():
    assert refusal(sshd.config, ssh(None), content=SSHD, refuse=Refuse("")) == "refused: "


GUARDED = [
    pytest.param(iptables.ruleset, firewall({}, connection=None), {"family": "ipv4", "chains": CHAINS}, id="iptables"),
    pytest.param(sshd.config, ssh(None, connection=None), {"content": SSHD}, id="sshd"),
]


@pytest.mark.parametrize(("operation", "facts", "arguments"), GUARDED)
def test_a_connection_that_is_not_known_is_for_the_function_to_judge(operation, facts, arguments):
    willing, unwilling = Refuse(), Refuse("the host does not tell")
    commands, _ = run(operation, facts, refuse=willing, **arguments)
    assert len(commands) == 1
    assert refusal(operation, facts, refuse=unwilling, **arguments) == "refused: the host does not tell"
    for refuse in (willing, unwilling):
        assert len(refuse.asked) == 1
        assert refuse.asked[0] is None


class EverythingFails(State):
    """Of a host on which no fact can be read: pyinfra gives defaults, and counts it among the failed ones."""

    class Everybody:
        def __contains__(self, host):
            return True

    failed_hosts = Everybody()


CONTAINER = {
    "container": "web", "image": "nginx:1.27", "arguments": [], "command": [], "wanted": {}, "environment": "",
}  # fmt: skip
LISTINGS = [
    pytest.param(docker.network, {"network": "app"}, id="network"),
    pytest.param(docker.loaded_image, {"image": "a:1", "file": "a.tar", "image_id": "sha256:1"}, id="image"),
    pytest.param(docker.container, CONTAINER, id="container"),
]


@pytest.mark.parametrize(("operation", "facts", "arguments"), GUARDED)
def test_a_host_that_cannot_be_read_is_not_a_fresh_one(operation, facts, arguments):
    refuse = Refuse()
    message = refusal(operation, facts, EverythingFails(), refuse=refuse, **arguments)
    assert message.startswith("stopped: ")
    assert message.endswith("could not be read")
    assert refuse.asked == []


@pytest.mark.parametrize("operation", [file.text, file.absent])
def test_a_file_that_cannot_be_read_is_not_an_absent_one(operation):
    arguments = {"path": "/etc/motd"} | ({"content": "x"} if operation is file.text else {})
    message = refusal(operation, {"file.TextFile": {"path=/etc/motd": None}}, EverythingFails(), **arguments)
    assert message == f"stopped: {TextFile.name} could not be read"


@pytest.mark.parametrize(("operation", "arguments"), LISTINGS)
def test_docker_must_run_when_it_is_needed(operation, arguments):
    stopped = {"running": False, "entries": {}}
    facts = dict.fromkeys(["docker.DockerNetworks", "docker.DockerImages", "docker.DockerContainers"], stopped)
    message = refusal(operation, facts, Executing(), **arguments)
    assert message == "Docker does not run on this host: journalctl -u docker.service says why"
