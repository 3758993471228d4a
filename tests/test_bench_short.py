"""The benchmark's short form on lab hosts: it has figures for every contender, whatever they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.bench.contenders import ROOT
from tests.lab import life

pytestmark = pytest.mark.lab

LAB = {"BENCH_LAB_NAME": "photon-btest", "BENCH_LAB_NET": "10.88.0"}


def test_the_short_form_measures_every_contender_and_leaves_nothing(tmp_path, monkeypatch) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--short", "--json", figures, "--charts", tmp_path],
        cwd=ROOT, env={**os.environ, **LAB}, text=True, capture_output=True, check=False, timeout=300,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = json.loads(figures.read_text())["runs"]
    assert [run["contender"] for run in runs] == ["ours", "stock", "floor"]
    for run in runs:
        assert run["error"] is None
        assert run["changes"] == 0
        assert all(
            run["figures"][key] > 0 for key in ("wall", "cpu", "memory", "round_trips", "bytes_up", "bytes_down")
        )
        assert run["figures"]["connections"] >= run["hosts"] == 2
    assert "stock/ours" in done.stdout
    assert (tmp_path / "bench-noop.svg").exists()
    monkeypatch.setenv("LAB_NAME", LAB["BENCH_LAB_NAME"])
    assert life.leftovers() == []
