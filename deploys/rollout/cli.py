"""The commands that carry rollouts out: rollout, and serve for one whose controller has died."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from deploys.refusal import Refusal
from deploys.rollout.begin import (
    Meant,
    Planned,
    base_of,
    commit_of,
    held,
    inventory_in,
    planned,
    require_free,
    shown,
    since_of,
)
from deploys.rollout.display import showing
from deploys.rollout.engine.follow import follow as look_on
from deploys.rollout.local import Local, only_controller
from deploys.rollout.members import asker
from deploys.rollout.notify import sending
from deploys.rollout.place import DATABASE, Place, git, place_of, store_of
from deploys.rollout.plan import Plan, read_plan
from deploys.rollout.settings import Calendar
from deploys.rollout.steer import status_of
from deploys.rollout.store.reports import Progress, progress
from deploys.rollout.store.rows import New
from deploys.rollout.store.store import Store
from deploys.rollout.voice import Voice, json_lines
from deploys.rollout.watch import Followed
from deploys.rollout.watch import watch as follow
from deploys.statuses import Status


def is_shared() -> bool:
    """Whether workers carry rollouts out, and a command only begins them and looks on."""
    return bool(os.environ.get(DATABASE))


def controller(place: Place) -> AbstractContextManager[None]:
    """Be the one that carries rollouts out; where workers do that, anybody may begin one."""
    return nullcontext() if is_shared() else only_controller(place)


@click.command()
@click.argument("inventory")
@click.option("--why", required=True, help="What it is for; hosts, other runs and the audit are told.")
@click.option("--limit", multiple=True, help="Only these hosts, groups or patterns.")
@click.option("--revision", default="HEAD", show_default=True, help="The commit that is rolled out.")
@click.option("--base", default=None, help="The commit that hosts go back to. [default: the last that arrived]")
@click.option(
    "--since", default=None, help="Only hosts whose policies differ from this commit (`arrived`: the last one)."
)
@click.option(
    "--plan", "bound", type=click.Path(path_type=Path), help="Nothing but what a file of `plan --output` says."
)
@click.option("--again", is_flag=True, help="Also a commit that is held, as a rollout of it has stopped or gone back.")
@click.option("--leave", is_flag=True, help="End with status 8 where a person is waited for; `serve` goes on later.")
@click.option("--dry", is_flag=True, help="Only show the waves.")
@json_lines
def rollout(
    inventory: str,
    why: str,
    limit: tuple[str, ...],
    revision: str,
    base: str | None,
    since: str | None,
    bound: Path | None,
    *,
    again: bool,
    leave: bool,
    dry: bool,
    as_json: bool,
) -> None:
    """Bring the hosts of INVENTORY to their policies, wave by wave, and stop when a gate says so."""
    voice = Voice(as_json)
    place = place_of(Path.cwd())
    store = store_of(place)
    inventory = inventory_in(place, inventory)
    plan = read_plan(bound) if bound else None
    commit = commit_of(place.repository, revision if plan is None or revision != "HEAD" else plan.revision)
    before = base_of(place, store, inventory, commit, base or (plan.base if plan else None))
    changed = git(place.repository, "status", "--porcelain", "--untracked-files=no").splitlines()
    if changed and revision == "HEAD":
        voice.aside(f"{len(changed)} changed files are in no commit, and are not rolled out")
    exactly = None if plan is None else _within(plan, inventory, commit, limit)
    found = planned(place, store, Meant(inventory, commit, before, why, limit, exactly, since_of(place, since)))
    new = replace(found.new, again=again, plans={} if plan is None else plan.hosts)
    _show(voice, found)
    if not found.new.waves:
        voice.note("nothing selected: no host is meant")
        sys.exit(Status.NOTHING)
    if dry:
        return
    if not again and (words := held(store, inventory, commit)):
        message = f"{words}. --again rolls it out all the same"
        raise Refusal(message)
    begun(place, store, new, voice, stay=not leave)


def _show(voice: Voice, found: Planned) -> None:
    lines = [*shown(found.new.waves), *(f"{host}: {words}" for host, words in found.reasons.items())]
    waves = [
        {"number": number + 1, "name": wave.name, "runs": wave.units} for number, wave in enumerate(found.new.waves)
    ]
    voice.show(
        "planned", lines, revision=found.new.revision, base=found.new.base, waves=waves, reasons=dict(found.reasons)
    )


def _within(plan: Plan, inventory: str, commit: str, limit: Sequence[str]) -> Sequence[str]:
    """The hosts of a plan, which must be one of this rollout.

    Raises:
        Refusal: it is another one's.
    """
    if (plan.inventory, plan.revision) != (inventory, commit):
        message = f"the plan is of {plan.inventory} at {plan.revision[:12]}, and not of {inventory} at {commit[:12]}"
        raise Refusal(message)
    if limit:
        message = "--plan says which hosts are meant: leave --limit out, or plan with it"
        raise Refusal(message)
    if not plan.hosts:
        message = "the plan is about no host: nothing would be rolled out"
        raise Refusal(message)
    return sorted(plan.hosts)


def begun(place: Place, store: Store, new: New, voice: Voice, *, stay: bool) -> NoReturn:
    """Write a rollout down, and carry it out; ends the program with its status.

    Raises:
        Refusal: a host is in another rollout, or another controller works here.
    """
    require_free(store, new)
    with controller(place):
        ident = store.create(new)
        words = f"rollout {ident} of {new.revision[:12]}; from another terminal: photon-fleet status {ident}"
        voice.say("begun", words, rollout=ident)
        _play(store, place, ident, voice, stay=stay)


def _play(store: Store, place: Place, ident: int, voice: Voice, *, stay: bool) -> NoReturn:
    last = _played(store, place, ident, voice, stay=stay)
    sys.exit(status_of(last) if last.rollout.state.ended else Status.PAUSED)


def _played(store: Store, place: Place, ident: int, voice: Voice, *, stay: bool) -> Progress:
    found = store.rollout(ident)

    opens = Calendar.model_validate_json(found.calendar).opens
    with showing(lambda: progress(store, ident), voice) as tell:
        if is_shared():
            look_on(store, ident, opens, tell, stay=stay)
        else:
            with sending(store, place, voice.aside):
                Local(store, place, asker(store, place), opens=opens, tell=tell).play(ident, stay=stay)
    last = progress(store, ident)
    voice.show("ended" if last.rollout.state.ended else "left", last.lines(), progress=last.to_json())
    return last


@click.command()
@click.argument("ident", type=int)
@click.option("--leave", is_flag=True, help="End with status 8 where a person is waited for.")
@json_lines
def serve(ident: int, *, leave: bool, as_json: bool) -> None:
    """Go on with rollout IDENT, whose controller has died, or which waited for somebody (workers do: look on)."""
    place = place_of(Path.cwd())
    store = store_of(place)
    with controller(place):
        if is_shared():
            found = store.rollout(ident)
            with store.writing(ident) as db:
                store.dispatch.wake(db, found.id)
        _play(store, place, ident, Voice(as_json), stay=not leave)


@click.command()
@click.argument("inventory")
@click.option("--remote", default="origin", show_default=True)
@click.option("--branch", default="main", show_default=True)
@click.option("--signed", is_flag=True, help="Only commits that bear a signature that git trusts.")
@click.option("--every", default=30.0, show_default=True, help="Seconds between two looks.")
@click.option("--once", is_flag=True, help="Look once, and end.")
@json_lines
def watch(
    inventory: str, remote: str, branch: str, every: float, *, signed: bool, once: bool, as_json: bool
) -> None:  # fmt: skip
    """Roll out what is merged into a branch, one rollout at a time."""
    voice = Voice(as_json)
    place = place_of(Path.cwd())
    store = store_of(place)
    followed = Followed(inventory_in(place, inventory), remote, branch, signed)
    followed.require()

    def play(found: Planned) -> None:
        _show(voice, found)
        ident = store.create(found.new)
        voice.say("begun", f"rollout {ident}: {found.new.why}", rollout=ident)
        _played(store, place, ident, voice, stay=True)

    def pause() -> bool:
        if not once:
            time.sleep(every)
        return not once

    with only_controller(place):
        for ident in store.unfinished():
            voice.say("goes on", f"rollout {ident} goes on", rollout=ident)
            _played(store, place, ident, voice, stay=True)
        follow(place, store, followed, play, voice.note, pause)
