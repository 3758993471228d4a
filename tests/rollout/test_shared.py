"""The commands of several controllers, as a user says them, and what they refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from errno import ENOSPC
from pathlib import Path

import psycopg
import pytest

from deploys.refusal import Refusal
from deploys.rollout.doctor import Finding, findings
from deploys.rollout.engine import procrastinate
from deploys.rollout.engine.procrastinate import Jobs
from deploys.rollout.engine.shared import database_at, store_at
from deploys.rollout.engine.work import Work
from deploys.rollout.model import Answer, Spec, State, Verdict
from deploys.rollout.place import DATABASE, Place, environment
from deploys.rollout.results import read_results, write_results
from deploys.rollout.store import store as store_module
from deploys.rollout.store import write
from deploys.rollout.store.commands import Commands
from deploys.rollout.store.leases import claim, heard_of
from deploys.rollout.store.postgres import Postgres
from deploys.rollout.store.reports import audit
from deploys.rollout.store.rows import HostResult
from deploys.rollout.store.schema import VERSION
from tests.rollout.played import ROOT, SOON, Played, World, new
from tests.rollout.receiver import receiving

SECRET = "hunter2"
INVENTORY = """
from deploys.policies.secret import Secret
from deploys.rollout.settings import Most, Rollout, Share, Webhook
from deploys.policies.files import File, Files
from inventories._fleet import fleet, group, host

web = group("web", Files(files=[File(path="/etc/motd", content="hello")]))
hosts = fleet(*(host(f"web-{n}", web, address="127.0.0.1", ssh_port=9, ssh_user="root") for n in range(2)))
rollout = Rollout(
    waves=[Share(count=1), Share()], unreachable=Most(whole_percent=100),
    notify=[Webhook(name="desk", url=Secret.env("DESK"), events=["begun", "ended"])],
)
"""


def deploys(*words: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploys", *words], cwd=cwd, env={**os.environ, **env}, text=True, capture_output=True,
        check=False, timeout=120,
    )  # fmt: skip


def test_the_database_is_prepared_once_whoever_asks_and_nothing_works_before(conninfo, tmp_path) -> None:
    env = {DATABASE: conninfo, "PHOTON_FLEET_STATE": str(tmp_path / "state")}
    before = deploys("status", **env)
    assert before.returncode == 2
    assert "is empty: `photon-fleet database` prepares it" in before.stderr
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda word: deploys(word, **env).stdout, ["database"] * 2))
    # Each of the two halves is done by one of them, whichever comes first.
    assert all(f": schema {VERSION}" in said for said in both)
    for words in (f": schema {VERSION}, it was empty\n", "Procrastinate's tables are made\n"):
        assert sum(words in said for said in both) == 1, both
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute("UPDATE meta SET version = 1")
    assert "is of an older Photon Fleet (schema 1, here" in deploys("status", **env).stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (f"postgresql://ann:no@{SECRET}@db/fleet", "an @ of its user or password is written %40"),
        (f"not {SECRET}", "is no address of PostgreSQL"),
        (f"postgresql://ann:{SECRET}@127.0.0.1:9/fleet", "the database fleet on 127.0.0.1 does not answer"),
    ],
)
def test_a_database_that_cannot_be_had_is_told_without_its_password(given, words) -> None:
    done = deploys("status", **{DATABASE: given})
    assert done.returncode == 2
    assert words in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_tables_of_another_procrastinate_are_refused(prepared) -> None:
    procrastinate._require_prepared(Postgres(prepared))
    with psycopg.connect(prepared, autocommit=True) as db:
        db.execute("DELETE FROM engine_migration WHERE name = (SELECT max(name) FROM engine_migration)")
    with pytest.raises(Refusal, match="is of another Procrastinate: `photon-fleet database` prepares it"):
        procrastinate._require_prepared(Postgres(prepared))


def test_without_the_extra_it_is_said_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    with pytest.raises(Refusal, match=r"pip install 'photon-fleet\[distributed\]'"):
        database_at("postgresql://db/fleet")


def test_the_doctor_says_that_no_worker_is_there(prepared, tmp_path) -> None:
    place = Place(ROOT, tmp_path)
    store = store_at(prepared)
    store.create(new([[1]]))
    about = {each.about: each.words for each in findings_with(prepared, place)}
    assert about["rollouts under way"].startswith("no worker was heard of for 60 s, and rollout 1 waits for one")
    heard_of(store, "one")
    assert not any(each.words for each in findings_with(prepared, place) if each.about == "rollouts under way")


def findings_with(conninfo: str, place: Place) -> list[Finding]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATABASE, conninfo)
        return list(findings(place))


def test_a_worker_without_a_database_says_what_it_needs() -> None:
    done = deploys("worker", **{DATABASE: ""})
    assert done.returncode == 2
    assert "PHOTON_FLEET_DATABASE names no database, such as" in done.stderr


def test_runs_are_not_told_of_the_database(monkeypatch) -> None:
    monkeypatch.setenv(DATABASE, f"postgresql://ann:{SECRET}@db/fleet")
    assert SECRET not in str(environment(ROOT))


def test_a_gate_is_asked_once_however_many_workers_look(prepared, tmp_path) -> None:
    world = World(tmp_path / "common", store=store_at(prepared, SOON))
    ident = world.begin([[1]], Spec(gates=("alerts",)))
    asked, may_answer = [], threading.Event()

    def ask(*about) -> tuple[Answer, str]:
        asked.append(about)
        may_answer.wait(20)
        return Answer.PASS, "quiet"

    def one() -> Work:
        return Work(store_at(prepared, SOON), Played(ROOT, tmp_path / "one", world.place.state), ask, print)

    one().tick(ident)
    (unit,) = world.store.running(ident)
    one().run(ident, unit.id, unit.attempt)
    first = threading.Thread(target=one().tick, args=(ident,))
    first.start()
    while not asked:
        time.sleep(0.01)
    for _ in range(3):
        one().tick(ident)
    may_answer.set()
    first.join()
    assert len(asked) == 1
    assert world.store.rollout(ident).state is State.DONE


class Full(Played):
    """A machine whose disk is full."""

    def run(self, *_) -> dict[str, HostResult]:
        raise OSError(ENOSPC, "No space left on device")


@pytest.mark.parametrize("begun", [False, True])
def test_a_full_disk_is_told_once_and_what_is_not_begun_is_tried_elsewhere(prepared, tmp_path, begun) -> None:
    store, told = store_at(prepared, SOON), []
    ident = store.create(new([[1]]))
    work = Work(store, Full(ROOT, tmp_path), lambda *_: (Answer.PASS, ""), told.append)
    work.tick(ident)
    (unit,) = store.running(ident)
    if begun:
        claim(store, (ident, unit.id, unit.attempt), Full(ROOT, tmp_path).machine, lambda now: now)
        (tmp_path / "runs").mkdir()
        (tmp_path / f"runs/{unit.key}.begun").touch()
    for _ in range(2):
        if begun:
            work._go_on(unit)
        else:
            work.run(ident, unit.id, unit.attempt)
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert store.running(ident) == ([unit] if begun else [])
    busy = [about for *_, event, about in audit(store, ident) if event == "busy"]
    assert [about.partition(" cannot begin the run: ")[2] for about in busy] == (
        [] if begun else ["[Errno 28] No space left on device"]
    )


def test_the_word_to_workers_is_of_the_transaction(prepared) -> None:
    def fails() -> None:
        with Postgres(prepared).writing() as db:
            Jobs().wake(db, 1)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    with psycopg.connect(prepared) as db:
        assert db.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (0,)


def test_what_a_run_says_of_a_host_that_is_busy_is_failed_for_an_older_controller(tmp_path, monkeypatch) -> None:
    path = tmp_path / "said"
    monkeypatch.setenv("PHOTON_FLEET_RESULT", str(path))
    given = {"web-1": HostResult(Verdict.BUSY, words="bob"), "web-2": HostResult(Verdict.OK, 3)}
    write_results(given)
    assert read_results(path) == given
    assert '"verdict": "failed"' in path.read_text()


def test_hosts_that_are_let_go_between_two_looks_are_taken_all_the_same(prepared, monkeypatch) -> None:
    first, second = store_at(prepared), store_at(prepared)
    ident = first.create(new([[1]]))
    Commands(first, "ann").say(ident, "abort")
    ends = [ident]

    class Between:
        def __init__(self, db) -> None:
            self._db, self.raw = db, db.raw

        def execute(self, query, values=(), /):
            found = self._db.execute(query, values)
            if "INSERT INTO host_lock" in query and ends:
                first.step(ends.pop(), lambda now: now)
            return found

    monkeypatch.setattr(store_module, "lock", lambda db, number: write.lock(Between(db), number))
    other = second.create(new([[1]]))
    assert first.rollout(ident).state is State.ABORTED
    assert [tuple(row) for row in first.rows("SELECT name, rollout FROM host_lock")] == [("web-0", other)]


@pytest.fixture
def receiver():
    with receiving() as found:
        yield found


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository of a fleet whose hosts nobody can reach, with this project's own code in it."""
    place = tmp_path / "repository"
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in names.stdout.decode().splitlines():
        if (ROOT / name).is_file() and not name.startswith(("docs/", "tests/")):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    (place / "inventories/fleet.py").write_text(INVENTORY)
    git = ["git", "-c", "user.name=ann", "-c", "user.email=ann@example.com"]
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["commit", "-qm", "one"],
        ["commit", "-qm", "two", "--allow-empty"],
    ):
        subprocess.run([*git, *words], cwd=place, check=True)
    return place


def test_a_rollout_is_begun_here_and_carried_out_by_a_worker(repository, prepared, receiver, tmp_path) -> None:
    env = {DATABASE: prepared, "PYTHONPATH": str(repository), "PHOTON_FLEET_STATE": str(tmp_path / "state"),
           "DESK": receiver.url}  # fmt: skip
    worker = subprocess.Popen(
        [sys.executable, "-m", "deploys", "worker", "--name", "one"], cwd=repository, env={**os.environ, **env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        done = deploys("rollout", "inventories/fleet.py", "--why", "ticket 4711", cwd=repository, **env)
        # Budgets would put up with a host that cannot be reached, but nobody was seen well.
        assert done.returncode == 5, (done, worker.poll())
        assert "stopped: wave 1 failed" in done.stdout
        assert "wave   1  1 host       failed      1 unreachable; no host of it was proved" in done.stdout
        again = deploys("rollback", "1", cwd=repository, **env)
        assert "what was changed goes back" in again.stdout, again
    finally:
        worker.terminate()
        said = worker.communicate(timeout=30)[0]
    assert worker.returncode == 0, said
    assert receiver.told[:2] == [(1, "begun", "running"), (1, "ended", "stopped")]
    assert "worker one of machine" in said
    assert "the next worker of this machine waits for them" in said
