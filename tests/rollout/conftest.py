"""The databases that rollouts are written down in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploys.rollout import begin
from deploys.rollout.engine.procrastinate import prepare
from deploys.rollout.engine.shared import database_at, store_at
from deploys.rollout.place import git
from deploys.rollout.store.rows import Backoff
from deploys.rollout.store.sqlite import Sqlite
from deploys.rollout.store.store import Store
from tests.rollout import postgres
from tests.rollout.fleets import Fleet, Trees

THRICE = Backoff(first=0.5, most=0.5, times=3)


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """PostgreSQL."""
    if postgres.missing() and os.geteuid() != 0:
        pytest.skip(f"it needs {' and '.join(postgres.missing())}: install them, or run pytest as root")
    with postgres.server() as found:
        yield found


@pytest.fixture
def conninfo(server: postgres.Server) -> str:
    """An empty database."""
    with psycopg.connect(server.conninfo, autocommit=True) as db:
        number = db.execute("SELECT count(*) FROM pg_database").fetchone()[0]
        db.execute(f"CREATE DATABASE test_{number}")
    return server.conninfo.replace("/postgres?", f"/test_{number}?")


@pytest.fixture
def prepared(conninfo: str) -> str:
    """One with our tables."""
    database = database_at(conninfo)
    database.upgrade()
    prepare(database)
    return conninfo


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store, of either kind."""
    if request.param == "sqlite":
        return Store(Sqlite(tmp_path / "rollouts.sqlite"), backoff=THRICE)
    return store_at(request.getfixturevalue("prepared"), THRICE)


@pytest.fixture
def fleet(tmp_path, monkeypatch) -> Fleet:
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch", "main")
    made = Fleet(Trees(repository, tmp_path / "state"), Store(Sqlite(tmp_path / "rows.sqlite")))
    monkeypatch.setattr(begin, "members", made.members)
    monkeypatch.setattr(begin, "code_between", lambda *_: "")
    return made
