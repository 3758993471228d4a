"""The history of transactions: which packages came and went, by which command line.

Kept where tdnf keeps it, in tables of this stand-in's own. A change made by `rpm` shows up as `(unknown)` when the
next transaction runs. A package is "automatic" when a transaction brought it that did not name it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import TdnfError

PATH = Path("/usr/lib/sysimage/tdnf/history.db")
_SCHEMA = """
CREATE TABLE transactions (id INTEGER PRIMARY KEY, cmdline TEXT NOT NULL, time INTEGER NOT NULL);
CREATE TABLE items (transaction_id INTEGER NOT NULL, added INTEGER NOT NULL, nevra TEXT NOT NULL);
CREATE TABLE automatic (transaction_id INTEGER NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Entry:
    id: int
    command: str
    time: int
    added: list[str]
    removed: list[str]


def installed_nevras() -> list[str]:
    """What the RPM database holds, keys included, in its order."""
    import rpm  # noqa: PLC0415  # Late: most runs do not look at the history.

    headers = rpm.TransactionSet("/", rpm._RPMVSF_NOSIGNATURES).dbMatch()
    return [header[rpm.RPMTAG_NEVRA] for header in headers]


class History:
    """The history database.

    Raises:
        TdnfError: 1802 it is not there and `create` is not given, 1801 it cannot be written.
    """

    def __init__(self, *, create: bool = False) -> None:
        if not PATH.exists() and not create:
            raise TdnfError(1802)
        try:
            PATH.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(PATH)
            if not self._db.execute("SELECT name FROM sqlite_master WHERE name = 'items'").fetchall():
                self._db.executescript(_SCHEMA)
                self._add("(set)", installed_nevras(), [])
        except (OSError, sqlite3.Error) as error:
            raise TdnfError(1801) from error

    def entries(self) -> list[Entry]:
        rows = self._db.execute("SELECT id, cmdline, time FROM transactions ORDER BY id").fetchall()
        return [Entry(id_, command, when, self._items(id_, 1), self._items(id_, 0)) for id_, command, when in rows]

    def synchronize(self, command: str = "(unknown)") -> bool:
        """Record what changed since the last transaction; False when nothing did."""
        before, now = self.state(), installed_nevras()
        added = [nevra for nevra in now if nevra not in before]
        removed = [nevra for nevra in before if nevra not in set(now)]
        if added or removed:
            self._add(command, added, removed)
        return bool(added or removed)

    def state(self, transaction: int | None = None) -> dict[str, None]:
        """The packages after a transaction (the last one), in the order in which they came."""
        last = transaction if transaction is not None else self.last
        rows = self._db.execute(
            "SELECT added, nevra FROM items WHERE transaction_id <= ? ORDER BY transaction_id, rowid", (last,)
        )
        state: dict[str, None] = {}
        for added, nevra in rows:
            if added:
                state[nevra] = None
            else:
                state.pop(nevra, None)
        return state

    @property
    def last(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM transactions").fetchone()[0])

    def auto_installed(self, transaction: int | None = None) -> set[str]:
        last = transaction if transaction is not None else self.last
        rows = self._db.execute(
            "SELECT name, value FROM automatic WHERE transaction_id <= ? ORDER BY transaction_id, rowid",
            (last,),
        )
        return {name for name, value in dict(rows.fetchall()).items() if value}

    def set_automatic(self, names: Iterable[str], *, value: bool) -> None:
        last = self.last
        with self._db:
            self._db.executemany("INSERT INTO automatic VALUES (?, ?, ?)", [(last, name, value) for name in names])

    def restore_automatic(self, transaction: int) -> None:
        """Make the packages automatic that were so after a transaction, and no others."""
        then, now = self.auto_installed(transaction), self.auto_installed()
        self.set_automatic(sorted(then - now), value=True)
        self.set_automatic(sorted(now - then), value=False)

    def add_empty(self, command: str) -> None:
        """Add a transaction that changed no package."""
        self._add(command, [], [])

    def _add(self, command: str, added: Iterable[str], removed: Iterable[str]) -> None:
        try:
            with self._db:
                cursor = self._db.execute(
                    "INSERT INTO transactions (cmdline, time) VALUES (?, ?)", (command, int(time.time()))
                )
                rows = [(cursor.lastrowid, 1, nevra) for nevra in added]
                rows += [(cursor.lastrowid, 0, nevra) for nevra in removed]
                self._db.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise TdnfError(1801) from error

    def _items(self, transaction: int, added: int) -> list[str]:
        query = "SELECT nevra FROM items WHERE transaction_id = ? AND added = ? ORDER BY rowid"
        return [nevra for (nevra,) in self._db.execute(query, (transaction, added))]
