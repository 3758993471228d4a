"""What a person sees of a rollout that is under way."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from deploys.rollout.decide import Wait
from deploys.rollout.display import showing, table
from deploys.rollout.model import Spec
from deploys.rollout.results import read_results
from deploys.rollout.store.reports import progress
from deploys.rollout.voice import Voice
from tests.rollout.played import World

WAIT = Wait(datetime(2026, 3, 29, 12, tzinfo=UTC), "the bake of wave 1")


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path / "state")


def test_a_table_on_a_terminal(world) -> None:
    world.become(0, {"web-0": "failed"})
    ident = world.begin([[1], [2, 1]], Spec())
    world.play(ident)
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=False).print(table(progress(world.store, ident), WAIT))
    text = out.getvalue()
    assert "1/1" in text
    assert "0/3" in text
    assert "web-0: failed" in text
    assert "waits for the bake of wave 1 until 2026-03-29 12:00:00 UTC" in text


def test_lines_elsewhere_each_once(world, capsys) -> None:
    ident = world.begin([[1], [2]], Spec())
    with showing(lambda: progress(world.store, ident), Voice()) as tell:
        tell(WAIT)
        tell(WAIT)
        world.play(ident)
        tell(WAIT)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[2].partition(";")[0] for line in lines] == [
        "rollout 1 running: wave 1 of 2 waiting, 0 of 3 hosts done",
        "rollout 1 done: all waves passed, 3 of 3 hosts done",
    ]


def test_what_a_host_says_commands_no_terminal(tmp_path) -> None:
    said = tmp_path / "said"
    entry = {"verdict": "failed", "changes": 0, "words": "bad\x1b]0;owned\x07 [red]x[/red]\n\x9b2Jü"}
    said.write_text(json.dumps({"version": 1, "hosts": {"web-1": entry}}))
    lost = "\N{REPLACEMENT CHARACTER}"
    assert read_results(said)["web-1"].words == f"bad{lost}]0;owned{lost} [red]x[/red]\n{lost}2Jü"
