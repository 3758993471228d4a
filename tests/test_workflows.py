"""The workflows of docs/workflows: pinned, with the least rights, and of commands that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deploys.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
GITHUB = sorted((ROOT / "docs/workflows/github").glob("*.yml"))
GITLAB = ROOT / "docs/workflows/gitlab-ci.yml"


def jobs(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())["jobs"]


def scripts(path: Path) -> Iterator[str]:
    read = yaml.safe_load(path.read_text())
    for job in (read["jobs"] if path in GITHUB else read).values():
        if isinstance(job, dict):
            yield from (step["run"] for step in job.get("steps", ()) if "run" in step)
            lines = [*job.get("script", ()), *job.get("after_script", ())]
            yield from ("\n".join(line) if isinstance(line, list) else line for line in lines)


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_actions_are_pinned_and_have_the_least_rights(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"uses: (\S+)", text) == re.findall(r"uses: ([\w-]+/[\w-]+@[0-9a-f]{40}) # v[\d.]+", text)
    assert yaml.safe_load(text)["permissions"] == {}
    # "on" is YAML 1.1's true.
    assert "pull_request_target" not in yaml.safe_load(text)[True]
    for job in jobs(path).values():
        writes = {name for name, right in job["permissions"].items() if right == "write"}
        assert writes <= {"pull-requests"}
        # Who may write runs nothing of a change, and never on the machine with the fleet's keys.
        assert not writes or (job["runs-on"], "checkout" in str(job)) == ("ubuntu-latest", False)
        assert all(step.get("with", {}).get("persist-credentials", False) is False for step in job["steps"])


@pytest.mark.parametrize("path", [*GITHUB, GITLAB], ids=lambda path: path.name)
def test_nothing_from_outside_becomes_part_of_a_script(path: Path) -> None:
    for script in scripts(path):
        assert "${{" not in script
        assert not re.search(r"(?i)echo[^\n]*\$\{?\w*(token|secret|password)|set -x", script)


@pytest.mark.parametrize("path", [*GITHUB, GITLAB], ids=lambda path: path.name)
def test_the_commands_are_those_of_the_command_line(path: Path) -> None:
    """Each is parsed by the command line itself: names of commands and options, and what is required."""
    found = [line for script in scripts(path) for line in re.findall(r"\.venv/bin/photon-fleet ([^|>\n]+)", script)]
    assert found
    for line in found:
        name, *words = shlex.split(line)
        command = main.get_command(click.Context(main), name)
        assert command is not None, name
        command.make_context(name, words)
