"""How workers are told of work: jobs of Procrastinate's, beside the rows in PostgreSQL.

A job says where to look; whether there is anything to do the rows say. Jobs are deleted when they have ended, whatever
came of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status
from procrastinate.schema import SchemaManager

from deploys.refusal import Refusal
from deploys.rollout.engine.threads import in_thread
from deploys.rollout.local import LOOK_SECONDS
from deploys.rollout.store.database import Locked, Unanswered
from deploys.rollout.store.postgres import Postgres, Session
from deploys.rollout.store.rows import Unit

if TYPE_CHECKING:
    # Who only tells workers does not wait for what they need.
    from deploys.rollout.engine.work import Work
DECIDE, UNITS = "photon-fleet", "photon-fleet-units"
"""Queues: gates and decisions must not wait for runs to end."""
DECIDERS = 4
STALLED_SECONDS = 30
_POOL: dict[str, Any] = {"min_size": 1, "max_size": 4, "timeout": 5}


class Jobs:
    """Tells workers in the transaction that makes the work."""

    def __init__(self) -> None:
        self._app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())

    def start(self, db: Any, units: Sequence[Unit]) -> None:  # noqa: ANN401 - a Session
        """Units are to be carried out."""
        told = [{"ident": unit.rollout, "number": unit.id, "attempt": unit.attempt} for unit in units]
        query = "SELECT args FROM procrastinate_jobs WHERE queue_name = ? AND status = 'todo'"
        waiting = [row["args"] for row in db.execute(query, (UNITS,))]
        # All workers may be at other units for long: who is told all the same does not find it any sooner.
        if new := [each for each in told if each not in waiting]:
            self._defer(db, "run", UNITS, new)

    def wake(self, db: Any, ident: int) -> None:  # noqa: ANN401 - a Session
        """A rollout may go on."""
        self._defer(db, "tick", DECIDE, [{"ident": ident}])

    def _defer(self, db: Session, task: str, queue: str, told: Sequence[dict[str, Any]]) -> None:
        try:
            self._app.configure_task(task, queue=queue, connection=db.raw).batch_defer(*told)
        except ConnectorException as error:
            if isinstance(error.__cause__, psycopg.Error):
                # So that who has opened the transaction knows it.
                raise error.__cause__ from None
            raise


def prepare(database: Postgres) -> list[str]:
    """Bring Procrastinate's own tables to the version that is installed; returns what was done."""
    with database.writing() as db:
        db.execute("CREATE TABLE IF NOT EXISTS engine_migration (name TEXT PRIMARY KEY)")
        db.execute("LOCK TABLE engine_migration")
        missing = _missing(db)
        if db.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()[0] is None:
            db.raw.execute(SchemaManager.get_schema())
            done = ["Procrastinate's tables are made"]
        else:
            for name in missing:
                db.raw.execute((_migrations() / name).read_bytes())
            done = [f"Procrastinate's migration {name}" for name in missing]
        db.executemany("INSERT INTO engine_migration VALUES (?)", [(name,) for name in missing])
    return done


def _migrations() -> Path:
    return Path(SchemaManager.get_migrations_path())


def _missing(db: Session) -> list[str]:
    known = {row[0] for row in db.execute("SELECT name FROM engine_migration")}
    return sorted({path.name for path in _migrations().glob("*.sql")} - known)


def _require_prepared(database: Postgres) -> None:
    with database.reading() as db:
        if _missing(db):
            message = f"{database.name} is of another Procrastinate: `photon-fleet database` prepares it"
            raise Refusal(message)


def serve(database: Postgres, work: Work, name: str, units: int, tell: Callable[[str], None]) -> None:
    """Work until somebody says TERM or INT. Runs that are under way go on; the next worker waits for them.

    Raises:
        Refusal: the tables are of another version.
    """
    # Its words on what is normal here (a database that went away) are not for people.
    for each in ("procrastinate", "psycopg.pool"):
        logging.getLogger(each).setLevel(logging.CRITICAL)
    asyncio.run(_Server(database, work, name, units, tell).run())


class _Server:
    def __init__(self, database: Postgres, work: Work, name: str, units: int, tell: Callable[[str], None]) -> None:
        self._database, self._work = database, work
        self._name, self._units, self._tell = name, units, tell

    async def run(self) -> None:
        stop = asyncio.create_task(_stopped())
        looking = asyncio.create_task(self._look())
        while not stop.done() and not looking.done():
            # That it does not answer is said where that is looked at.
            with contextlib.suppress(Unanswered, psycopg.Error, procrastinate.exceptions.ProcrastinateException):
                await self._serve([stop, looking])
            await asyncio.wait([stop, looking], timeout=1, return_when=asyncio.FIRST_COMPLETED)
        if looking.done():
            looking.result()

    async def _look(self) -> None:
        """Ends with what no waiting mends: a database of another version."""
        said = False
        while True:
            try:
                await asyncio.wrap_future(in_thread(self._work.look, "look"))
                if said:
                    self._tell(f"{self._database.name} answers again")
                said = False
            except Unanswered as error:
                if not said:
                    self._tell(f"{error}; runs that are under way go on, and are written down later")
                said = True
            await asyncio.sleep(LOOK_SECONDS)

    async def _serve(self, until: list[asyncio.Task[None]]) -> None:
        await asyncio.wrap_future(in_thread(partial(_require_prepared, self._database), "tables"))
        app = self._app()
        async with app.open_async():
            common: dict[str, Any] = {
                "name": self._name, "install_signal_handlers": False, "shutdown_graceful_timeout": 1,
                "delete_jobs": "always", "stalled_worker_timeout": STALLED_SECONDS,
            }  # fmt: skip
            workers = [
                asyncio.create_task(app.run_worker_async(queues=[queue], concurrency=concurrency, **common))
                for queue, concurrency in ((DECIDE, DECIDERS), (UNITS, self._units))
            ]
            await asyncio.wait([*until, *workers], return_when=asyncio.FIRST_COMPLETED)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _app(self) -> procrastinate.App:
        app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=self._database.conninfo, **_POOL))
        work = self._work

        @app.task(name="tick", queue=DECIDE)
        async def tick(ident: int) -> None:
            await self._contained(partial(work.tick, ident), f"rollout {ident}")

        @app.task(name="run", queue=UNITS)
        async def run(ident: int, number: int, attempt: int) -> None:
            await self._contained(partial(work.run, ident, number, attempt), f"run {ident}.{number}.{attempt}")

        @app.periodic(cron="* * * * * */5")
        @app.task(name="sweep", queue=DECIDE, queueing_lock="sweep")
        async def sweep(timestamp: int) -> None:  # noqa: ARG001 - Procrastinate gives it
            for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
                # Whether it is to be done again the rows say.
                await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
            await self._contained(work.sweep, "sweep")

        return app

    async def _contained(self, work: Callable[[], None], about: str) -> None:
        """What goes wrong is told; what was not done is told again by the next sweep."""
        try:
            await asyncio.wrap_future(in_thread(work, about))
        except Locked as error:
            # Once, as it is tried with every sweep.
            self._work.once(f"{about}: {error}")
        except Unanswered:
            pass
        except Exception as error:  # noqa: BLE001 - one rollout's trouble is not the others'
            self._tell(f"{about}: {type(error).__name__}: {error}")


async def _stopped() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    await stop.wait()
