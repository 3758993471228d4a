"""From an inventory and a commit to a rollout that is written down: who is in it, in which waves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from deploys.errors import InputError
from deploys.rollout.members import members
from deploys.rollout.place import Place, git, person
from deploys.rollout.settings import Calendar
from deploys.rollout.store.rows import New
from deploys.rollout.waves import Wave, waves


def commit_of(repository: Path, revision: str) -> str:
    """The whole name of a commit.

    Raises:
        InputError: there is none of that name.
    """
    if revision.startswith("-"):
        message = f"{revision!r} is no revision"
        raise InputError(message)
    return git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")


def planned(place: Place, inventory: str, revision: str, limit: Sequence[str], why: str, base: str) -> New:
    """A rollout as it would begin.

    Raises:
        InputError: the inventory cannot be used, or nobody is in it.
    """
    found = members(place.tree(revision), inventory, limit)
    if not found.hosts:
        message = f"{inventory} has no hosts"
        raise InputError(message)
    settings = found.settings
    made = waves(found.hosts, [share.step() for share in settings.waves], revision, settings.unit_hosts)
    calendar = Calendar(windows=settings.windows, freezes=settings.freezes)
    return New(inventory, revision, base, person(), why, settings.spec(found.gates), calendar.model_dump_json(), made)


def shown(made: Iterable[Wave]) -> list[str]:
    """Waves, for people."""
    return [
        f"wave {number + 1:3}  {wave.name:12} {len(wave.hosts):5} hosts in {len(wave.units)} runs: "
        f"{', '.join(wave.hosts[:8])}{', ...' if len(wave.hosts) > 8 else ''}"  # noqa: PLR2004 - what fits a line
        for number, wave in enumerate(made)
    ]
