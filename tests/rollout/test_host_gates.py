"""Gates that look at hosts: what is made of what a host has said, and of what it has not."""

from __future__ import annotations

import pytest

from deploys._verify import _line, _status
from deploys.rollout.gate_kinds import ContainerGate, HostCommandGate
from deploys.rollout.host_gates import _containers, ended, judged, proved
from deploys.rollout.model import Answer
from deploys.statuses import Status
from deploys.verify import Verdict


@pytest.mark.parametrize(("text", "answer"), [
    ("", Answer.INCONCLUSIVE),
    ("\n", Answer.INCONCLUSIVE),
    ("/web\trunning\t0\talways\t\n", Answer.PASS),
    ("/web\trunning\t0\talways\thealthy\n/job\texited\t0\tno\t\n", Answer.PASS),
    ("/job\texited\t0\ton-failure\tunhealthy\n", Answer.PASS),
    ("/web\trunning\t0\talways\tstarting\n", Answer.INCONCLUSIVE),
    ("/web\trunning\t0\talways\tstarting\n/db\trestarting\t1\talways\t\n", Answer.FAIL),
    ("/web\trunning\t0\talways\tunhealthy\n", Answer.FAIL),
    ("/web\texited\t137\tno\t\n", Answer.FAIL),
    ("/web\texited\t0\tunless-stopped\t\n", Answer.FAIL),
    ("/web\texited\t0\talways\t\n", Answer.FAIL),
    ("/web\tpaused\t0\talways\t\n", Answer.FAIL),
    ("rubbish\n", Answer.FAIL),
])  # fmt: skip
def test_containers(text, answer) -> None:
    assert judged(text)[0] is answer


def test_what_is_wrong_with_a_container_is_said() -> None:
    assert judged("/shop\texited\t0\talways\t\n")[1] == "container shop: exited with 0, restart policy always"
    assert judged("/shop\trunning\t0\talways\tunhealthy\n")[1] == "container shop: running unhealthy"


class _Host:
    """A host whose commands end as the test says."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = list(answers)

    def run(self, _: str):
        status, out = self.answers.pop(0)
        return type("Result", (), {"rc": status, "stdout": out, "stderr": ""})


@pytest.mark.parametrize(("answers", "said"), [
    ([(0, "")], (Answer.INCONCLUSIVE, "no container has its label")),
    ([(1, "")], (Answer.INCONCLUSIVE, "docker ended with 1")),
    ([(0, "a1\n"), (1, "")], (Answer.INCONCLUSIVE, "docker ended with 1")),
    ([(0, "a1\n"), (0, "/web\trunning\t0\talways\t\n")], (Answer.PASS, "")),
])  # fmt: skip
def test_a_host_without_the_containers_that_are_looked_for_cannot_tell(monkeypatch, answers, said) -> None:
    host = _Host(*answers)
    monkeypatch.setattr("deploys.rollout.host_gates.testinfra_host", lambda _: host)
    assert _containers(ContainerGate(name="shop", label="shop=1"), None) == said
    assert host.answers == []


@pytest.mark.parametrize(("status", "answer"), [
    (0, Answer.PASS), (75, Answer.INCONCLUSIVE), (1, Answer.FAIL), (124, Answer.INCONCLUSIVE),
    (137, Answer.INCONCLUSIVE), (143, Answer.FAIL),
])  # fmt: skip
def test_a_command_that_had_to_be_killed_cannot_tell(status, answer) -> None:
    assert ended(HostCommandGate(name="own", command=("x",)), status, "", "")[0] is answer


def verdict(*, passed: bool, unanswered: bool = False) -> Verdict:
    return Verdict("web-1", "ssh", "ssh.x", "x", "it is so", passed, "a", "no answer: cut", unanswered=unanswered)


def test_a_proof_that_was_cut_off_cannot_tell() -> None:
    good, bad, lost = verdict(passed=True), verdict(passed=False), verdict(passed=False, unanswered=True)
    assert proved([good, good]) == (Answer.PASS, "")
    assert proved([lost, bad]) == (Answer.FAIL, "ssh: not true that it is so")
    words = "1 of 2 checks could not be read, the first of ssh: no answer: cut"
    assert proved([good, lost]) == (Answer.INCONCLUSIVE, words)


def test_verify_tells_what_is_not_known_from_what_is_not_so() -> None:
    good, bad, lost = verdict(passed=True), verdict(passed=False), verdict(passed=False, unanswered=True)
    assert _status({"web-1": [good]}, {}) is Status.CLEAN
    assert _status({"web-1": [good]}, {"web-2": "no route"}) is Status.UNREACHABLE
    assert _status({"web-1": [good, lost]}, {}) is Status.UNREACHABLE
    assert _status({"web-1": [lost], "web-2": [bad]}, {}) is Status.DRIFT
    assert _line("web-1", [good, lost]) == "web-1: NOT KNOWN; 1 of 2 checks passed, 1 could not be read"
    assert _line("web-1", [bad, lost]) == "web-1: FAILED; 0 of 2 checks passed, 1 could not be read"
    assert _line("web-1", [good]) == "web-1: ok; 1 of 1 checks passed"
