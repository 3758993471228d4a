"""A checkout's answers: whatever its inventory, and the programs that this starts, say besides."""

from __future__ import annotations

import pytest

from deploys.refusal import Refusal
from deploys.rollout import members
from deploys.rollout.model import Answer, WaveHosts
from tests.rollout.played import ROOT

WAVE = WaveHosts(0, ("web-1", "web-2"), ("web-3", "web-4", "web-5"))


TALKS = """
from deploys.policies.files import File, Files
from deploys.rollout.settings import CommandGate, Rollout
from inventories._fleet import fleet, host
print("an inventory that says things")
hosts = fleet(host("web-1", Files(files=[File(path="/etc/motd", content="new")])), connector="fake")
rollout = Rollout(gates=[CommandGate(name="look", command=["printf", {said!r}])])
"""


def test_an_inventory_that_prints_is_read_and_its_gates_are_asked(tmp_path) -> None:
    (tmp_path / "fleet.py").write_text(TALKS.format(said="all\\033]0;owned\\007 is well"))
    inventory = str(tmp_path / "fleet.py")
    assert [each.name for each in members.members(ROOT, inventory, ()).hosts] == ["@fake/web-1"]
    answer, words = members.ask(ROOT, inventory, "look", WAVE, 60)
    assert answer is Answer.PASS
    # What a gate says is shown on terminals.
    assert words == "all\ufffd]0;owned\ufffd is well"


PROGRAMS = """
import os
os.system("echo hi; echo 'error: none of ours' >&2; printf '\\\\377\\n' >&2")
"""
AT_ITS_END = """
import atexit
atexit.register(os.system, "echo bye")
"""


def test_programs_of_an_inventory_may_say_what_they_like(tmp_path) -> None:
    path = tmp_path / "fleet.py"
    path.write_text(PROGRAMS + AT_ITS_END + TALKS.format(said="well"))
    assert [each.name for each in members.members(ROOT, str(path), ()).hosts] == ["@fake/web-1"]
    assert members.ask(ROOT, str(path), "look", WAVE, 60) == (Answer.PASS, "well")
    path.write_text(PROGRAMS + "raise ValueError('of an author')")
    with pytest.raises(Refusal, match=r"^the inventory cannot be read: .*fleet\.py:4: ValueError: of an author$"):
        members.members(ROOT, str(path), ())


@pytest.mark.parametrize(
    "said", ["", "hi", "[]", "{}", '{"hosts": 1}', '{"hosts": [{"name": 1}]}', '{"answer": "yes"}']
)
def test_what_is_no_answer_of_a_checkout_is_refused_by_a_sentence(tmp_path, said) -> None:
    """As of a commit with other code, or of one whose inventory ends the process."""
    program = tmp_path / "deploys/rollout/members.py"
    program.parent.mkdir(parents=True)
    for package in (program.parent, program.parent.parent):
        (package / "__init__.py").touch()
    program.write_text(f"print({said!r})")
    with pytest.raises(Refusal, match=r"^the answer of its checkout cannot be understood \(.*members fleet\.py` giv"):
        members.members(tmp_path, "fleet.py", ())
    answer, words = members.ask(tmp_path, "fleet.py", "look", WAVE, 60)
    assert answer is Answer.INCONCLUSIVE
    assert words.startswith("the answer of its checkout cannot be understood")


BREAKS = """
from deploys.rollout.settings import CommandGate, Rollout
class Breaks(tuple):
    def __iter__(self):
        raise RuntimeError("s3cret")
rollout = Rollout(gates=[CommandGate(name="look", command=["true"]).model_copy(update={"command": Breaks()})])
"""


def test_a_gate_that_breaks_says_no_word_of_what_it_was_given(tmp_path) -> None:
    (tmp_path / "fleet.py").write_text(BREAKS)
    assert members.ask(ROOT, str(tmp_path / "fleet.py"), "look", WAVE, 60) == (
        Answer.INCONCLUSIVE, "it could not be asked: RuntimeError"
    )  # fmt: skip
