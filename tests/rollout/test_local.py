"""Rollouts that are really played: by threads, processes and rows, with everything that may happen to them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict

import pytest

from deploys.refusal import Refusal
from deploys.rollout.local import only_controller
from deploys.rollout.model import Answer, Budget, Kind, OnFail, Spec, State
from deploys.rollout.plan import INSTALLED
from deploys.rollout.store.commands import Commands
from deploys.rollout.store.reports import audit, progress
from tests.rollout.played import ROOT, World

KILLS = int(os.environ.get("KILLS", "4"))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "state")


def say(world: World, ident: int, word) -> str:
    return Commands(world.store, "bob@ctl").say(ident, word)


def test_waves_follow_each_other(world) -> None:
    ident = world.begin([[1], [2, 2]], Spec(gates=("alerts",), parallel=2))
    assert world.play(ident) is State.DONE
    assert world.touched()[0] == "web-0"
    assert sorted(world.touched()) == [f"web-{number}" for number in range(5)]
    assert [wave.counts for wave in progress(world.store, ident).waves] == [{"ok": 1}, {"ok": 4}]


def test_a_bad_canary_goes_back_and_nobody_else_is_touched(world) -> None:
    world.become(0, {"web-0": "failed"})
    ident = world.begin([[1], [3]], Spec(on_fail=OnFail.BACK_ALL))
    assert world.play(ident) is State.WENT_BACK
    assert (world.touched(), world.touched(Kind.BACK)) == (["web-0"], ["web-0"])
    text = "\n".join(progress(world.store, ident).lines())
    assert "web-0: failed; it went back" in text
    assert "3 to come" in text


@pytest.mark.parametrize("updates", ["ok", "failed"])
def test_what_was_installed_goes_back_first_and_what_cannot_is_told(world, updates) -> None:
    installed, files = (
        {"policy": policy, "verdict": "changed", "checks": 0, "passed": 0, "changed": ["Update"], "failed": []}
        for policy in (INSTALLED, "files")
    )
    told = {"*": {"policies": [files]}, "web-1": {"policies": [files, installed]}, "back": {}}
    (world.place.state / "told").write_text(json.dumps(told))
    world.become(0, {"web-2": "failed", "updates": {"web-1": updates}})
    ident = world.begin([[1], [2]], Spec(on_fail=OnFail.BACK_ALL))
    assert world.play(ident) is State.WENT_BACK
    kinds = [line.kind for line in world.log() if (line.host, line.word) == ("web-1", "begin")]
    assert kinds == ["converge", "updates", "back"]
    assert {line.host for line in world.log() if line.kind == "updates"} == {"web-1"}
    text = "\n".join(progress(world.store, ident).lines())
    assert ("NOT gone back: failed" in text, "its updates did not go back" in text) == (updates == "failed",) * 2


def test_machines_have_a_snapshot_before_anything_and_go_back_to_it(world) -> None:
    world.become(0, {"web-2": "failed", "snapshot": {"web-1": "failed"}, "revert": {"web-0": "failed"}})
    ident = world.begin([[1], [3]], Spec(on_fail=OnFail.BACK_ALL, snapshots=True))
    assert world.play(ident) is State.WENT_BACK
    kinds = defaultdict(list)
    for line in world.log():
        if line.word == "begin":
            kinds[line.host].append(line.kind)
    assert kinds == {
        "web-0": ["snapshot", "converge", "revert", "back"], "web-1": ["snapshot", "revert", "back"],
        "web-2": ["snapshot", "converge", "revert", "back"], "web-3": ["snapshot", "converge", "revert", "back"],
    }  # fmt: skip
    text = "\n".join(progress(world.store, ident).lines())
    assert "no snapshot of its machine could be taken, so nothing was changed" in text
    assert "its machine did not go back to its snapshot" in text


def test_a_gate_that_says_no_takes_the_wave_back(world) -> None:
    ident = world.begin([[1], [3]], Spec(gates=("alerts",), on_fail=OnFail.BACK_WAVE))
    assert world.play(ident, Answer.FAIL) is State.WENT_BACK
    assert world.touched(Kind.BACK) == ["web-0"]


def test_a_gate_that_cannot_tell_waits_for_a_person(world) -> None:
    ident = world.begin([[1], [1]], Spec(gates=("alerts",)))
    assert world.play(ident, Answer.INCONCLUSIVE) is State.PAUSED
    assert world.touched() == ["web-0"]
    say(world, ident, "resume")
    assert world.play(ident) is State.DONE


def test_a_host_is_in_one_rollout_at_a_time_and_the_refusal_names_the_other(world) -> None:
    first = world.begin([[2]])
    with pytest.raises(Refusal, match=f"web-0 is in rollout {first} of ann@ctl [(]a test[)], which is running"):
        world.begin([[1]])
    world.begin([[1]], prefix="db")
    assert world.play(first) is State.DONE
    world.begin([[1]])


def test_one_controller_at_a_time(world) -> None:
    with only_controller(world.place), pytest.raises(Refusal, match="another controller works on"):
        world.play(world.begin([[1]]))


def test_people_steer_it_from_another_terminal(world) -> None:
    world.become(0.3, {})
    ident = world.begin([[1], [1], [1]], Spec(approvals=frozenset({1})))
    thread = threading.Thread(target=world.play, args=(ident,))
    thread.start()
    thread.join(20)
    assert world.touched() == ["web-0"]
    assert say(world, ident, "approve") == "wave 2 may begin"
    with pytest.raises(Refusal, match="is running; this is for one that is paused"):
        say(world, ident, "resume")
    say(world, ident, "pause")
    assert world.play(ident) is State.PAUSED
    assert world.touched() == ["web-0"]
    say(world, ident, "resume")
    say(world, ident, "abort")
    assert world.play(ident) is State.ABORTED
    assert world.touched() == ["web-0"]
    with pytest.raises(Refusal, match="has ended: aborted"):
        say(world, ident, "abort")
    assert [(who, event) for _, who, event, _ in audit(world.store, ident) if who == "bob@ctl"] == [
        ("bob@ctl", word) for word in ("approve", "pause", "resume", "abort")
    ]


def test_hosts_that_failed_are_tried_once_more(world) -> None:
    world.become(0, {"web-1": "failed"})
    ident = world.begin([[2], [1]])
    assert world.play(ident) is State.STOPPED
    world.become(0, {})
    assert say(world, ident, "retry") == "1 host of wave 1 once more"
    assert world.play(ident) is State.DONE
    assert world.touched() == ["web-0", "web-1", "web-1", "web-2"]


def test_a_rollout_that_is_done_can_still_go_back(world) -> None:
    ident = world.begin([[1], [2]])
    assert world.play(ident) is State.DONE
    say(world, ident, "rollback")
    assert world.play(ident) is State.WENT_BACK
    assert world.touched(Kind.BACK) == ["web-1", "web-2", "web-0"]


def test_runs_that_say_nothing_leave_their_hosts_unknown(world) -> None:
    (world.place.state / "seconds").write_text("no number")
    ident = world.begin([[1], [1]])
    assert world.play(ident) is State.STOPPED
    text = "\n".join(progress(world.store, ident).lines())
    assert "web-0: unknown" in text
    assert "could not convert string to float" in text


def test_killed_at_any_moment_nothing_is_lost_repeated_or_overlaps(world, record_property) -> None:
    """KILLS=30 kills more often."""
    world.become(0.4, {"web-3": "unreachable"})
    spec = Spec(parallel=3, unreachable=Budget(wave=1))
    sizes = [[1], [2, 2], [2] * (2 + KILLS), [3] * (4 + 3 * KILLS)]
    ident = world.begin(sizes, spec)
    chance = random.Random(time.time_ns())  # noqa: S311 - nobody is to guess it
    kills = 0
    command = [sys.executable, "-m", "tests.rollout.played", str(world.place.state), str(ident)]
    while kills < KILLS and not world.store.rollout(ident).state.ended:
        controller = subprocess.Popen(command, cwd=ROOT)
        time.sleep(chance.uniform(0.2, 1.2))
        if controller.poll() is None:
            controller.send_signal(signal.SIGKILL)
            kills += 1
        controller.wait()
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=120).returncode == 0
    record_property("summary", f"controllers of a rollout killed {kills} times")
    assert kills == KILLS
    assert world.store.rollout(ident).state is State.DONE
    world.nothing_lost_repeated_or_overlapping(sizes)
    events = [event for _, _, event, _ in audit(world.store, ident)]
    assert events.count("converge ok") + events.count("converge unreachable") == sum(map(sum, sizes))
    # Who was killed between the two had begun nothing.
    begun = events.count("unit started") - events.count("unit put back")
    assert begun == len({line.key for line in world.log()})


def test_results_of_other_rows_of_the_same_number_are_nobodys(tmp_path) -> None:
    """Rows that were begun anew, or taken back from a copy, count from numbers on that there were results of."""
    world = World(tmp_path)
    assert world.play(world.begin([[1], [1]])) is State.DONE
    for path in tmp_path.glob("rollouts.sqlite*"):
        path.unlink()
    world = World(tmp_path, bad={"web-0": "failed", "web-1": "failed"})
    assert world.play(world.begin([[1], [1]])) is State.STOPPED
    assert len(world.touched()) == 3


def test_a_run_that_cannot_be_begun_is_its_hosts_failure(tmp_path, monkeypatch) -> None:
    world = World(tmp_path)

    def refuses(*_: object) -> None:
        message = "no such commit"
        raise Refusal(message)

    monkeypatch.setattr(type(world.place), "run", refuses)
    ident = world.begin([[1], [1]])
    assert world.play(ident) is State.STOPPED
    assert progress(world.store, ident).unwell[0].words == "its run could not be begun: no such commit"
