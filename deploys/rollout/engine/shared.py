"""The rows that several controllers share: how a command comes to them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from deploys.refusal import Refusal
from deploys.rollout.store.database import Connection
from deploys.rollout.store.rows import Backoff, Unit
from deploys.rollout.store.store import Dispatch, Store

if TYPE_CHECKING:
    from deploys.rollout.store.postgres import Postgres


def database_at(conninfo: str) -> Postgres:
    """A database of PostgreSQL's.

    Raises:
        Refusal: it is no address of one, or the extra is not installed.
    """
    if not all(map(find_spec, ("psycopg", "procrastinate"))):
        message = "PHOTON_FLEET_DATABASE is set, and needs the extra: pip install 'photon-fleet[distributed]'"
        raise Refusal(message)
    from deploys.rollout.store.postgres import Postgres  # noqa: PLC0415 - needs the extra

    return Postgres(conninfo)


def store_at(conninfo: str, backoff: Backoff | None = None) -> Store:
    """The rollouts there.

    Raises:
        Refusal: as database_at; or it does not answer, or is of another version.
    """
    return Store(database_at(conninfo), _Later(), backoff)


class _Later:
    """Jobs, once there is one: who only looks does not wait for what tells workers."""

    def __init__(self) -> None:
        self._found: Dispatch | None = None

    def _jobs(self) -> Dispatch:
        if self._found is None:
            from deploys.rollout.engine.procrastinate import Jobs  # noqa: PLC0415 - see above

            self._found = Jobs()
        return self._found

    def start(self, db: Connection, units: Sequence[Unit]) -> None:
        """Units are to be carried out."""
        self._jobs().start(db, units)

    def wake(self, db: Connection, ident: int) -> None:
        """A rollout may go on."""
        self._jobs().wake(db, ident)
