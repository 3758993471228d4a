"""What doctor finds: a rollout that its controller has left, a directory that is open to others, old checkouts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploys.rollout.doctor import findings
from deploys.rollout.local import only_controller
from deploys.rollout.model import Spec
from deploys.rollout.place import Place, git, store_of
from tests.rollout.played import ROOT, World


@pytest.fixture
def world(tmp_path) -> World:
    made = World(tmp_path / "state")
    made.place.state.chmod(0o700)
    return made


def wrong(place: Place) -> dict[str, str]:
    return {each.about: each.words for each in findings(place) if each.words}


def place_of(world: World) -> Place:
    return Place(ROOT, world.place.state)


def test_all_is_well_where_nothing_is_wrong(world) -> None:
    world.play(world.begin([[1]], Spec()))
    assert wrong(place_of(world)) == {}


def test_a_rollout_that_nobody_works_on_is_told(world) -> None:
    ident = world.begin([[1]], Spec())
    assert f"`photon-fleet serve {ident}` goes on" in wrong(place_of(world))["rollouts under way"]
    with only_controller(world.place):
        assert wrong(place_of(world)) == {}


def test_a_directory_that_others_may_read_is_told(world) -> None:
    world.place.state.chmod(0o755)
    assert f"chmod 700 {world.place.state}" in wrong(place_of(world))["state directory"]


def test_rows_that_are_no_rows_are_told(world) -> None:
    (world.place.state / "rollouts.sqlite").write_bytes(b"rubbish" * 1000)
    assert "rollouts.sqlite" in wrong(place_of(world))["rows"]


def test_checkouts_of_no_use_are_told_and_removed(tmp_path) -> None:
    repository = tmp_path / "fleet"
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    words = ("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--allow-empty", "-m", "one")
    git(repository, *words)
    place = Place(repository, tmp_path / "state")
    tree = place.tree(git(repository, "rev-parse", "HEAD"))
    store_of(place)
    place.state.chmod(0o700)
    assert wrong(place) == {}
    os.utime(tree, (0, time.time() - 100_000))
    assert "doctor --tidy" in wrong(place)["checkouts"]
    done = subprocess.run(
        [sys.executable, "-m", "deploys", "doctor", "--tidy"], cwd=repository, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PHOTON_FLEET_STATE": str(place.state)}, check=False,
    )  # fmt: skip
    assert (done.returncode, "WRONG" in done.stdout) == (0, False), done.stdout + done.stderr
    assert not Path(tree).exists()
    assert git(repository, "worktree", "list").count("\n") == 0
