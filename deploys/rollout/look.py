"""The commands that look at hosts and change nothing: plan and drift."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from deploys.refusal import Refusal
from deploys.rollout.begin import Meant, Planned, base_of, commit_of, held, inventory_in, planned, since_of
from deploys.rollout.place import Place, place_of, store_of
from deploys.rollout.plan import SCHEMA, HostPlan, Plan, hosts_to_json, shown
from deploys.rollout.planning import ask_hosts, width
from deploys.rollout.results import plain
from deploys.rollout.store.had import arrived
from deploys.rollout.voice import Voice
from deploys.statuses import Status

UNIT_HOSTS = 50


def progress_of(hosts: int, verb: str) -> Callable[[int], None]:
    """Tells how many have answered, on the error stream, where many are asked."""
    answered = 0

    def tell(more: int) -> None:
        nonlocal answered
        answered += more
        if hosts > UNIT_HOSTS:
            click.echo(f"{datetime.now(UTC):%H:%M:%S}  {answered} of {hosts} hosts {verb}", err=True)

    return tell


def make_plan(place: Place, found: Planned) -> Plan:
    """What a rollout would change, by asking its hosts.

    Raises:
        Refusal: there is no such commit.
    """
    new = found.new
    names = sorted(name for wave in new.waves for name in wave.hosts)
    tree = place.tree(new.revision)
    hosts = ask_hosts(tree, new.inventory, names, unit_hosts=UNIT_HOSTS, parallel=width(),
                      tell=progress_of(len(names), "looked at"))  # fmt: skip
    return Plan(new.inventory, new.revision, new.base, hosts)


def status_of(hosts: Mapping[str, HostPlan], changed: Status) -> Status:
    """What a plan ends with; what is not known is worse than a change, and a failure worse than no answer."""
    plans = hosts.values()
    if any(plan.reached and plan.unknown for plan in plans):
        return Status.FAILED
    if any(not plan.reached for plan in plans):
        return Status.UNREACHABLE
    return Status.CLEAN if all(plan.clean for plan in plans) else changed


@click.command()
@click.argument("inventory")
@click.option("--limit", multiple=True, help="Only these hosts, groups or patterns.")
@click.option("--revision", default="HEAD", show_default=True, help="The commit that would be rolled out.")
@click.option("--base", default=None, help="The commit that hosts would go back to. [default: the last that arrived]")
@click.option(
    "--since", default=None, help="Only hosts whose policies differ from this commit (`arrived`: the last one)."
)
@click.option("--output", type=click.Path(path_type=Path), help="Write the plan down, for `rollout --plan`.")
@click.option("--json", "as_json", is_flag=True, help="The same for programs.")
@click.option("--markdown", is_flag=True, help="The same for the comment of a merge request.")
def plan(
    inventory: str,
    limit: tuple[str, ...],
    revision: str,
    base: str | None,
    since: str | None,
    output: Path | None,
    *,
    as_json: bool,
    markdown: bool,
) -> None:
    """Ask the hosts of INVENTORY what a rollout would change on each; changes nothing.

    Status: 0 nothing, 3 something, 5 not all is known, 6 a host could not be reached, 7 no host is meant.
    """
    place = place_of(Path.cwd())
    store = store_of(place)
    inventory = inventory_in(place, inventory)
    commit = commit_of(place.repository, revision)
    before = base_of(place, store, inventory, commit, base)
    found = planned(place, store, Meant(inventory, commit, before, "plan", limit, since=since_of(place, since)))
    made = make_plan(place, found)
    words = held(store, inventory, commit)
    if output:
        output.write_text(json.dumps(made.to_json(), indent=1) + "\n")
    if as_json:
        click.echo(json.dumps({**made.to_json(), "reasons": dict(found.reasons), "held": words}, indent=2))
    else:
        lines = [*_why(found), *shown(made), *([words] if words else [])]
        click.echo(plain("\n".join(_as_markdown(made, lines) if markdown else lines)))
    sys.exit(Status.NOTHING if not made.hosts else status_of(made.hosts, Status.CHANGES))


_MOST_REASONS = 50


def _why(found: Planned) -> list[str]:
    alike: dict[str, list[str]] = {}
    for name, words in found.reasons.items():
        alike.setdefault(words, []).append(name)
    return [
        f"in, as {words}: {', '.join(names[:_MOST_REASONS])}{', ...' if len(names) > _MOST_REASONS else ''}"
        for words, names in alike.items()
    ]


def _as_markdown(made: Plan, lines: Sequence[str]) -> list[str]:
    """The lines in a block, which nothing that a host has said can end: it is indented, and not fenced."""
    each = [part for line in lines for part in line.splitlines() or [""]]
    return [f"### Plan of {made.revision[:12]}", "", *(f"    {line}" for line in each)]


@click.command()
@click.argument("inventory")
@click.option("--limit", multiple=True, help="Only these hosts, groups or patterns.")
@click.option("--revision", default=None, help="The commit that hosts should be at. [default: the last that arrived]")
@click.option("--mend", is_flag=True, help="Roll that commit out to the hosts that have drifted, where it is allowed.")
@click.option("--why", default="drift", show_default=True, help="With --mend: what hosts and the audit are told.")
@click.option("--json", "as_json", is_flag=True, help="The same for programs.")
def drift(inventory: str, limit: tuple[str, ...], revision: str | None, why: str, *, mend: bool, as_json: bool) -> None:
    """Say which hosts of INVENTORY are not as they should be: what a run would change, and what is not so.

    Status: 0 none, 4 some, 5 not all is known, 6 a host could not be reached, 7 no host is meant; with --mend that of
    the rollout.
    """
    place = place_of(Path.cwd())
    store = store_of(place)
    inventory = inventory_in(place, inventory)
    commit = commit_of(place.repository, revision or arrived(store, inventory) or "HEAD")
    found = planned(place, store, Meant(inventory, commit, commit, why, limit))
    names = sorted(name for wave in found.new.waves for name in wave.hosts)
    tree = place.tree(commit)
    hosts = ask_hosts(tree, inventory, names, unit_hosts=UNIT_HOSTS, parallel=width(), prove=True,
                      tell=progress_of(len(names), "looked at"))  # fmt: skip
    drifted = [name for name, plan in hosts.items() if plan.drifted]
    if as_json:
        told = {"schema": SCHEMA, "inventory": inventory, "revision": commit, "drifted": drifted}
        # A rollout that follows says a line for each thing: this is the first one then.
        click.echo(json.dumps({**told, "hosts": hosts_to_json(hosts)}, indent=None if mend else 2))
    else:
        *lines, _ = shown(Plan(inventory, commit, commit, hosts))
        click.echo(plain("\n".join([*lines, f"{len(drifted)} of {len(hosts)} hosts are not as {commit[:12]} says"])))
    if mend and drifted:
        if not found.mend_drift:
            message = f"{inventory} does not allow it: Rollout(mend_drift=True) in its variable rollout does"
            raise Refusal(message)
        from deploys.rollout.cli import begun  # noqa: PLC0415 - who only looks needs no engine

        mended = planned(place, store, Meant(inventory, commit, commit, why, exactly=drifted))
        begun(place, store, mended.new, Voice(as_json), stay=True)
    sys.exit(Status.NOTHING if not hosts else status_of(hosts, Status.DRIFT))
