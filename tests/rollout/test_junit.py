"""JUnit reports are as red as the rollout: hosts that are well may have been stopped, or gone back."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from deploys.__main__ import main
from deploys.rollout.model import Answer, OnFail, Spec, State
from deploys.rollout.store.commands import Commands
from tests.rollout.played import World


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    monkeypatch.setenv("PHOTON_FLEET_STATE", str(tmp_path / "state"))
    return World(tmp_path / "state")


def cases(*words: str) -> dict[str, str]:
    """Of the cases of the rollout itself: what became of each."""
    ran = CliRunner().invoke(
        main, ["report", *words, "--format", "junit"], catch_exceptions=False, standalone_mode=False
    )
    found = ET.fromstring(ran.output)  # noqa: S314 - ours
    suite = found.find("testsuite")
    all_of_them = list(found.iter("testcase"))
    for tag, name in (("failure", "failures"), ("skipped", "skipped")):
        assert int(suite.get(name)) == sum(case.find(tag) is not None for case in all_of_them)
    assert int(suite.get("tests")) == len(all_of_them)
    said = {}
    for case in all_of_them:
        if case.get("classname").startswith("rollout"):
            child = next(iter(case), None)
            said[case.get("name")] = "ok" if child is None else f"{child.tag}: {child.get('message')}"
    return said


def test_one_that_went_well_is_green(world) -> None:
    assert world.play(world.begin([[1], [1]], Spec(gates=("alerts",)))) is State.DONE
    assert set(cases("1").values()) == {"ok"}
    assert len(cases("1")) == 5
    assert cases() == {}


def test_one_that_a_gate_stopped_is_red(world) -> None:
    assert world.play(world.begin([[1], [1]], Spec(gates=("alerts",))), Answer.FAIL) is State.STOPPED
    found = cases("1")
    assert found["gate alerts of wave 1"] == "failure: as the test says"
    assert found["rollout"].startswith("failure: stopped: ")
    assert found["wave 1"].startswith("failure: failed: ")
    assert found["wave 2"] == "skipped: waiting"


def test_one_that_went_back_is_red(world) -> None:
    spec = Spec(gates=("alerts",), on_fail=OnFail.BACK_ALL)
    assert world.play(world.begin([[1], [1]], spec), Answer.FAIL) is State.WENT_BACK
    found = cases("1")
    assert found["rollout"].startswith("failure: went back")
    assert found["wave 1"].startswith("failure: ended")
    assert found["gate alerts of wave 1"].startswith("failure: ")


def test_what_cannot_tell_has_let_nothing_on(world) -> None:
    ident = world.begin([[1], [1]], Spec(gates=("alerts",)))
    assert world.play(ident, Answer.INCONCLUSIVE) is State.PAUSED
    assert cases("1")["gate alerts of wave 1"] == "failure: cannot tell: as the test says"
    assert cases("1")["rollout"].startswith("skipped: paused")
    Commands(world.store, "ann").say(ident, "abort")
    assert world.play(ident) is State.ABORTED
    assert cases("1")["rollout"].startswith("failure: aborted")
