"""Reads in batches: the same answers as one by one, in two round trips, and a clear end when a host misbehaves."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyinfra.api import StringCommand

from deploys.verify.session import Session, connect, loaded
from inventories._batch import Batch
from inventories._exec import run_batch
from inventories._profiles import directory
from tests.bench.proxy import Proxy
from tests.converge.conftest import HOSTS, INVENTORY, converge, dry
from tests.converge.reads import deploy, execs
from tests.inventories.test_batch import command

pytestmark = pytest.mark.lab

ALONE = ("--data", "ssh_batched_reads=false")
PLAIN_FILES = """
from operations import file
for number in range({count}):
    file.text(name=f"File {{number}}", path=f"/etc/photon-fleet-test/{{number}}", content=str(number))
"""


@pytest.fixture
def session(converged):
    with loaded(INVENTORY, HOSTS) as opened:
        connect(opened)
        assert opened.unreachable == {}
        yield opened


def test_a_converged_host_costs_two_execs(converged) -> None:
    # The first may still mend what other tests have left, and read more for that.
    for _ in range(2):
        converge()
    done = converge("--debug")
    assert {host: len(found) for host, found in execs(done).items()} == dict.fromkeys(HOSTS, 2)
    assert min(sum(found) for found in execs(done).values()) > 40


MORE_USERS = """Accounts(
    users=[U(name=f"user{number}", groups=["operators"], keys=[KEY], only_keys=True) for number in range(7)],
    sudo=[S(name="users", who=["user1"], commands=["/usr/bin/less"])],
)"""
IMPORTS = """
from deploys.policies.accounts_models import Sudo as S, User as U
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVycm9yIG5vdCBhIHJlYWwga2V5IGJ1dCB2YWxpZA"
"""


def test_a_host_with_everything_has_more_than_sixty_operations_and_costs_two_execs(converged, variant) -> None:
    inventory = variant({"web-1": MORE_USERS}, IMPORTS)
    only = ("--limit", "web-1")
    try:
        for _ in range(2):
            assert converge(*only, inventory=inventory).status == 0
        done = converge("--debug", *only, inventory=inventory)
        assert done.line("web-1: ok; 0 changes; ")
        assert done.err.count("--> Starting operation: ") >= 60
        assert len(execs(done)["web-1"]) == 2
    finally:
        gone = ", ".join(repr(f"user{number}") for number in range(7))
        assert converge(*only, inventory=variant({"web-1": f"Accounts(absent_users=[{gone}])"})).status == 0


def test_the_number_of_execs_does_not_grow_with_the_number_of_operations(converged, tmp_path) -> None:
    counts = {}
    for count in (2, 60):
        text = PLAIN_FILES.format(count=count)
        for _ in range(2):
            assert deploy(tmp_path / "files.py", text).status == 0
        counts[count] = execs(deploy(tmp_path / "files.py", text, "--debug"))["db-1"]
    assert counts == {2: [2], 60: [60]}


def test_round_trips_on_the_wire_do_not_grow_with_the_number_of_operations(converged, lab, address, tmp_path) -> None:
    proxy = Proxy()
    try:
        port = proxy.listen({"db-1": (address("db-1"), 22)})["db-1"]
        key = lab.seed.host_key(lab.seed.specs()["db-1"])
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
        how = {"ssh_hostname": "127.0.0.1", "ssh_port": port, "ssh_known_hosts_file": tmp_path / "known_hosts"}
        options = [word for name, value in how.items() for word in ("--data", f"{name}={value}")]
        found = {}
        for count in (2, 60):
            seen = []
            # A busy machine sends an answer in more pieces, which SSH acknowledges: the best of three counts.
            for _ in range(5):
                proxy.reset(0.0)
                assert deploy(tmp_path / "files.py", PLAIN_FILES.format(count=count), *options).status == 0
                seen.append(proxy.counts())
            found[count] = min(seen[2:], key=lambda counts: counts.round_trips)
    finally:
        proxy.close()
    assert [counts.connections for counts in found.values()] == [1, 1]
    # Handshake and login are 8 of them; a batch is two, and SSH may acknowledge a long answer in between.
    assert abs(found[60].round_trips - found[2].round_trips) <= 2
    assert found[60].round_trips <= 14


def test_a_proof_without_a_profile_needs_few_execs(converged, tmp_path) -> None:
    done = converge("--debug", "--limit", "edge-1", XDG_CACHE_HOME=str(tmp_path))
    assert done.line("edge-1: ok; 0 changes; ")
    (again,) = execs(converge("--debug", "--limit", "edge-1", XDG_CACHE_HOME=str(tmp_path))).values()
    proof_at_once = again[1]
    (first,) = execs(done).values()
    rounds = first[-6:]
    assert rounds[0] > proof_at_once // 2
    # Before them a fact is read when it is asked for, and none twice.
    assert len(first) <= again[0] + len(rounds)


def test_each_deploy_file_has_its_own_profile(converged, tmp_path) -> None:
    assert converge("--limit", "edge-1").status == 0
    for _ in range(2):
        deploy(tmp_path / "files.py", PLAIN_FILES.format(count=7), limit="edge-1")
    counts = execs(converge("--debug", "--limit", "edge-1"))["edge-1"]
    assert len(counts) == 2
    assert execs(deploy(tmp_path / "files.py", PLAIN_FILES.format(count=7), "--debug", limit="edge-1"))["edge-1"] == [7]


@pytest.fixture(scope="module")
def known_commands(converged, tmp_path_factory) -> list[str]:
    """What a run of the main job reads. In a place of its own: other tests' reads include some that never repeat."""
    place = tmp_path_factory.mktemp("cache")
    assert converge("--limit", "web-1", XDG_CACHE_HOME=str(place)).status == 0
    texts = (json.loads(path.read_text())["commands"] for path in place.rglob("*.json"))
    return list(dict.fromkeys(command for commands in texts for command in commands))


def alone(transport, line: str) -> tuple[int, bytes, bytes]:
    channel = transport.open_session()
    channel.exec_command(line)
    channel.shutdown_write()
    out, err = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
    return channel.recv_exit_status(), out, err


def different(session: Session, name: str, commands: list[str]) -> list[str]:
    """Commands whose answer in a batch is not, byte for byte, the one that they give alone."""
    transport = session.state.inventory.get_host(name).connector.client.get_transport()
    for _ in range(4):
        # What changes by itself (the log of a health check) is asked again.
        answers = run_batch(transport, Batch(commands))
        found = {line: (each.status, each.out, each.err) for line, each in zip(commands, answers, strict=True)}
        commands = [line for line in commands if alone(transport, line) != found[line]]
    return commands


@pytest.mark.parametrize("state", ["half", "converged"])
def test_every_read_of_the_policies_answers_the_same_bytes(known_commands, lab, state: str) -> None:
    assert len(known_commands) > 60
    if state == "half":
        lab.reset("web-1")
        assert converge("--limit", "web-1", "--data", "only=packages,ssh").status == 0
    with loaded(INVENTORY, ["web-1"]) as fresh:
        connect(fresh)
        assert different(fresh, "web-1", known_commands) == []
    assert converge("--limit", "web-1").status == 0


def settled(text: str) -> object:
    """A `--json` result without what no two runs have in common."""
    return json.loads(re.sub(r'"(duration|started|ended)[^"]*": [^,}]+', '"time": 0', text))


def test_plans_and_results_are_the_same(converged, lab) -> None:
    plans, results = [], []
    for how in ((), ALONE):
        lab.reset("web-1")
        # Half of it: some operations change something, and some do not.
        assert converge("--limit", "web-1", "--data", "only=packages,ssh").status == 0
        plan = dry("--json", "--limit", "web-1", *how)
        assert plan.status == 0
        plans.append(settled(plan.out))
        result = converge("--json", "--limit", "web-1", *how)
        assert result.status == 0, result.all
        results.append((settled(result.out), result.line("web-1: ")))
    assert plans[0] == plans[1]
    assert results[0] == results[1]


def test_odd_output_is_the_same_for_pyinfra(session) -> None:
    batched = session.state.inventory.get_host("db-1").connector
    with loaded(INVENTORY, ["db-1"]) as other:
        other.hosts[0].data.ssh_batched_reads = False
        other.hosts[0].init(other.state)
        connect(other)
        plain = other.hosts[0].connector
        assert plain._reads is None

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(command(), min_size=1, max_size=4, unique=True))
        def same(lines: list[str]) -> None:
            asked = [StringCommand(line.removeprefix("sh -c ")) for line in lines]
            asked = [StringCommand("sh -c", *each.bits) for each in asked]
            found = []
            for connector in (batched, plain):
                with connector.reading(f"round {time.monotonic()}"):
                    connector.read_ahead(asked)
                    answers = [
                        connector.run_shell_command(each, print_output=False, print_input=False) for each in asked
                    ]
                found.append([(ok, output.stdout_lines, output.stderr_lines) for ok, output in answers])
            assert found[0] == found[1]

        same()


def test_a_masked_value_is_in_no_profile(converged, tmp_path) -> None:
    text = """
from pyinfra import host
from pyinfra.api import FactBase, HiddenValue, QuoteString, StringCommand
class Masked(FactBase):
    def command(self):
        return StringCommand("echo", QuoteString(HiddenValue("planted-0815")), "| wc -c")
for _ in range(3):
    assert host.get_fact(Masked) == "13"
from pyinfra.facts.server import Command
host.get_fact(Command, command="echo open")
host.get_fact(Command, command='echo "$TOKEN"', _env={"TOKEN": "planted-4711"})
"""
    assert deploy(tmp_path / "masked.py", text).status == 0
    kept = "".join(path.read_text() for path in directory().iterdir())
    assert "echo open" in kept
    assert "planted" not in kept
