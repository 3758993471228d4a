"""The lab's stand-in for tdnf answers as the recordings of the real tdnf 3.5.9 do.

Every recorded run is replayed in a throwaway root file system and has to be as recorded (see `compare`), but for
those in tdnf-left-out.toml, whose claims are checked instead. At the end the run says how many cases are covered.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contract import left_out, replay
from tests.contract.compare import differences
from tests.lab import machine, scenario
from tests.lab.base import base_root, locked
from tests.lab.settings import cache_dir

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="replaying needs root: it mounts overlays and makes namespaces"),
]

# More than there are processors: some cases mostly sleep.
WORKERS = 4
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in scenario.Scenario(replay.TRANSCRIPTS).recordings()}
GROUPS = left_out.groups()
CLAIMS = {name: left_out.claim_of(name, GROUPS) for name in CASES}
REFUSED_STATUS = 70


def _named(claim: str | None) -> list[str]:
    return [name for name, claimed in CLAIMS.items() if claimed == claim]


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, dict[str, Any]]]:
    """What every case that is not ignored did in the replay."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="contract-", dir=cache_dir()))
    try:
        machine.prepare()
        base = base_root()
        with locked("scenario"):
            built = scenario.build(scenario.Scenario(replay.TRANSCRIPTS), cache_dir())
        places = [str(path) for path in (directory, base, built)]
        with _ended([replay.spawn("states", *places)]) as (states,):
            states.communicate()
            assert states.returncode == 0, "the start states could not be built; the reason is above"
        yield _replayed(places)
    finally:
        shutil.rmtree(directory)


def _replayed(places: list[str]) -> dict[str, dict[str, Any]]:
    names = sorted((name for name, claim in CLAIMS.items() if claim != "ignored"), key=_seconds, reverse=True)
    spawned = [replay.spawn("cases", *places, str(n), *names[n::WORKERS]) for n in range(WORKERS)]
    # Read at once: a worker whose pipe is full would stand still.
    with _ended(spawned) as workers, ThreadPoolExecutor(WORKERS) as readers:
        outputs = list(readers.map(lambda worker: worker.communicate()[0], workers))
    return {result["name"]: result for output in outputs for result in map(json.loads, output.splitlines())}


@contextmanager
def _ended(processes: list[subprocess.Popen[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """See to it that none of the processes outlives this, whatever happens."""
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _seconds(name: str) -> float:
    """How long a case took when it was recorded: the long ones go first."""
    return float(CASES[name]["duration_s"]) + 10 * ("concurrent" in CASES[name])


@pytest.mark.parametrize("name", _named(None))
def test_as_recorded(name: str, results: dict[str, dict[str, Any]]) -> None:
    case = CASES[name]
    found = differences(case, results[name])
    assert not found, "\n".join([f"{' '.join(case['argv'])}  ({case['state_before']})", *found])


@pytest.mark.parametrize("name", _named("differs"))
def test_still_differs(name: str, results: dict[str, dict[str, Any]]) -> None:
    assert differences(CASES[name], results[name]), f"{name} is as recorded: take it off {left_out.LIST.name}"


@pytest.mark.parametrize("name", _named("refused"))
def test_refuses_loudly(name: str, results: dict[str, dict[str, Any]]) -> None:
    assert results[name]["exit"] == REFUSED_STATUS
    assert "lab tdnf stand-in: " in results[name]["stderr"]
    assert "is not covered" in results[name]["stderr"]


def test_list_of_left_out_cases_is_current() -> None:
    patterns = [pattern for group in GROUPS for pattern in group.patterns]
    unused = [pattern for pattern in patterns if not fnmatch.filter(CASES, pattern)]
    assert not unused, f"{left_out.LIST.name} names cases that are not recorded: {unused}"


def test_coverage(results: dict[str, dict[str, Any]], record_property: Callable[[str, object], None]) -> None:
    """Last: counts what is as recorded, for the end of the run."""
    good = sum(not differences(CASES[name], results[name]) for name in _named(None))
    claims = Counter(claim for claim in CLAIMS.values() if claim)
    left = ", ".join(f"{number} {claim}" for claim, number in sorted(claims.items()))
    counted = f"{good} of {len(CASES)} recorded runs of tdnf 3.5.9 are as recorded by the stand-in; left out: {left}"
    record_property("summary", counted)
    assert good == len(_named(None))
