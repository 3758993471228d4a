"""From an inventory and a commit to a rollout that is written down: who is in it, in which waves."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploys.refusal import Refusal
from deploys.rollout.members import Members, members
from deploys.rollout.place import POLICIES, Place, git, person
from deploys.rollout.results import plain
from deploys.rollout.settings import Calendar
from deploys.rollout.since import Policies, code_between, reasons
from deploys.rollout.store.had import arrived, held_by, hosts_had
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


ARRIVED = "arrived"


@dataclass(frozen=True)
class Meant:
    """What somebody wants to be rolled out.

    Args:
        inventory: path of the file, from the top of the repository.
        revision: the commit.
        base: the one that hosts go back to.
        why: for people.
        limit: names, groups and patterns of hosts; all when empty.
        exactly: no hosts but those of these names.
        since: only hosts that the commit has another policy for than this one; with `ARRIVED`, than what each has.
    """

    inventory: str
    revision: str
    base: str
    why: str
    limit: Sequence[str] = ()
    exactly: Collection[str] | None = None
    since: str | None = None


@dataclass(frozen=True)
class Planned:
    """A rollout as it would begin. `reasons` say of each host why it is in, where only some are."""

    new: New
    reasons: Mapping[str, str]
    mend_drift: bool = False


def planned(place: Place, store: Store, meant: Meant) -> Planned:
    """A rollout as it would begin.

    Raises:
        Refusal: the inventory cannot be used, or hosts could not go back.
    """
    inventory, revision = meant.inventory, meant.revision
    found = _members(place, revision, inventory, meant.limit)
    if not meant.limit:
        _keep(place, revision, inventory, found.policies)
    why_in = _why_in(place, store, meant, found) if meant.since else {}
    hosts = [
        each
        for each in found.hosts
        if (not meant.since or each.name in why_in) and (meant.exactly is None or each.name in meant.exactly)
    ]
    settings = found.settings
    if settings.on_fail != "stop" and meant.base != revision and hosts:
        _require_way_back(place, inventory, meant.base)
    steps = [share.step() for share in settings.waves]
    made = waves(hosts, steps, revision, settings.unit_hosts, found.groups)
    calendar = Calendar(windows=settings.windows, freezes=settings.freezes).model_dump_json()
    spec = settings.spec(found.gates, [wave.step for wave in made])
    new = New(
        inventory, revision, meant.base, person(), plain(meant.why), spec, calendar, made, webhooks=found.webhooks,
        whole=not meant.limit and meant.exactly is None and meant.since in {None, ARRIVED},
    )  # fmt: skip
    return Planned(new, why_in, settings.mend_drift)


def base_of(place: Place, store: Store, inventory: str, commit: str, given: str | None) -> str:
    """The commit that hosts go back to: the one that is asked for, the last that arrived, or the one before.

    Raises:
        Refusal: there is no such commit.
    """
    last = arrived(store, inventory)
    if given is None and last is not None and last != commit:
        return last
    return commit_of(place.repository, given or f"{commit}^")


def since_of(place: Place, given: str | None) -> str | None:
    """What hosts' policies are compared with: a commit, or `ARRIVED`; None when all hosts are meant.

    Raises:
        Refusal: there is no such commit.
    """
    return commit_of(place.repository, given) if given and given != ARRIVED else given


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


def held(store: Store, inventory: str, revision: str) -> str:
    """Why a commit is held back: it was rolled out, and a gate has not let it on; "" when it was not."""
    with store.database.reading() as db:
        return held_by(db, inventory, revision)


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


def _why_in(place: Place, store: Store, meant: Meant, found: Members) -> dict[str, str]:
    """Why each host is in that is."""
    names = [each.name for each in found.hosts]
    if meant.since != ARRIVED:
        return _since(place, meant, str(meant.since), names, found)
    had = hosts_had(store, meant.inventory)
    why = {name: "no rollout was at it" for name in names if name not in had}
    why |= {name: had[name].words for name in names if name in had and had[name].revision is None}
    for revision in sorted({each.revision for each in had.values() if each.revision is not None}):
        of_it = [name for name in names if name in had and had[name].revision == revision]
        if of_it:
            why |= _since(place, meant, revision, of_it, found)
    return {name: why[name] for name in names if name in why}


def _policies(place: Place, revision: str, inventory: str) -> Policies:
    """What an inventory says at a commit. It is read once: a fleet may have many commits, and is looked at often."""
    try:
        kept: Policies = json.loads(_kept(place, revision, inventory).read_text())
    except (OSError, ValueError):
        kept = _members(place, revision, inventory, ()).policies
        _keep(place, revision, inventory, kept)
    return kept


def _kept(place: Place, revision: str, inventory: str) -> Path:
    name = hashlib.sha256(inventory.encode()).hexdigest()[:12]
    return place.state / POLICIES / f"{revision}.{name}.json"


def _keep(place: Place, revision: str, inventory: str, policies: Policies) -> None:
    path = _kept(place, revision, inventory)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(json.dumps(policies))
    new.replace(path)


def _since(place: Place, meant: Meant, revision: str, names: Sequence[str], found: Members) -> dict[str, str]:
    """Of hosts that have a commit: why those are in that the new one has another policy for."""
    if revision == meant.revision:
        return {}
    try:
        if code := code_between(place, revision, meant.revision):
            return dict.fromkeys(names, code)
        if not (place.tree(revision) / meant.inventory).is_file():
            return dict.fromkeys(names, "its inventory is new")
        before = _policies(place, revision, meant.inventory)
    except Refusal as error:
        return dict.fromkeys(names, f"what {revision[:12]} says cannot be read: {error}")
    return reasons(before, {name: found.policies[name] for name in names})


def shown(made: Iterable[Wave]) -> list[str]:
    """Waves, for people."""
    return [
        f"wave {number + 1:3}  {wave.name:12} {len(wave.hosts):5} hosts in {len(wave.units)} runs: "
        f"{', '.join(wave.hosts[:8])}{', ...' if len(wave.hosts) > 8 else ''}"  # noqa: PLR2004 - what fits a line
        for number, wave in enumerate(made)
    ]
