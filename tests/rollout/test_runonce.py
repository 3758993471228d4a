"""A run that happens once: adopted, waited for, limited, and killed with its keeper or without."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploys.rollout.runonce import TIMED_OUT, Ended, run_once, stop

ROOT = Path(__file__).resolve().parents[2]


def count(place: Path) -> int:
    """How often the command ran."""
    path = place / "count"
    return len(path.read_text()) if path.exists() else 0


def command(place: Path, seconds: float, status: int = 0) -> list[str]:
    return ["sh", "-c", f"printf x >>{place}/count; sleep {seconds}; printf y >>{place}/through; exit {status}"]


def run(place: Path, words: list[str], seconds: float = 30) -> Ended:
    return run_once(place / "runs", "1.2.1", words, seconds, os.environ, ROOT)


def test_its_status_is_told_and_a_second_time_runs_nothing(tmp_path) -> None:
    assert run(tmp_path, command(tmp_path, 0, 3)) == Ended(3)
    assert run(tmp_path, command(tmp_path, 0, 3)) == Ended(3)
    assert count(tmp_path) == 1


def test_another_attempt_is_another_run(tmp_path) -> None:
    run(tmp_path, command(tmp_path, 0))
    run_once(tmp_path / "runs", "1.2.2", command(tmp_path, 0), 30, os.environ, ROOT)
    assert count(tmp_path) == 2


def _controller(place: str) -> None:
    run(Path(place), command(Path(place), 2))


def test_a_controller_that_is_killed_leaves_its_run_to_the_next_one(tmp_path) -> None:
    """No second run is started while the first goes on; its result is the next controller's."""
    code = f"from tests.rollout.test_runonce import _controller; _controller({str(tmp_path)!r})"
    controller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until(lambda: count(tmp_path) == 1)
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    assert run(tmp_path, command(tmp_path, 2)) == Ended(0)
    assert (tmp_path / "through").read_text() == "y"
    assert count(tmp_path) == 1


def test_two_that_ask_at_once_start_one(tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_controller, args=(str(tmp_path),)) for _ in range(3)]
    for each in others:
        each.start()
    for each in others:
        each.join()
        assert each.exitcode == 0
    assert count(tmp_path) == 1


def test_the_time_limit_holds_without_a_controller_and_for_all_that_was_started(tmp_path) -> None:
    words = ["sh", "-c", f"sleep 300 & echo $! >{tmp_path}/child; wait"]
    assert run(tmp_path, words, seconds=0.5) == Ended(TIMED_OUT)
    until(lambda: not _runs(int((tmp_path / "child").read_text())))


def test_a_run_is_stopped_when_somebody_asks(tmp_path) -> None:
    words = f"from pathlib import Path; run(Path({str(tmp_path)!r}), ['sleep', '300'])"
    controller = subprocess.Popen(
        [sys.executable, "-c", f"from tests.rollout.test_runonce import run; {words}"], cwd=ROOT
    )

    def ended() -> bool:
        stop(tmp_path / "runs", "1.2.1")
        return (tmp_path / "runs/1.2.1.result").exists()

    until(ended)
    assert controller.wait(10) == 0
    assert json.loads((tmp_path / "runs/1.2.1.result").read_text()) == {"status": -signal.SIGTERM}


def test_a_keeper_that_was_killed_is_told_as_unknown(tmp_path) -> None:
    code = f"from tests.rollout.test_runonce import _controller; _controller({str(tmp_path)!r})"
    controller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until(lambda: count(tmp_path) == 1)
    keeper = int((tmp_path / "runs/1.2.1.pid").read_text())
    controller.kill()
    controller.wait()
    os.kill(keeper, signal.SIGKILL)
    assert run(tmp_path, command(tmp_path, 2)) == Ended(None)
    assert (tmp_path / "through").read_text() == "y", "its command was still at work"


def until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail("it did not become so")
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_run_that_the_machine_went_down_with_is_not_begun_again(tmp_path) -> None:
    """Nobody knows how far it came: only another attempt may go on from there."""
    keeper = subprocess.Popen(
        [sys.executable, "-c", f"from tests.rollout.test_runonce import _controller; _controller({str(tmp_path)!r})"],
        cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    until(lambda: count(tmp_path) == 1 and (tmp_path / "runs/1.2.1.pid").exists())
    for path in (tmp_path / "runs").glob("*.pid"):
        os.killpg(os.getpgid(int(path.read_text())), signal.SIGKILL)
    os.killpg(keeper.pid, signal.SIGKILL)
    keeper.wait()
    assert run(tmp_path, command(tmp_path, 0)) == Ended(None)
    assert count(tmp_path) == 1
