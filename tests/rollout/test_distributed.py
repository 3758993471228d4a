"""Workers on PostgreSQL, killed and stopped at any moment: processes, as a user starts them, on a real server."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from deploys.rollout.engine.shared import store_at
from deploys.rollout.model import Spec, State
from deploys.rollout.place import DATABASE
from deploys.rollout.store.leases import machines
from deploys.rollout.store.reports import audit
from tests.rollout import postgres
from tests.rollout.played import ROOT, SOON, World, patiently

KILLS = int(os.environ.get("KILLS", "2"))
LONG = "60"
"""Seconds after which a machine's runs are begun elsewhere: not in these tests."""


@pytest.fixture(scope="module")
def server():
    """PostgreSQL for these tests alone: it is killed, and others' must not be."""
    if postgres.missing() and os.geteuid() != 0:
        pytest.skip(f"it needs {' and '.join(postgres.missing())}: install them, or run pytest as root")
    with postgres.server() as found:
        yield found


@pytest.fixture
def world(tmp_path, prepared):
    return World(tmp_path / "common", store=store_at(prepared, SOON))


@pytest.fixture
def workers(world, prepared, tmp_path):
    """Starts workers; they are killed at the end."""
    running = []

    def start(name: str, machine: str = "one", gone: str = LONG, more: str = "") -> subprocess.Popen[bytes]:
        (tmp_path / machine).mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tests.rollout.played", world.place.state, tmp_path / machine, name, gone]
        with (tmp_path / f"{name}.out").open("ab") as out:
            found = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, DATABASE: prepared + more}, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        running.append(found)
        return found

    yield start
    for each in running:
        each.kill()
        each.wait()


def test_a_worker_that_is_stopped_leaves_its_runs_to_the_next_one(world, workers, tmp_path) -> None:
    hold = world.place.state / "hold"
    hold.touch()
    ident = world.begin([[2], [1]], Spec(parallel=1))
    other = world.begin([[1]], prefix="db")
    with world.store.writing(other) as db:
        db.execute("UPDATE rollout SET spec = ? WHERE id = ?", ('{"version": 99}', other))
    older = workers("older")
    patiently(world.log, 30, tmp_path)
    older.terminate()
    assert older.wait(20) == 0
    workers("newer")
    assert not any(line.word == "end" for line in world.log())
    hold.unlink()
    patiently(lambda: world.store.rollout(ident).state is State.DONE, 60, tmp_path)
    world.nothing_lost_repeated_or_overlapping([[2], [1]])
    words = f"rollout {other} is left to others: this rollout was begun by another version"
    patiently(lambda: words in (tmp_path / "newer.out").read_text(), 30, tmp_path)
    assert (tmp_path / "newer.out").read_text().count(words) == 1


def test_a_machine_that_is_gone_is_replaced_and_never_meets_its_own_runs(world, workers, tmp_path) -> None:
    # Its worker is gone, its run is not: nobody but the hosts knows that.
    hold = world.place.state / "hold"
    hold.touch()
    ident = world.begin([[2]])
    first = workers("first", machine="one")
    patiently(world.log, 30, tmp_path)
    first.kill()
    first.wait()
    workers("second", machine="two", gone="1")
    busy = ("busy", "web-0: another run")
    patiently(lambda: busy in {(event, about) for _, _, event, about in audit(world.store, ident)}, 60, tmp_path)
    hold.unlink()
    patiently(lambda: world.store.rollout(ident).state is State.DONE, 60, tmp_path)
    for found in world.spans().values():
        assert [word for _, word, _ in found] == ["begin", "end"] * 2, "one after the other"
        assert len({key for _, _, key in found}) == 2
    assert any("was not heard of for 1 s" in about for *_, about in audit(world.store, ident))


def test_a_row_that_somebody_holds_stops_its_rollout_alone(world, workers, prepared, tmp_path) -> None:
    ident = world.begin([[1]], Spec(approvals=frozenset({0})))
    # So that a worker waits for it for good.
    first = workers("first", more="&options=-c%20lock_timeout%3D0")
    patiently(lambda: machines(world.store, 60), 30, tmp_path)
    with psycopg.connect(prepared) as cut_off, psycopg.connect(prepared, autocommit=True) as looks:
        cut_off.execute("SELECT id FROM rollout WHERE id = %s FOR UPDATE", (ident,))
        patiently(lambda: looks.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone(), 30)
        other = world.begin([[1]], prefix="db")
        patiently(lambda: world.store.rollout(other).state is State.DONE, 30, tmp_path)
        asked = world.store.now()
        patiently(lambda: world.store.rows("SELECT 1 FROM machine WHERE seen > ?", asked.isoformat()), 10, tmp_path)
        first.terminate()
        assert first.wait(20) == 0


def test_killed_at_any_moment_nothing_is_lost_repeated_or_overlaps(
    server, world, workers, tmp_path, record_property
) -> None:
    """KILLS=30 kills more often: workers, their process groups, and the database."""
    world.become(0.4, {})
    sizes = [[1], [2, 2], [2] * (2 + KILLS), [3] * (4 + 3 * KILLS)]
    ident = world.begin(sizes, Spec(parallel=3))
    chance = random.Random(time.time_ns())  # noqa: S311 - nobody is to guess it
    running = {name: workers(name) for name in ("a", "b")}
    patiently(world.log, 30, tmp_path)
    kills = dict.fromkeys(("worker", "group", "database"), 0)
    while sum(kills.values()) < KILLS and not patiently(lambda: world.store.rollout(ident), 30).state.ended:
        what = chance.choice([*kills])
        name = chance.choice([*running])
        kills[what] += 1
        if what == "database":
            server.kill()
            time.sleep(chance.uniform(0, 1))
            server.start()
        else:
            killed = running[name]
            (os.killpg if what == "group" else os.kill)(killed.pid, signal.SIGKILL)
            killed.wait()
            running[name] = workers(name)
        time.sleep(chance.uniform(0.3, 2.5))
    patiently(lambda: world.store.rollout(ident).state.ended, 120, tmp_path)
    record_property("summary", f"of a rollout's two workers and database killed: {kills}")
    assert world.store.rollout(ident).state is State.DONE
    assert sum(kills.values()) == KILLS
    world.nothing_lost_repeated_or_overlapping(sizes)
    lines = audit(world.store, ident)
    events = [event for _, _, event, _ in lines]
    assert events.count("converge ok") == sum(map(sum, sizes))
    # Who was killed between the two had begun nothing.
    begun = events.count("unit started") - events.count("unit put back")
    assert begun == sum(map(len, sizes)) == len({line.key for line in world.log()})
    assert [at for at, *_ in lines] == sorted(at for at, *_ in lines)
