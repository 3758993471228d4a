"""Rows in a file of SQLite: one controller on one machine, and nothing to set up.

Every change is one transaction with its line of audit, on the disk before the call returns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from deploys.rollout.store.database import Connection
from deploys.rollout.store.schema import VERSION, require_known, upgrade

BUSY_SECONDS = 30


class Sqlite:
    """A file, which is made when it is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._path)

    def prepare(self) -> None:
        """Make it, or bring it to today's schema.

        Raises:
            Refusal: a newer version has written it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(self._connect()) as db:
            db.execute("PRAGMA journal_mode = WAL")
        with self.writing() as db:
            known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
            found = db.execute("SELECT version FROM meta").fetchone()[0] if known else 0
            require_known(self.name, found)
            if found < VERSION:
                upgrade(db, found)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        return db

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment."""
        with closing(self._connect()) as db:
            db.execute("BEGIN")
            yield db

    @contextmanager
    def writing(self, rollout: int | None = None) -> Iterator[Connection]:  # noqa: ARG002 - nobody else writes at all
        """A transaction."""
        with closing(self._connect()) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def now(self, db: Connection) -> datetime:  # noqa: ARG002 - the machine's
        """The time of this machine, which is the only one."""
        return datetime.now(UTC)

    @contextmanager
    def asking(self, rollout: int) -> Iterator[bool]:  # noqa: ARG002 - there is one controller
        """Always: there is one controller."""
        yield True
