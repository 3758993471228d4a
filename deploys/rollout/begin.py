"""From an inventory and a commit to a rollout that is written down: who is in it, in which waves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploys.refusal import Refusal
from deploys.rollout.members import Members, members
from deploys.rollout.model import State
from deploys.rollout.place import Place, git, person
from deploys.rollout.results import plain
from deploys.rollout.settings import Calendar
from deploys.rollout.since import code_between, reasons
from deploys.rollout.store.rows import New
from deploys.rollout.store.store import Store
from deploys.rollout.store.write import taken
from deploys.rollout.waves import Wave, waves


def commit_of(repository: Path, revision: str) -> str:
    """The whole name of a commit.

    Raises:
        Refusal: there is none of that name.
    """
    if revision.startswith("-"):
        message = f"{revision!r} is no revision"
        raise Refusal(message)
    try:
        return git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except Refusal as refusal:
        message = f"{repository} has no commit {revision!r}"
        raise Refusal(message) from refusal


def inventory_in(place: Place, text: str) -> str:
    """The path of an inventory file from the top of the repository, in the one way that rollouts are known by.

    Args:
        place: of the repository.
        text: a path from its top, or an absolute one.

    Raises:
        Refusal: it leads out of the repository.
    """
    top = place.repository
    found = Path(os.path.normpath(top / text))
    if not found.is_relative_to(top):
        # The same directory may have another name, by a link on the way to the repository.
        found, top = found.resolve(), top.resolve()
    if not found.is_relative_to(top) or found == top:
        message = f"{text} is no file of {top}: name an inventory by its path from there, such as inventories/prod.py"
        raise Refusal(message)
    return found.relative_to(top).as_posix()


def _members(place: Place, revision: str, inventory: str, limit: Sequence[str]) -> Members:
    """What an inventory file says at a commit.

    Raises:
        Refusal: it cannot be used, or is no file of that commit: a rollout is of commits alone.
    """
    tree = place.tree(revision)
    if inventory != inventory_in(place, inventory) or (tree / inventory).resolve() != tree.resolve() / inventory:
        message = f"{inventory} is no file of {revision[:12]} itself, but leads elsewhere (by a link, or its path)"
        raise Refusal(f"{message}: what is there may be in no commit. Name the file that is meant")
    return members(tree, inventory, limit)


@dataclass(frozen=True)
class Planned:
    """A rollout as it would begin. `reasons` say of each host why it is in, where only some are."""

    new: New
    reasons: Mapping[str, str]
    mend_drift: bool = False


def planned(
    place: Place, inventory: str, revision: str, limit: Sequence[str], why: str, base: str, *, since: str | None = None
) -> Planned:
    """A rollout as it would begin.

    Args:
        place: of the repository.
        inventory: path of the file, from the top of the repository.
        revision: the commit that is rolled out.
        base: the one that hosts go back to.
        limit: names, groups and patterns of hosts; all when empty.
        why: for people.
        since: a commit; only hosts that it has become another policy for since then are in.

    Raises:
        Refusal: the inventory cannot be used.
    """
    found = _members(place, revision, inventory, limit)
    why_in = _why_in(place, inventory, found, since, revision) if since else {}
    hosts = [each for each in found.hosts if not since or each.name in why_in]
    settings = found.settings
    if settings.on_fail != "stop" and base != revision and hosts:
        _require_way_back(place, inventory, base)
    made = waves(hosts, [share.step() for share in settings.waves], revision, settings.unit_hosts)
    calendar = Calendar(windows=settings.windows, freezes=settings.freezes)
    spec = settings.spec(found.gates)
    new = New(
        inventory, revision, base, person(), plain(why), spec, calendar.model_dump_json(), made, webhooks=found.webhooks
    )
    return Planned(new, why_in, settings.mend_drift)


_MOST_ROLLOUTS = 1000
ARRIVED = "arrived"


def arrived(store: Store, inventory: str) -> str | None:
    """The last commit that arrived at all hosts it was meant for."""
    known = store.rollouts(_MOST_ROLLOUTS)
    return next((each.revision for each in known if each.inventory == inventory and each.state is State.DONE), None)


def base_of(place: Place, store: Store, inventory: str, commit: str, given: str | None) -> str:
    """The commit that hosts go back to: the one that is asked for, the last that arrived, or the one before.

    Raises:
        Refusal: there is no such commit.
    """
    last = arrived(store, inventory)
    if given is None and last is not None and last != commit:
        return last
    return commit_of(place.repository, given or f"{commit}^")


def since_of(place: Place, store: Store, inventory: str, given: str | None) -> str | None:
    """The commit that hosts' policies are compared with (a revision, or `arrived`); None when all hosts are meant.

    Raises:
        Refusal: there is no such commit.
    """
    if given == ARRIVED:
        return arrived(store, inventory)
    return commit_of(place.repository, given) if given else None


def require_free(store: Store, new: New) -> None:
    """Refuse hosts that another rollout has, before a controller is looked for: the sentence names that rollout.

    Raises:
        Refusal: it has one of them.
    """
    mine = {name for wave in new.waves for name in wave.hosts}
    query = (
        "SELECT host_lock.name AS host, rollout.* FROM host_lock JOIN rollout ON rollout.id = host_lock.rollout"
        " ORDER BY host_lock.name"
    )
    other = next((row for row in store.rows(query) if row["host"] in mine), None)
    if other is not None:
        raise Refusal(taken(other))


def held(store: Store, revision: str) -> str:
    """Why a commit is held back: it was rolled out, and a gate has not let it on; "" when it was not."""
    bad = {State.STOPPED, State.WENT_BACK}
    same = [each for each in store.rollouts(_MOST_ROLLOUTS) if each.revision == revision]
    found = same[0] if same and same[0].state in bad else None
    return f"{revision[:12]} is held: rollout {found.id} of it {found.state}: {found.words}" if found else ""


def _require_way_back(place: Place, inventory: str, base: str) -> None:
    """Refuse what could not go back, before anything is touched.

    Raises:
        Refusal: the inventory of the commit that hosts would go back to cannot be used.
    """
    try:
        _members(place, base, inventory, ())
    except Refusal as error:
        message = f"hosts could not go back to {base[:12]} ({error}): name another commit with --base"
        raise Refusal(message) from error


def _why_in(place: Place, inventory: str, found: Members, since: str, revision: str) -> dict[str, str]:
    code = code_between(place, since, revision)
    if code:
        return {each.name: code for each in found.hosts}
    if not (place.tree(since) / inventory).is_file():
        return {each.name: "its inventory is new" for each in found.hosts}
    return reasons(_members(place, since, inventory, ()).policies, found.policies)


def shown(made: Iterable[Wave]) -> list[str]:
    """Waves, for people."""
    return [
        f"wave {number + 1:3}  {wave.name:12} {len(wave.hosts):5} hosts in {len(wave.units)} runs: "
        f"{', '.join(wave.hosts[:8])}{', ...' if len(wave.hosts) > 8 else ''}"  # noqa: PLR2004 - what fits a line
        for number, wave in enumerate(made)
    ]
