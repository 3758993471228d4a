"""Checks are read together, in as few rounds as they allow, and judged one by one as before."""

from __future__ import annotations

import re
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from pyinfra.api import Config, State
from pyinfra.api.inventory import Inventory
from pyinfra.connectors.util import CommandOutput, OutputLine

from deploys.policies.base import Check
from deploys.policies.ssh import Ssh
from deploys.verify.verdicts import Proof

ANSWERS = {"echo a": "a", "echo b": "b", "echo which": "a", "cat a": "found", "echo broken": None}


class Connector:
    """A stand-in for a connected host: answers from a table, and notes what was read together."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.ran: list[str] = []
        self.phase: str | None = None

    @contextmanager
    def reading(self, phase: str, **_: bool):
        self.phase = phase
        yield
        self.phase = None

    def read_ahead(self, commands, **_) -> None:
        assert self.phase == "proof"
        self.rounds.append([self._plain(command) for command in commands])

    def run_shell_command(self, command, **_):
        assert self.phase == "proof"
        line = self._plain(command)
        self.ran.append(line)
        answer = ANSWERS[line]
        if answer is None:
            raise OSError("the link is down")
        lines = [OutputLine("stdout", answer), OutputLine("stdout", ""), OutputLine("stdout", "photon-fleet-status:0")]
        return True, CommandOutput(lines)

    @staticmethod
    def _plain(command) -> str:
        return re.match(r"\( (.*)\n\)", str(command))[1]


@pytest.fixture
def host():
    inventory = Inventory((["@fake/one"], {}))
    state = State(inventory, Config())
    (member,) = inventory
    connector = Connector()
    member.connector = connector
    return SimpleNamespace(
        name="one", state=state, data=member.data, connector=connector, run_shell_command=connector.run_shell_command,
        in_op=False, current_op_global_arguments=None, current_deploy_kwargs=None,
    )  # fmt: skip


def check(name: str, read, expect, **more) -> Check:
    return Check(id=name, field=name, proves=name, read=read, expect=expect, **more)


def test_checks_that_ask_one_thing_are_one_round(host) -> None:
    proof = Proof(host)
    checks = [check(name, lambda target, name=name: target.check_output(f"echo {name}"), name) for name in "ab"]
    proof.collect(checks)
    assert host.connector.rounds == [["echo a", "echo b"]]
    assert [proof.judge(Ssh(), each).passed for each in checks] == [True, True]
    assert host.connector.ran == ["echo a", "echo b"]


def test_what_depends_on_an_answer_is_one_round_more(host) -> None:
    calls = []

    def read(target) -> str:
        which = target.check_output("echo which")
        found = target.check_output("cat %s", which)
        calls.append(found)
        return found

    proof = Proof(host)
    checks = [check("two", read, "found"), check("one", lambda target: target.check_output("echo b"), "b")]
    proof.collect(checks)
    assert host.connector.rounds == [["echo which", "echo b"], ["cat a"]]
    assert [proof.judge(Ssh(), each).passed for each in checks] == [True, True]
    assert calls == ["found"]


def test_a_check_that_catches_everything_is_read_all_the_same(host) -> None:
    def read(target) -> str:
        try:
            return target.check_output("echo a")
        except Exception:  # noqa: BLE001 - as a careless check would
            return "nothing"

    proof = Proof(host)
    proof.collect([check("careless", read, "a")])
    assert proof.judge(Ssh(), check("careless", read, "a")).passed


def test_one_that_cannot_be_read_fails_alone(host) -> None:
    proof = Proof(host)
    checks = [
        check("broken", lambda target: target.check_output("echo broken"), "x"),
        check("fine", lambda target: target.check_output("echo a"), "a"),
        check("raises", lambda _: 1 / 0, "x"),
    ]
    proof.collect(checks)
    verdicts = [proof.judge(Ssh(), each) for each in checks]
    assert [verdict.passed for verdict in verdicts] == [False, True, False]
    assert "the link is down" in verdicts[0].actual
    assert "division by zero" in verdicts[2].actual


def test_what_the_host_did_not_answer_is_told_from_what_is_not_so(host) -> None:
    proof = Proof(host)
    checks = [
        check("broken", lambda target: target.check_output("echo broken"), "x"),
        check("behind", lambda target: target.check_output("echo a"), "a", needs="broken"),
        check("behind it", lambda target: target.check_output("echo a"), "a", needs="behind"),
        check("wrong", lambda target: target.check_output("echo a"), "b"),
        check("raises", lambda _: 1 / 0, "x"),
    ]
    proof.collect(checks)
    verdicts = [proof.judge(Ssh(), each) for each in checks]
    assert [verdict.passed for verdict in verdicts] == [False] * 5
    assert [verdict.unanswered for verdict in verdicts] == [True, True, True, False, False]


def test_without_collecting_each_is_read_when_it_is_judged(host) -> None:
    proof = Proof(host)
    assert proof.judge(Ssh(), check("a", lambda target: target.check_output("echo a"), "a")).passed
    assert host.connector.rounds == [["echo a"]]
