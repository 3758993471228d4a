"""What commands say for programs: a JSON object on each line, and for people sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from deploys.__main__ import COMMANDS
from deploys.rollout.cli import begun
from deploys.rollout.model import Budget, Spec
from deploys.rollout.voice import SCHEMA, Voice
from tests.rollout.played import ROOT, World, new

OTHER_FORMATS = {
    "rules": "for people", "seed": "its output is what it makes", "database": "for people", "report": "--format json",
    "metrics": "for Prometheus", "web": "for a browser",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - OTHER_FORMATS))
def test_every_command_has_words_for_programs(name: str) -> None:
    command = getattr(import_module(COMMANDS[name]), name)
    assert "--json" in [option for each in command.params for option in each.opts]


def test_a_rollout_line_by_line(tmp_path, capsys) -> None:
    world = World(tmp_path / "state", bad={"web-2": "failed"})
    with pytest.raises(SystemExit) as ended:
        begun(world.place, world.store, new([[1], [2]], Spec()), Voice(as_json=True), stay=True)
    assert ended.value.code == 5
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["schema"] for line in lines} == {SCHEMA}
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert (lines[0]["event"], lines[0]["rollout"]) == ("begun", 1)
    assert {line["event"] for line in lines[1:-1]} <= {"waits"}
    assert (lines[-1]["event"], lines[-1]["progress"]["state"]) == ("ended", "stopped")
    assert [each["host"] for each in lines[-1]["progress"]["unwell"]] == ["web-2"]


@pytest.mark.parametrize(
    "words",
    [("pause", "1"), ("rollout", "no/such.py", "--why", "a test", "--revision", "no-such-commit"), ("status", "7")],
)
def test_what_is_said_from_another_terminal(tmp_path, words: tuple[str, ...]) -> None:
    world = World(tmp_path / "state")
    world.begin([[1]])
    done = subprocess.run(
        [sys.executable, "-m", "deploys", *words, "--json"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PHOTON_FLEET_STATE": str(world.place.state)},
    )  # fmt: skip
    if words[0] == "pause":
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert (said["event"], said["rollout"]) == ("pause", 1)
        assert said["words"].startswith("rollout 1: nothing new is begun")
    else:
        # A refusal is one sentence on the error stream, and a status.
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("bad", "spec", "status", "event"),
    [
        ({}, Spec(approvals=frozenset({1})), 8, "left"),
        ({}, Spec(), 0, "ended"),
        ({"web-1": "unreachable"}, Spec(unreachable=Budget(wave=1)), 6, "ended"),
        (
            {"web-1": "unreachable", "web-2": "failed"},
            Spec(failed=Budget(wave=1), unreachable=Budget(wave=1)),
            4,
            "ended",
        ),
    ],
)
def test_the_status_says_what_the_budgets_have_put_up_with(tmp_path, capsys, bad, spec, status: int, event) -> None:
    world = World(tmp_path / "state", bad=bad)
    with pytest.raises(SystemExit) as ended:
        begun(world.place, world.store, new([[1], [3]], spec), Voice(as_json=True), stay=False)
    assert ended.value.code == status
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == event
