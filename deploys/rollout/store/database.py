"""What the store asks of a database: the same SQL for both, `?` for values, rows by name and by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from deploys.refusal import Refusal


class Unanswered(Refusal):
    """The database is not there, or went away; what was asked for last may be done or not."""


class Locked(Unanswered):
    """Somebody else holds what was asked for, and did not let go of it: nothing was done."""


class Row(Protocol):
    """A row: `row["name"]`, `row[0]`, `tuple(row)`."""

    def __getitem__(self, key: Any, /) -> Any: ...  # noqa: ANN401 - what a column holds

    def __iter__(self) -> Iterator[Any]: ...


class Cursor(Protocol):
    """What a statement has found or done."""

    @property
    def rowcount(self) -> int:
        """How many rows it has changed."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a Row, or None
        """The next row."""

    def fetchall(self) -> list[Any]:
        """All rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Within a transaction."""

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Cursor:
        """Carry a statement out."""

    def executemany(self, query: str, rows: Sequence[Sequence[Any]], /) -> object:
        """Carry it out for each of many."""


class Database(Protocol):
    """Where the rows are. Each method raises Unanswered when it is not there."""

    @property
    def name(self) -> str:
        """For sentences; no secret is in it."""

    def prepare(self) -> None:
        """Refuse a schema of another version, or make it ours where nobody else may be at work."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one moment."""

    def writing(self, rollout: int | None = None) -> AbstractContextManager[Connection]:
        """A transaction; while it lasts nobody else writes to the rollout."""

    def now(self, db: Connection) -> datetime:
        """The time that everybody goes by, in UTC."""

    def asking(self, rollout: int) -> AbstractContextManager[bool]:
        """Whether the gates of a rollout are this process's to ask, for as long as it is within."""
