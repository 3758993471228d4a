"""Operations that ask a function before they change anything, and what all of them do with a host that is not ready."""

from __future__ import annotations

import pytest

from facts.file import TextFile
from operations import accounts, docker, file, fixes, iptables, keys, sshd
from tests.guarded import (
    CHAINS,
    CONNECTION,
    DROP,
    LOAD_IPV4,
    PRINTED,
    SAVE_IPV4,
    SAVED,
    SSHD,
    TRANSACTION,
    WRITE_SSHD,
    Executing,
    Refuse,
    State,
    firewall,
    refusal,
    run,
    ssh,
)


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


USER = {
    "uid": 1000, "gid": 1000, "comment": "", "home": "/home/ann", "shell": "/bin/bash", "password": "locked",
    "changed": 20000, "min_days": 0, "max_days": None, "warn_days": 7, "inactive_days": None, "expires": None,
}  # fmt: skip


def users(*names, connection=CONNECTION):
    return {
        "accounts.Accounts": {"users": dict.fromkeys(names, USER), "groups": {}},
        "accounts.AuthorizedKeys": {"user=ann": {"home": "", "mode": None, "owner": "", "lines": []}},
        "ssh.SshConnection": connection,
    }  # fmt: skip


def test_a_user_is_removed_unless_the_run_needs_it():
    refuse = Refuse()
    assert run(accounts.removed_user, users("ann"), user="ann", refuse=refuse) == (["userdel ann"], None)
    assert refuse.asked == [CONNECTION]
    assert run(accounts.removed_user, users(), user="ann", refuse=Refuse("never asked"))[0] == []
    assert refusal(accounts.removed_user, users("ann"), user="ann", refuse=Refuse("it is us")) == "refused: it is us"
    assert refusal(accounts.removed_user, users(), user="root", refuse=Refuse()) == "root cannot be removed"


def test_what_an_earlier_operation_will_make_is_missed_only_when_the_run_is_carried_out():
    given = {"user": "ann", "keys": ["ssh-ed25519 AAAA1 a"]}
    assert run(accounts.user, users(), user="ann", group="ops")[0]
    assert run(keys.authorized_keys, users(), **given)[0]
    said = refusal(accounts.user, users(), Executing(), user="ann", group="ops")
    assert said == "user ann: there is no group ops on this host"
    assert refusal(keys.authorized_keys, users(), Executing(), **given) == "there is no user ann on this host"


def test_a_block_is_refused_for_our_own_address_before_anything_is_done():
    facts = {"fixes.Blocks": ["203.0.113.9/32"], "ssh.SshConnection": CONNECTION}
    commands, _ = run(fixes.blocked, facts, address="203.0.113.7", minutes=5, refuse=Refuse())
    assert len(commands) == 1
    assert commands[0].index("--on-active=5min") < commands[0].index("-A PHOTON-FLEET-BLOCK -s 203.0.113.7/32 -j DROP")
    assert run(fixes.blocked, facts, address="203.0.113.9", minutes=5, refuse=Refuse("never asked"))[0] == []
    assert refusal(fixes.blocked, facts, address="203.0.113.7", minutes=5, refuse=Refuse("us")) == "refused: us"
    assert "10080" in refusal(fixes.blocked, facts, address="203.0.113.7", minutes=99999, refuse=Refuse())


def test_a_key_is_replaced_with_its_options_and_never_doubled():
    old, new = "ssh-ed25519 AAAAAAAA1 old", "ssh-ed25519 AAAAAAAA2 new"
    other = 'command="exec ssh-agent AAAAAAAA1" ssh-ed25519 AAAAAAAA3 other'
    tabs = 'command="ssh-agent bash"\tssh-ed25519\tAAAAAAAA1'
    lines = [f"no-pty {old}", "# kept", old, other]
    assert keys.with_key_replaced(lines, old, new) == [f"no-pty {new}", "# kept", other]
    assert keys.with_key_replaced([tabs], old, new) == [f'command="ssh-agent bash"\t{new}']
