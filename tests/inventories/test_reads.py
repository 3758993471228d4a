"""What is read together, when an answer holds, and what happens when a batch does not run as one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from inventories._batch import Answer, BatchError
from inventories._reads import KEEP_BYTES, MEMORY_SECONDS, Reads

KNOWN = [f"c{number}" for number in range(16)]


class FakeHost:
    """Counts batches; answers each command with its name and the number of changes so far."""

    def __init__(self, known: Sequence[str] = KNOWN) -> None:
        self.batches: list[list[str]] = []
        self.now = 1000.0
        self.changes = 0
        self.odd: dict[str, Answer | None] = {}
        self.reads = Reads(self.run, {"execute": known, "proof": ["p1", "p2"]}, clock=lambda: self.now)
        self.reads.enter("execute")

    def run(self, commands: Sequence[str]) -> list[Answer]:
        self.batches.append(list(commands))
        answers = []
        for command in commands:
            answer = self.odd.get(command, Answer(0, f"{command} {self.changes}".encode(), b""))
            if answer is None:
                break
            answers.append(answer)
        return answers

    def ask(self, command: str, asker: object = "op") -> str:
        answer = self.reads.answer(command, asker)
        if answer is None:
            self.batches.append([f"alone: {command}"])
            return f"{command} {self.changes}"
        return answer.out.decode()

    def change(self) -> None:
        self.changes += 1
        self.reads.forget()


def test_the_first_read_brings_all_others() -> None:
    host = FakeHost()
    for command in KNOWN:
        assert host.ask(command) == f"{command} 0"
    assert host.batches == [KNOWN]


def test_the_number_of_batches_does_not_grow_with_the_number_of_reads() -> None:
    many = [f"c{number}" for number in range(500)]
    host = FakeHost(many)
    for command in many:
        host.ask(command)
    assert len(host.batches) == 1


def test_what_was_asked_comes_first_even_when_it_is_unknown() -> None:
    host = FakeHost()
    assert host.ask("new") == "new 0"
    assert host.batches == [["new", *KNOWN]]


def test_after_a_change_nothing_old_is_answered_and_groups_grow() -> None:
    host = FakeHost()
    host.ask("c0")
    host.change()
    for command in KNOWN[1:]:
        assert host.ask(command) == f"{command} 1"
    assert host.batches[1:] == [KNOWN[1:2], KNOWN[2:4], KNOWN[4:8], KNOWN[8:16]]


def test_changes_between_reads_never_leave_an_old_answer() -> None:
    host = FakeHost()
    for round_, command in enumerate(KNOWN):
        assert host.ask(command) == f"{command} {round_}"
        host.change()


def test_who_asks_twice_gets_a_fresh_answer() -> None:
    host = FakeHost()
    assert host.ask("c0", "waits") == "c0 0"
    host.changes += 1  # by somebody else
    assert host.ask("c0", "waits") == "c0 1"
    assert host.ask("c1", "waits") == "c1 1"


def test_what_arrives_after_a_change_is_not_kept() -> None:
    host = FakeHost()
    plain = host.reads._run

    def slow(commands: Sequence[str]) -> Sequence[Answer]:
        answers = plain(commands)
        host.change()
        return answers

    host.reads._run = slow
    assert host.ask("c0") == "c0 0"
    host.reads._run = plain
    assert host.ask("c1") == "c1 1"


def test_others_share_an_answer() -> None:
    host = FakeHost()
    assert [host.ask("c0", asker) for asker in ("one", "two", "three")] == ["c0 0"] * 3
    assert len(host.batches) == 1


def test_a_repeated_read_is_found_again_by_its_place() -> None:
    host = FakeHost(["list", "a", "list", "b", "list", "c"])
    host.ask("list", 1)
    host.change()
    for asker, command in enumerate(["a", "list", "b", "list", "c"]):
        host.ask(command, asker)
    assert host.batches[1:3] == [["a"], ["list", "b"]]


def test_an_answer_does_not_hold_for_ever() -> None:
    host = FakeHost()
    host.ask("c0")
    host.changes += 1
    host.now += MEMORY_SECONDS + 1
    assert host.ask("c1") == "c1 1"
    assert len(host.batches) == 2
    assert len(host.batches[1]) == len(KNOWN)


def test_a_phase_reads_anew() -> None:
    host = FakeHost()
    host.ask("c0")
    host.reads.enter("proof")
    host.reads.ahead(["p1", "p3"])
    assert host.batches[1] == ["p1", "p3", "p2"]
    assert [host.ask(command, "proof") for command in ("p1", "p2", "p3")] == ["p1 0", "p2 0", "p3 0"]
    assert len(host.batches) == 2
    host.reads.enter("execute")
    host.ask("c0")
    assert len(host.batches[2]) == len(KNOWN)


def test_a_command_that_holds_the_batch_up_is_left_out_from_then_on() -> None:
    host = FakeHost()
    host.odd["c5"] = None
    assert host.ask("c0") == "c0 0"
    assert host.batches == [KNOWN]
    assert host.ask("c4") == "c4 0"
    assert len(host.batches) == 1
    host.ask("c5")
    assert host.batches[-1] == ["alone: c5"]
    host.ask("c6")
    assert "c5" not in host.batches[-1]
    assert "c5" not in host.reads.learned()["execute"]


def test_one_that_holds_up_its_own_batch_is_run_alone() -> None:
    host = FakeHost()
    host.odd["c0"] = None
    assert host.ask("c0") == "c0 0"
    assert host.batches == [KNOWN, ["alone: c0"]]


@pytest.mark.parametrize("status", [126, 127])
def test_what_could_not_be_started_is_asked_alone(status: int) -> None:
    host = FakeHost()
    host.odd["c1"] = Answer(status, b"", b"sh: sudo: not found")
    host.ask("c0")
    host.ask("c1")
    assert host.batches[-1] == ["alone: c1"]


def test_a_long_answer_is_given_once_and_not_kept() -> None:
    host = FakeHost()
    host.odd["c0"] = Answer(0, b"x" * (KEEP_BYTES + 1), b"")
    assert len(host.ask("c0")) == KEEP_BYTES + 1
    host.ask("c0", "another")
    assert host.batches[-1] == ["alone: c0"]
    assert "c0" not in host.reads.learned()["execute"]


def test_a_host_that_cannot_batch_is_read_alone_and_the_reason_is_kept() -> None:
    host = FakeHost()

    def refuse(_: Sequence[str]) -> list[Answer]:
        raise BatchError("no place for named pipes")

    host.reads._run = refuse
    assert [host.ask(command) for command in ("c0", "c1")] == ["c0 0", "c1 0"]
    assert host.reads.off == "no place for named pipes"


def test_without_a_profile_each_read_is_a_batch_of_its_own_and_shared() -> None:
    host = FakeHost([])
    for asker, command in enumerate(["a", "b", "a"]):
        host.ask(command, asker)
    assert host.batches == [["a"], ["b"]]


def test_what_was_asked_is_learned_in_order_with_repeats() -> None:
    host = FakeHost([])
    for asker, command in enumerate(["a", "b", "a"]):
        host.ask(command, asker)
    assert host.reads.learned() == {"execute": ["a", "b", "a"]}
