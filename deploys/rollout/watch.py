"""Following a branch: what is merged is rolled out, one rollout at a time; of several that wait the newest wins.

A commit that was rolled out once is not rolled out again, whatever came of it: a bad one is held until another follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from deploys.refusal import Refusal
from deploys.rollout.begin import ARRIVED, Meant, Planned, planned
from deploys.rollout.place import Place, git
from deploys.rollout.store.had import arrived, whole_of
from deploys.rollout.store.store import Store

_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*")


@dataclass(frozen=True)
class Followed:
    """What is followed. `signed`: the commit must bear a signature that git verifies."""

    inventory: str
    remote: str
    branch: str
    signed: bool = False

    def require(self) -> None:
        """Refuse names that git would take for options.

        Raises:
            Refusal: one of them is no name.
        """
        for name in (self.remote, self.branch):
            if not _BRANCH.fullmatch(name):
                message = f"{name!r} is no name of a remote or branch"
                raise Refusal(message)


def newest(place: Place, followed: Followed) -> str:
    """Fetch, and the commit that the branch is at.

    Raises:
        Refusal: the remote does not answer, has no such branch, or the commit is not signed as it must be.
    """
    followed.require()
    reference = f"refs/remotes/{followed.remote}/{followed.branch}"
    git(place.repository, "fetch", "--quiet", followed.remote, f"+refs/heads/{followed.branch}:{reference}")
    commit = git(place.repository, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")
    if followed.signed:
        try:
            git(place.repository, "verify-commit", commit)
        except Refusal as error:
            message = (
                f"{commit[:12]} of {followed.branch} is not signed by a key that is trusted: it is left alone ({error})"
            )
            raise Refusal(message) from error
    return commit


def due(place: Place, store: Store, followed: Followed, commit: str) -> tuple[Planned | None, str]:
    """The rollout that a commit needs, or why none.

    It is about the hosts that have something else: what a rollout before has left undone is caught up with.

    Raises:
        Refusal: the inventory of the commit cannot be used.
    """
    same = whole_of(store, followed.inventory, commit)
    if same is not None:
        return None, f"{commit[:12]} was rollout {same.id}, which is {same.state}"
    last = arrived(store, followed.inventory)
    if last is not None and not _follows(place, last, commit):
        return None, (
            f"{commit[:12]} does not follow {last[:12]}, which arrived last (was {followed.branch} moved back?): "
            "it is left alone; `photon-fleet rollout` takes it all the same"
        )
    # The very first commit of a repository has nothing to go back to but itself.
    base = last or git(place.repository, "rev-list", "--max-count=2", commit).splitlines()[-1]
    subject = git(place.repository, "show", "--no-patch", "--format=%s", commit)
    why = f"{commit[:12]} {subject}"
    found = planned(place, store, Meant(followed.inventory, commit, base, why, since=ARRIVED))
    return found, "" if found.new.waves else f"{commit[:12]} changes no host's policies"


def _follows(place: Place, earlier: str, later: str) -> bool:
    try:
        git(place.repository, "merge-base", "--is-ancestor", earlier, later)
    except Refusal:
        return False
    return True


def _arrive(store: Store, found: Planned) -> None:
    """Write down that a commit is about no host: what is said of rollouts before it counts from there."""
    ident = store.create(replace(found.new, webhooks={}))
    while not store.step(ident, lambda now: now).state.ended:
        pass


def watch(
    place: Place, store: Store, followed: Followed, play: Callable[[Planned], None], tell: Callable[[str], None],
    pause: Callable[[], bool],
) -> None:  # fmt: skip
    """Follow a branch for as long as `pause` says so.

    Args:
        place: of the clone that fetches.
        store: where rollouts are written down.
        followed: what.
        play: begins a rollout, and comes back at its end.
        tell: is given a sentence, each once.
        pause: waits; False ends it.
    """
    said = ""
    while True:
        try:
            commit = newest(place, followed)
            found, words = due(place, store, followed, commit)
            if found is not None and found.new.waves:
                play(found)
            elif found is not None:
                _arrive(store, found)
        except Refusal as error:
            # Also what a broken commit says: the next one may be good.
            words = str(error)
        if words and words != said:
            said = words
            tell(words)
        if not pause():
            return
