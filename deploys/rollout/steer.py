"""The commands that read and write rows alone, from any terminal: status, and what people say to a rollout.

Only what is light is imported: who asks how it goes must not wait.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import get_args

import click

from deploys.refusal import Refusal
from deploys.rollout.model import State, Verdict
from deploys.rollout.place import person, place_of, store_of
from deploys.rollout.results import plain
from deploys.rollout.store.commands import Commands, Word
from deploys.rollout.store.outbox import undelivered, undelivered_lines
from deploys.rollout.store.reports import Progress, progress
from deploys.rollout.store.store import Store
from deploys.rollout.voice import Voice, json_lines
from deploys.statuses import Status

_STATUS = {State.PAUSED: Status.PAUSED, State.ABORTED: Status.ABORTED} | dict.fromkeys(
    (State.RUNNING, State.BACK), Status.CLEAN
)


def status_of(found: Progress) -> Status:
    """The exit status for a rollout as it stands; `running` is 0, as nothing is wrong with it.

    One that is done is clean when every host is: what its budgets have put up with is said all the same.
    """
    if found.rollout.state is not State.DONE:
        return _STATUS.get(found.rollout.state, Status.FAILED)
    verdicts = {verdict for wave in found.waves for verdict in wave.counts}
    if verdicts <= {Verdict.OK}:
        return Status.CLEAN
    return Status.UNREACHABLE if verdicts <= {Verdict.OK, Verdict.UNREACHABLE} else Status.DRIFT


@click.command()
@click.argument("ident", type=int, required=False)
@click.option("--json", "as_json", is_flag=True, help="The same for programs.")
def status(ident: int | None, *, as_json: bool) -> None:
    """Show a rollout (the newest one), its waves and its hosts that are not well."""
    store = store_of(place_of(Path.cwd()))
    found = progress(store, ident if ident is not None else _newest(store))
    if as_json:
        told = undelivered(store, found.rollout.id)
        click.echo(json.dumps({**found.to_json(), "undelivered": told}, indent=2))
    else:
        label = f"hosts and machines know it as {found.rollout.label}"
        click.echo(plain("\n".join([*found.lines(), label, *undelivered_lines(store, found.rollout.id)])))
    sys.exit(status_of(found))


def _newest(store: Store) -> int:
    newest = store.rollouts(1)
    if not newest:
        message = "there has been no rollout"
        raise Refusal(message)
    return newest[0].id


def _saying(word: Word) -> click.Command:
    @click.command(word, help=f"Say {word} to rollout IDENT, also from another terminal.")
    @click.argument("ident", type=int)
    @json_lines
    def say(ident: int, *, as_json: bool) -> None:
        store = store_of(place_of(Path.cwd()))
        does = Commands(store, person()).say(ident, word)
        Voice(as_json).say(word, f"rollout {ident}: {does}", rollout=ident)

    return say


pause, resume, abort, approve, retry, rollback = map(_saying, get_args(Word))
