"""Checkouts are whole or not there, whatever became of who made them, and processes are told no password of rows."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploys.refusal import Refusal
from deploys.rollout import checkout
from deploys.rollout.checkout import git
from deploys.rollout.engine.threads import in_thread
from deploys.rollout.place import DATABASE, Place, environment
from tests.rollout.played import ROOT, patiently


def commit(repository: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    git(repository, "add", "--all")
    git(repository, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "one")
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def place(tmp_path) -> Place:
    repository = tmp_path / "fleet"
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    return Place(repository, tmp_path / "state")


def names(tree: Path) -> list[str]:
    return sorted(path.name for path in tree.iterdir() if path.name != ".git")


def mark(tree: Path) -> Path:
    return checkout._kept_of(tree) / checkout._WHOLE


def test_one_that_took_too_long_is_made_anew(place, tmp_path, monkeypatch) -> None:
    files = {f"f{number}": "text" for number in range(6)}
    revision = commit(place.repository, {".gitattributes": "f* filter=slow\n", **files})
    log = tmp_path / "log"
    git(place.repository, "config", "filter.slow.smudge", f"echo %f >> {log}; sleep 0.5; cat")
    monkeypatch.setattr(checkout, "CHECKOUT_SECONDS", 1.2)
    with pytest.raises(Refusal, match=r"git worktree: no end within 1\.2 s"):
        place.tree(revision)
    seen = log.read_text()
    time.sleep(1)
    assert log.read_text() == seen, "git was killed, and what it had started goes on"
    git(place.repository, "config", "--unset", "filter.slow.smudge")
    monkeypatch.undo()
    tree = place.tree(revision)
    assert names(tree) == [".gitattributes", *files]
    assert git(tree, "status", "--porcelain") == ""


def hook(place: Place, text: str) -> None:
    path = place.repository / ".git/hooks/post-checkout"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("ends", [True, False])
def test_what_a_hook_leaves_behind_is_not_waited_for(place, tmp_path, monkeypatch, ends) -> None:
    """A daemon has git's output and the lock of its checkout open for as long as it likes."""
    revision = commit(place.repository, {"one": "text"})
    hook(place, f"setsid sleep 60 & echo $! >> {tmp_path}/daemons\n{'' if ends else 'sleep 60'}")
    begin = time.monotonic()
    try:
        if not ends:
            monkeypatch.setattr(checkout, "CHECKOUT_SECONDS", 1)
            with pytest.raises(Refusal, match="git worktree: no end within 1 s"):
                place.tree(revision)
            monkeypatch.undo()
            hook(place, "")
        assert names(place.tree(revision)) == ["one"]
        assert time.monotonic() - begin < 30
        assert names(place.state) == ["trees", "trees.lock"]
    finally:
        for pid in (tmp_path / "daemons").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def test_a_commit_whose_checkout_somebody_holds_is_in_no_others_way(place) -> None:
    held, other = (commit(place.repository, {"one": text}) for text in ("a", "b"))
    place.state.mkdir()
    with (place.state / f"making-{held}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = in_thread(lambda: place.tree(held), "waits")
        time.sleep(0.5)
        assert in_thread(lambda: place.tree(other), "goes on").result(10).name == other
        assert not waiting.done()
    assert waiting.result(10).name == held


MAKES = """
import sys
from pathlib import Path
from deploys.rollout.place import Place
Place(Path(sys.argv[1]), Path(sys.argv[2])).tree(sys.argv[3])
"""


def test_a_git_whose_controller_was_killed_is_waited_for(place, monkeypatch) -> None:
    files = {f"f{number}": "text" for number in range(4)}
    revision = commit(place.repository, {".gitattributes": "f* filter=slow\n", **files})
    git(place.repository, "config", "filter.slow.smudge", "sleep 0.5; cat")
    words = [sys.executable, "-c", MAKES, str(place.repository), str(place.state), revision]
    controller = subprocess.Popen(words, cwd=ROOT)
    patiently((place.state / "trees" / revision / "f0").exists, 30)
    controller.kill()
    controller.wait()
    monkeypatch.setattr(checkout, "CHECKOUT_SECONDS", 0.1)
    with pytest.raises(Refusal, match="another process holds"):
        place.tree(revision)
    monkeypatch.undo()
    tree = place.tree(revision)
    assert names(tree) == [".gitattributes", *files]
    assert git(tree, "status", "--porcelain") == ""
    assert names(place.state) == ["trees", "trees.lock"]


TOGETHER = """
import sys
from pathlib import Path
from deploys.rollout.members import members
from deploys.rollout.engine.threads import in_thread
from deploys.rollout.place import Place
place = Place(Path(sys.argv[1]), Path(sys.argv[2]))
found = [in_thread(lambda: place.tree(sys.argv[3]), str(number)) for number in range(4)]
print(len({each.result(20) for each in found}))
"""


def test_several_units_of_a_worker_may_be_the_first_to_need_it(place, tmp_path) -> None:
    """A worker's threads are greenlets, as it has imported pyinfra."""
    revision = commit(place.repository, {"one": "text"})
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER, place.repository, tmp_path / "state", revision], cwd=ROOT, timeout=60,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "1\n", done.stderr


def test_what_a_killed_git_has_left_is_no_checkout(place) -> None:
    revision = commit(place.repository, {"a": "a", "z_policy.py": "z"})
    tree = place.tree(revision)
    mark(tree).unlink()
    (tree / "z_policy.py").unlink()
    # As git leaves it in the middle.
    (mark(tree).parent / "locked").write_text("initializing")
    (mark(tree).parent / "index.lock").touch()
    assert names(place.tree(revision)) == ["a", "z_policy.py"]
    assert mark(tree).exists()
    assert git(place.repository, "worktree", "list").count("\n") == 1
    assert names(place.state) == ["trees", "trees.lock"]


def test_a_checkout_whose_repository_knows_nothing_of_it_is_made_anew(place) -> None:
    revision = commit(place.repository, {"a": "a"})
    tree = place.tree(revision)
    shutil.rmtree(mark(tree).parent)
    assert git(place.tree(revision), "rev-parse", "HEAD") == revision


def test_one_of_an_earlier_version_is_left_to_those_who_work_in_it(place) -> None:
    revision = commit(place.repository, {"a": "a"})
    tree = place.tree(revision)
    mark(tree).unlink()
    (tree / "__pycache__").mkdir()
    assert names(place.tree(revision)) == ["__pycache__", "a"]
    assert mark(tree).exists()


@pytest.mark.parametrize("broken", ["", "locked", ".git"])
def test_one_of_no_use_is_removed_whatever_state_it_is_in(place, broken) -> None:
    tree = place.tree(commit(place.repository, {"a": "a"}))
    if broken == "locked":
        git(place.repository, "worktree", "lock", str(tree))
    elif broken:
        (tree / broken).unlink()
    checkout.remove(place.repository, tree)
    assert names(place.state / "trees") == []
    assert git(place.repository, "worktree", "list").count("\n") == 0


def test_a_commit_that_there_is_not_leaves_nothing_behind(place) -> None:
    commit(place.repository, {"a": "a"})
    for _ in range(2):
        with pytest.raises(Refusal, match="git worktree: "):
            place.tree("0" * 40)
    assert names(place.state / "trees") == []


def test_runs_and_gates_are_told_no_password_of_the_database(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    monkeypatch.setenv("PGPASSFILE", "/etc/pgpass")
    monkeypatch.delenv(DATABASE, raising=False)
    assert environment(tmp_path)["PGPASSWORD"] == "s3cret"
    monkeypatch.setenv(DATABASE, "postgresql://fleet@db/fleet")
    assert not {DATABASE, "PGPASSWORD", "PGPASSFILE"} & environment(tmp_path).keys()
    assert environment(tmp_path)["HOME"] == os.environ["HOME"]
