"""Commits of a fleet, and rollouts of them: inventories and runs are played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploys.rollout import watch
from deploys.rollout.begin import Meant, planned
from deploys.rollout.members import Members
from deploys.rollout.model import State, Verdict
from deploys.rollout.place import Place, git
from deploys.rollout.settings import Rollout, Share
from deploys.rollout.store.rows import HostResult
from deploys.rollout.store.store import Store
from deploys.rollout.watch import Followed, due
from deploys.rollout.waves import Candidate

NAMES = ("db-1", "web-1", "web-2")
PROD, STAGING = "prod.py", "staging.py"
MAIN = Followed(PROD, "origin", "main")


class Trees(Place):
    def tree(self, revision: str) -> Path:
        path = self.state / "trees" / revision
        path.mkdir(parents=True, exist_ok=True)
        (path / PROD).touch()
        return path


@dataclass
class Fleet:
    """Commits, each with a digest for each host; rollouts of them whose runs end as the test says."""

    place: Place
    store: Store
    settings: Rollout = field(default_factory=lambda: Rollout(waves=[Share(count=1), Share()]))
    says: dict[str, dict[str, str]] = field(default_factory=dict)

    def commit(self, message: str, **policies: str) -> str:
        identity = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
        git(self.place.repository, *identity, "commit", "--quiet", "--allow-empty", "-m", message)
        found = git(self.place.repository, "rev-parse", "HEAD")
        self.says[found] = {name: policies.get(name.partition("-")[0], "old") for name in NAMES}
        return found

    def members(self, tree: Path, _inventory: str, limit: tuple[str, ...]) -> Members:
        names = [name for name in NAMES if not limit or name in limit]
        policies = {name: {"files": self.says[tree.name][name]} for name in names}
        hosts = tuple(Candidate(name, (name.partition("-")[0],)) for name in names)
        return Members(self.settings, (), {}, hosts, ("db", "web"), policies)

    def meant(self, revision: str, **more) -> Meant:
        return Meant(more.pop("inventory", PROD), revision, more.pop("base", revision), "a test", **more)

    def begin(self, revision: str, again: bool = False, **more) -> int:
        return self.store.create(
            replace(planned(self.place, self.store, self.meant(revision, **more)).new, again=again)
        )

    def play(self, ident: int, verdict: Callable[[str], Verdict] = lambda _: Verdict.OK) -> State:
        while not self.store.step(ident, lambda now: now).state.ended:
            for unit in self.store.running(ident):
                self.store.finish(unit, {name: HostResult(verdict(name)) for name in unit.hosts})
        return self.store.rollout(ident).state

    def roll(self, revision: str, verdict: Callable[[str], Verdict] = lambda _: Verdict.OK, **more) -> State:
        return self.play(self.begin(revision, **more), verdict)

    def watched(self, revision: str) -> None:
        """What `watch` does with a commit that it has fetched, when that is about no host."""
        found, _ = due(self.place, self.store, MAIN, revision)
        assert not found.new.waves
        watch._arrive(self.store, found)

    def due(self, revision: str) -> tuple[set[str], str]:
        found, words = due(self.place, self.store, MAIN, revision)
        return {name for wave in found.new.waves for name in wave.hosts} if found else set(), words
