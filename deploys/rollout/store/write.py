"""Changes of rows, each within a transaction of its caller's: see Store."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from deploys.refusal import Refusal
from deploys.rollout.decide import Action, Become, Enter, Start
from deploys.rollout.model import Kind, State, UnitState, Verdict, WaveState
from deploys.rollout.store.database import Connection, Row
from deploys.rollout.store.outbox import on_state, on_wave
from deploys.rollout.store.policies import reported
from deploys.rollout.store.rows import Backoff, HostResult, Unit, unit_of

_LOOKS = 5
_SILENT = HostResult(Verdict.UNKNOWN, words="the run ended without a word on it")


def apply(db: Connection, ident: int, actions: Sequence[Action], at: datetime) -> list[Unit]:
    """Write down what was decided; returns the units that are to be started now."""
    started = []
    for action in actions:
        match action:
            case Start(unit):
                started.append(start(db, unit, at))
                audited(db, ident, at, "", "unit started", f"{started[-1].key}: {' '.join(started[-1].hosts)}")
            case Enter(number, state, words):
                enter(db, ident, number, state, words, at)
                audited(db, ident, at, "", f"wave {number + 1} {state}", words)
            case Become(state, words):
                become(db, ident, state, words, at)
                audited(db, ident, at, "", state, words)
            case _:
                pass
    return started


def new_token() -> str:
    """Tells a rollout, or a run, from those of the same number in other rows: a copy may have been taken back."""
    return secrets.token_hex(4)


def start(db: Connection, unit: int, at: datetime) -> Unit:
    """A unit that is to come is under way from now on, as another attempt."""
    row = db.execute(
        "UPDATE unit SET state = ?, attempt = attempt + 1, started = ?, token = ? WHERE id = ? AND state = ?"
        " RETURNING *",
        (UnitState.RUNNING, at.isoformat(), new_token(), unit, UnitState.PENDING),
    ).fetchone()
    return unit_of(row)


def add_units(
    db: Connection, ident: int, wave: int, kind: Kind, units: Sequence[Sequence[str]], busy: int = 0, due: str = "",
    attempt: int = 0,
) -> None:  # fmt: skip
    """Units that are to come. `attempt`: of those that were begun already, as a part of another one."""
    db.executemany(
        "INSERT INTO unit (rollout, wave, kind, state, hosts, busy, due, attempt) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(ident, wave, kind, UnitState.PENDING, json.dumps(list(unit)), busy, due, attempt) for unit in units],
    )


def taken(other: Row) -> str:
    """Why a host is not to be had, from a row of the rollout that has it, with the host's name as `host`."""
    return (
        f"{other['host']} is in rollout {other['id']} of {other['who']} ({other['why']}), which is {other['state']}: "
        "wait for its end, or abort it"
    )


def lock(db: Connection, ident: int) -> None:
    """Take the hosts of a rollout for it.

    Raises:
        Refusal: another one has one of them.
    """
    for _ in range(_LOOKS):
        # Always in one order: who waits for another's host has none that the other one waits for.
        db.execute(
            "INSERT INTO host_lock (name, rollout) SELECT name, rollout FROM host WHERE rollout = ? ORDER BY name"
            " ON CONFLICT (name) DO NOTHING",
            (ident,),
        )
        _refuse_taken(db, ident)
        mine = db.execute("SELECT count(*) AS hosts FROM host_lock WHERE rollout = ?", (ident,)).fetchone()["hosts"]
        if mine == db.execute("SELECT count(*) AS hosts FROM host WHERE rollout = ?", (ident,)).fetchone()["hosts"]:
            return
        # Another rollout had some, and has ended between the two looks.
    message = "other rollouts end just now, and let go of hosts of this one: say it once more"
    raise Refusal(message)


def _refuse_taken(db: Connection, ident: int) -> None:
    other = db.execute(
        "SELECT host.name AS host, rollout.* FROM host JOIN host_lock ON host_lock.name = host.name"
        " JOIN rollout ON rollout.id = host_lock.rollout"
        " WHERE host.rollout = ? AND host_lock.rollout <> ? ORDER BY host.name LIMIT 1",
        (ident, ident),
    ).fetchone()
    if other is not None:
        raise Refusal(taken(other))


def enter(db: Connection, ident: int, number: int, state: WaveState, words: str, at: datetime) -> None:
    """A wave comes into a state."""
    db.execute(
        "UPDATE wave SET state = ?, since = ?, words = ? WHERE rollout = ? AND number = ?",
        (state, at.isoformat(), words, ident, number),
    )
    on_wave(db, ident, number, state, words, at)
    if state is not WaveState.BACK:
        return
    # Only what was touched goes back, each host once however often it was tried; also what was to be tried once more.
    rows = db.execute(
        "SELECT hosts FROM unit WHERE rollout = ? AND wave = ? AND kind = ? AND attempt > 0 ORDER BY id",
        (ident, number, Kind.CONVERGE),
    ).fetchall()
    seen: set[str] = set()
    units = []
    for row in rows:
        hosts = [name for name in json.loads(row["hosts"]) if name not in seen]
        seen.update(hosts)
        if hosts:
            units.append(hosts)
    add_units(db, ident, number, Kind.BACK, units)


def become(db: Connection, ident: int, state: State, words: str, at: datetime) -> None:
    """A rollout comes into a state; with its end its hosts are free."""
    db.execute("UPDATE rollout SET state = ?, words = ?, since = ? WHERE id = ?", (state, words, at.isoformat(), ident))
    on_state(db, ident, state, words, at)
    if state.ended:
        db.execute("DELETE FROM host_lock WHERE rollout = ?", (ident,))


def put_back(db: Connection, unit: Unit, at: datetime) -> bool:
    """Have a unit that was started, and that nobody has begun, to come again; False when it is under way no more."""
    row = db.execute(
        "UPDATE unit SET state = ?, attempt = attempt - 1, holder = '' WHERE id = ? AND attempt = ? AND token = ?"
        " AND state = ? RETURNING id",
        (UnitState.PENDING, unit.id, unit.attempt, unit.token, UnitState.RUNNING),
    ).fetchone()
    if row is not None:
        audited(db, unit.rollout, at, "", "unit put back", unit.key)
    return row is not None


def audited(db: Connection, ident: int, at: datetime, who: str, event: str, about: str) -> None:
    """A line of audit."""
    _audit(db, [(ident, at.isoformat(), who, event, about)])


def _audit(db: Connection, lines: Sequence[tuple[int, str, str, str, str]]) -> None:
    db.executemany("INSERT INTO audit (rollout, at, who, event, about) VALUES (?, ?, ?, ?, ?)", lines)


def finish(db: Connection, unit: Unit, results: Mapping[str, HostResult], at: datetime, backoff: Backoff) -> bool:
    """Write down what came of a unit; False when that is done already, or another attempt has taken its place.

    Hosts that somebody else is busy with are a unit that is to come later, as often as the back-off allows.
    """
    row = db.execute(
        "UPDATE unit SET state = ?, ended = ? WHERE id = ? AND attempt = ? AND token = ? AND state = ? RETURNING busy",
        (UnitState.DONE, at.isoformat(), unit.id, unit.attempt, unit.token, UnitState.RUNNING),
    ).fetchone()
    if row is None:
        return False
    found = {name: results.get(name, _SILENT) for name in unit.hosts}
    busy = [name for name, result in found.items() if result.verdict is Verdict.BUSY]
    wait = backoff.after(row["busy"])
    if busy and wait is not None:
        done = [name for name in unit.hosts if name not in busy]
        due = (at + wait).isoformat()
        _split(db, unit, done, busy, row["busy"] + 1, due)
        _audit(db, [(unit.rollout, at.isoformat(), "", "busy", f"{name}: {found[name].words}") for name in busy])
        found = {name: found[name] for name in done}
    _write(db, unit, {name: _given_up(result, row["busy"]) for name, result in found.items()}, at)
    return True


def _given_up(result: HostResult, times: int) -> HostResult:
    if result.verdict is not Verdict.BUSY:
        return result
    return HostResult(Verdict.FAILED, result.changes, f"{result.words}\nit was so {times + 1} times")


def _split(db: Connection, unit: Unit, done: list[str], busy: list[str], times: int, due: str) -> None:
    if done:
        db.execute("UPDATE unit SET hosts = ? WHERE id = ?", (json.dumps(done), unit.id))
        # Whoever says "busy" now may have been changed before that: the way back must not leave it out.
        add_units(db, unit.rollout, unit.wave, unit.kind, [busy], times, due, unit.attempt)
    else:
        db.execute(
            "UPDATE unit SET state = ?, busy = ?, due = ?, holder = '', ended = '' WHERE id = ?",
            (UnitState.PENDING, times, due, unit.id),
        )


def _write(db: Connection, unit: Unit, results: Mapping[str, HostResult], at: datetime) -> None:
    column, words = ("back", "back_words") if unit.kind is Kind.BACK else ("verdict", "words")
    db.executemany(
        f"UPDATE host SET {column} = ?, changes = ?, {words} = ? WHERE rollout = ? AND name = ?",  # noqa: S608 - ours
        [(each.verdict, each.changes, each.words, unit.rollout, name) for name, each in results.items()],
    )
    when = at.isoformat()
    _audit(db, [(unit.rollout, when, "", f"{unit.kind} {each.verdict}", name) for name, each in results.items()])
    reported(db, unit, results, at)
