"""The commands of several controllers: worker, and database."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import click

from deploys.refusal import Refusal
from deploys.rollout.engine.shared import database_at, store_at
from deploys.rollout.local import LOOK_SECONDS
from deploys.rollout.place import DATABASE, Place, place_of
from deploys.rollout.store.database import Unanswered
from deploys.rollout.store.leases import GONE_SECONDS
from deploys.rollout.store.rows import Backoff
from deploys.rollout.store.store import Store
from deploys.rollout.voice import Voice, json_lines


def _conninfo() -> str:
    given = os.environ.get(DATABASE)
    if not given:
        message = (
            f"{DATABASE} names no database, such as postgresql://photon@db.example.com/photon "
            "(a password is better in ~/.pgpass)"
        )
        raise Refusal(message)
    return given


_STAMP = "%Y-%m-%d %H:%M:%S"
Tell = Callable[[str], None]
_SAYING = Voice(stamp=_STAMP).note


@click.command()
def database() -> None:
    """Make the tables in the PostgreSQL of PHOTON_FLEET_DATABASE, or bring them to this version's."""
    found = database_at(_conninfo())
    from deploys.rollout.engine.procrastinate import prepare  # noqa: PLC0415 - needs an extra

    before, after = found.upgrade()
    click.echo(f"{found.name}: schema {after}" + ("" if before == after else f", it was {before or 'empty'}"))
    for line in prepare(found):
        click.echo(line)


@click.command()
@click.option("--runs", default=8, show_default=True, type=click.IntRange(1, 64), help="Runs at once.")
@click.option("--name", default=None, help="Of this worker, in the database. [default: the machine's, and its process]")
@click.option(
    "--gone-after", default=GONE_SECONDS, show_default=True, type=click.FloatRange(min=1),
    help="Seconds without a word from a machine after which its runs are begun elsewhere.",
)  # fmt: skip
@json_lines
def worker(runs: int, name: str | None, gone_after: float, *, as_json: bool) -> None:
    """Carry out the rollouts of this repository, together with the workers of other machines, until TERM or INT."""
    tell = Voice(as_json, _STAMP).note
    place = place_of(Path.cwd())
    conninfo = _conninfo()
    store = worker_store(conninfo, tell=tell)
    called = name or f"{socket.gethostname()}-{os.getpid()}"
    tell(f"worker {called} of machine {place.machine}: {runs} runs at once; {store.database.name}")
    work(store, place, conninfo, called, runs, gone_after, tell)
    tell("ended; runs that are under way go on, and the next worker of this machine waits for them")


def work(
    store: Store, place: Place, conninfo: str, name: str, runs: int, gone_after: float,
    tell: Tell = _SAYING,
) -> None:  # fmt: skip
    """Work until somebody says TERM or INT."""
    # Not for who only prepares the database: they bring what inventories need along.
    from deploys.rollout.engine.procrastinate import serve  # noqa: PLC0415
    from deploys.rollout.engine.work import Work  # noqa: PLC0415
    from deploys.rollout.members import asker  # noqa: PLC0415
    from deploys.rollout.notify import sending  # noqa: PLC0415

    with sending(store, place, tell):
        serve(database_at(conninfo), Work(store, place, asker(store, place), tell, gone_after), name, runs, tell)


def worker_store(conninfo: str, backoff: Backoff | None = None, tell: Tell = _SAYING) -> Store:
    """The rollouts there; a worker that is started before its database waits for it."""
    # It has gevent make greenlets of threads. psycopg looks for that when it is imported: with a way to wait of its own
    # one row that somebody else holds would stop the whole worker.
    import pyinfra_cli  # noqa: F401, PLC0415 - `database` needs nothing of it

    last = ""
    while True:
        try:
            return store_at(conninfo, backoff)
        except Unanswered as error:
            if str(error) != last:
                last = str(error)
                tell(last)
            time.sleep(LOOK_SECONDS)
