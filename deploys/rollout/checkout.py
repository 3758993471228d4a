"""Git, and checkouts of commits that are whole or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from deploys.refusal import Refusal
from deploys.rollout.processes import ended_within

GIT_SECONDS = 60.0
CHECKOUT_SECONDS = 1200.0
"""A large repository on a slow disk."""
_LOOK_SECONDS = 0.2
_WHOLE = "photon-fleet-whole"
"""A file in what git keeps of a checkout, and not in the checkout, where git would see it as a change."""


def checked_out(repository: Path, state: Path, revision: str) -> Path:
    """A checkout of a commit, made when it is not there, or not whole: who made it may have been killed on the way.

    Args:
        repository: its top.
        state: the state directory; checkouts are in `trees`, by their commits.
        revision: the whole name of the commit.

    Raises:
        Refusal: there is no such commit, or it cannot be checked out.
    """
    path = state / "trees" / revision
    last: float | None = None
    while not _is_whole(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _tried(repository, state, path):
            last = last or time.monotonic() + CHECKOUT_SECONDS
            if time.monotonic() > last:
                lock = _lock_of(state, revision)
                message = f"git worktree: another process holds {lock}: find it (fuser {lock}), and end it"
                raise Refusal(message)
            time.sleep(_LOOK_SECONDS)
    return path


def _lock_of(state: Path, revision: str) -> Path:
    return state / f"making-{revision}.lock"


def _tried(repository: Path, state: Path, path: Path) -> bool:
    """Make a checkout; False while something else holds its own lock.

    It is not waited for here, with the lock of all: the checkouts of other commits would wait as well.
    """
    # Several units, and several workers, may be the first to need it.
    with _alone(state / "trees.lock"), _making(_lock_of(state, path.name)) as held:
        if held is None:
            return False
        if not _is_whole(path):
            _make(repository, path, path.name, held)
    return True


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock against other processes and threads."""
    with path.open("w") as lock:
        # Not inside flock(2): pyinfra has gevent make threads of greenlets, and one that waited there would stop the
        # one that has the lock, and with it the worker.
        while not _locked(lock):
            time.sleep(_LOOK_SECONDS)
        yield


def _locked(lock: IO[str]) -> bool:
    """Take a lock; False when somebody holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _making(path: Path) -> Iterator[int | None]:
    """Hold a lock that git inherits: one whose controller was killed goes on, and is not to be met half-way.

    It is of one commit alone, as what a hook of git's has started may hold it for good. None when somebody holds it.
    """
    with path.open("w") as lock:
        if not _locked(lock):
            yield None
            return
        try:
            yield lock.fileno()
        finally:
            # Our git has ended, well or not: who holds the lock from here on is no git, and need not be waited for.
            path.unlink(missing_ok=True)


def remove(repository: Path, path: Path) -> None:
    """Remove a checkout, in whatever state it is.

    Raises:
        Refusal: git fails.
    """
    with contextlib.suppress(Refusal):
        git(repository, "worktree", "unlock", str(path))
    _remove(path)
    git(repository, "worktree", "prune")


def _make(repository: Path, path: Path, revision: str, held: int) -> None:
    # One that an earlier version has made bears no mark, and a run may be at work in it.
    if not _is_as_committed(path, revision):
        _remove(path)
        git(repository, "worktree", "prune")
        # Twice: whoever was killed while making it has left it locked.
        add = ("worktree", "add", "--force", "--force", "--quiet", "--detach", str(path), revision)
        git(repository, *add, seconds=CHECKOUT_SECONDS, held=[held])
    kept = _kept_of(path)
    if kept is None:
        message = f"git worktree: {path} is no checkout, though git has just made it"
        raise Refusal(message)
    (kept / _WHOLE).touch()


def _remove(path: Path) -> None:
    """Take files away. Whoever is still at work on them goes on elsewhere: they are in its directory."""
    if path.exists():
        gone = Path(tempfile.mkdtemp(prefix="gone-", dir=path.parent.parent))
        path.rename(gone / path.name)
        shutil.rmtree(gone, ignore_errors=True)


def _kept_of(path: Path) -> Path | None:
    """What git keeps of a checkout, in the repository."""
    try:
        kind, _, where = (path / ".git").read_text().strip().partition(": ")
    except OSError:
        return None
    found = path / where
    return found if kind == "gitdir" and found.is_dir() else None


def _is_whole(path: Path) -> bool:
    kept = _kept_of(path)
    return kept is not None and (kept / _WHOLE).exists()


def _is_as_committed(path: Path, revision: str) -> bool:
    if _kept_of(path) is None:
        return False
    try:
        found = git(path, "rev-parse", "--verify", "--quiet", "HEAD")
        return found == revision and not git(path, "status", "--porcelain", "--untracked-files=no")
    except Refusal:
        return False


def git(repository: Path, *words: str, seconds: float | None = None, held: Sequence[int] = ()) -> str:
    """What git prints.

    Args:
        repository: where it is run.
        words: of its command line.
        seconds: its limit; a minute by default.
        held: open files that it inherits.

    Raises:
        Refusal: it fails, with its words.
    """
    limit = GIT_SECONDS if seconds is None else seconds
    # Whoever is asked for a password by a rollout is not there.
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        # Killed with all that it has started: they would go on with what is given up here.
        done = ended_within(limit, ["git", "-C", str(repository), *words], env=env, held=held, alone=True)
    except subprocess.TimeoutExpired as error:
        message = f"git {words[0]}: no end within {limit:g} s"
        raise Refusal(message) from error
    except OSError as error:
        message = f"git {words[0]}: {error}"
        raise Refusal(message) from error
    if done.status:
        message = f"git {words[0]}: {done.err.strip() or done.out.strip()}"
        raise Refusal(message)
    return done.out.strip()
