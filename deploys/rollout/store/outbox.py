"""What people are to be told, as rows: written with what it is about in one transaction, sent by whoever is there.

Nothing of a webhook is here but its name: its address is a secret, which only the checkout of the rollout knows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from deploys.rollout.model import State, WaveState
from deploys.rollout.store.rows import spec_from_text

if TYPE_CHECKING:
    from deploys.rollout.store.database import Connection
    from deploys.rollout.store.store import Store

SCHEMA = 1
FIRST_SECONDS = 5.0
_MOST_SECONDS = 900.0
_MOST_AT_ONCE = 20
GIVEN_UP_AFTER = timedelta(days=3)


class Event(StrEnum):
    """What a webhook may want to be told."""

    BEGUN = "begun"
    WAVE = "wave"
    """A wave has passed its gates, or failed."""
    WAITS = "waits"
    """A person is waited for: it is paused, or a wave wants approval."""
    BACK = "back"
    """It begins to go back."""
    ENDED = "ended"


class Delivery(StrEnum):
    """Where a message is."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class Message:
    """A message that is due. `key` is the same however often it is sent."""

    id: int
    rollout: int
    webhook: str
    event: Event
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """Tells a receiver which messages are one."""
        return str(self.body["key"])


def wanted(db: Connection, ident: int, webhooks: dict[str, tuple[str, ...]]) -> None:
    """Note which webhooks a new rollout has, each with its events."""
    for name, events in webhooks.items():
        db.execute("INSERT INTO webhook (rollout, name, events) VALUES (?, ?, ?)", (ident, name, json.dumps(events)))


def on_state(db: Connection, ident: int, state: State, words: str, at: datetime) -> None:
    """A rollout comes into a state: what is to be told of it."""
    events = {State.PAUSED: Event.WAITS, State.BACK: Event.BACK}
    event = Event.ENDED if state.ended else events.get(state)
    if event is not None:
        told(db, ident, event, words, at)


def on_wave(db: Connection, ident: int, number: int, state: WaveState, words: str, at: datetime) -> None:
    """A wave comes into a state: what is to be told of it."""
    if state in {WaveState.PASSED, WaveState.FAILED}:
        told(db, ident, Event.WAVE, f"wave {number + 1} {state}{f': {words}' if words else ''}", at)
    if state is WaveState.PASSED:
        on_approval(db, ident, number + 1, at)


def on_approval(db: Connection, ident: int, number: int, at: datetime) -> None:
    """A wave is next: somebody is asked for approval where it needs one, and nobody has given it before."""
    row = db.execute("SELECT spec FROM rollout WHERE id = ?", (ident,)).fetchone()
    wave = db.execute("SELECT approved FROM wave WHERE rollout = ? AND number = ?", (ident, number)).fetchone()
    if wave is not None and not wave["approved"] and number in spec_from_text(row["spec"]).approvals:
        told(db, ident, Event.WAITS, f"wave {number + 1} waits for approval: photon-fleet approve {ident}", at)


def told(db: Connection, ident: int, event: Event, words: str, at: datetime) -> None:
    """Write a message down for each webhook that wants the event."""
    hooks = db.execute("SELECT name, events FROM webhook WHERE rollout = ? ORDER BY name", (ident,)).fetchall()
    names = [row["name"] for row in hooks if event in json.loads(row["events"])]
    if not names:
        return
    of = db.execute("SELECT * FROM rollout WHERE id = ?", (ident,)).fetchone()
    counts = db.execute("SELECT verdict, count(*) AS hosts FROM host WHERE rollout = ? GROUP BY verdict", (ident,))
    body = {
        "schema": SCHEMA, "event": event, "rollout": ident, "state": of["state"], "words": words, "why": of["why"],
        "who": of["who"], "inventory": of["inventory"], "revision": of["revision"], "at": at.isoformat(),
        "hosts": {row["verdict"] or "to come": row["hosts"] for row in counts.fetchall()},
    }  # fmt: skip
    for name in names:
        number = db.execute("SELECT count(*) AS messages FROM outbox WHERE rollout = ?", (ident,)).fetchone()
        # Of another state directory's rollout of the same number it must differ.
        text = f"{of['created']}\0{of['revision']}\0{ident}\0{number['messages']}\0{at.isoformat()}\0{name}"
        message = json.dumps({**body, "key": hashlib.sha256(text.encode()).hexdigest()[:32]})
        db.execute(
            "INSERT INTO outbox (rollout, webhook, event, message, at, state, due) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (ident, name, event, message, at.isoformat(), Delivery.WAITING, at.isoformat()),
        )


# A later message does not overtake one that waits for its next attempt.
_DUE = """
SELECT * FROM outbox WHERE state = ? AND due <= ? AND NOT EXISTS (
  SELECT 1 FROM outbox AS earlier WHERE earlier.rollout = outbox.rollout AND earlier.webhook = outbox.webhook
  AND earlier.id < outbox.id AND earlier.state = ? AND earlier.due > ?
) ORDER BY id LIMIT ?
"""


def take(store: Store, now: datetime) -> list[Message]:
    """The messages that are due, in order, and from now on due later: whoever dies on the way has sent none of them.

    The wait between two attempts doubles, up to a quarter of an hour.
    """
    when = now.isoformat()
    if not store.rows("SELECT 1 FROM outbox WHERE state = ? AND due <= ? LIMIT 1", Delivery.WAITING, when):
        return []
    with store.writing() as db:
        rows = db.execute(_DUE, (Delivery.WAITING, when, Delivery.WAITING, when, _MOST_AT_ONCE)).fetchall()
        taken = []
        for row in rows:
            later = now + timedelta(seconds=min(_MOST_SECONDS, FIRST_SECONDS * 2 ** row["attempts"]))
            done = db.execute(
                "UPDATE outbox SET attempts = attempts + 1, due = ? WHERE id = ? AND attempts = ?",
                (later.isoformat(), row["id"], row["attempts"]),
            )
            # Where there are several controllers another one may have been faster.
            if done.rowcount == 1:
                taken.append(row)
    return [Message(row["id"], row["rollout"], row["webhook"], Event(row["event"]), json.loads(row["message"]))
            for row in taken]  # fmt: skip


def delivered(store: Store, message: Message, words: str, now: datetime) -> None:
    """Write down what came of an attempt: `words` say why it failed, or nothing.

    What cannot be delivered for three days is given up.
    """
    with store.writing() as db:
        begun = datetime.fromisoformat(message.body["at"])
        state = Delivery.SENT if not words else Delivery.WAITING
        if words and now - begun > GIVEN_UP_AFTER:
            state = Delivery.GIVEN_UP
        db.execute("UPDATE outbox SET state = ?, words = ? WHERE id = ?", (state, words, message.id))


def undelivered(store: Store, ident: int | None = None) -> list[dict[str, Any]]:
    """What was never delivered of a rollout (or of all), by webhook: messages, since when, and the last reason."""
    rows = store.rows(
        "SELECT rollout, webhook, count(*) AS messages, min(at) AS since, max(attempts) AS attempts,"
        " max(words) AS words FROM outbox WHERE state <> ? AND (? = 0 OR rollout = ?)"
        " GROUP BY rollout, webhook ORDER BY rollout, webhook",
        Delivery.SENT, ident or 0, ident or 0,
    )  # fmt: skip
    return [{key: row[key] for key in ("rollout", "webhook", "messages", "since", "attempts", "words")} for row in rows]


def undelivered_lines(store: Store, ident: int) -> list[str]:
    """The same for people."""
    return [
        f"webhook {each['webhook']}: {each['messages']} message{'' if each['messages'] == 1 else 's'} not delivered, "
        f"the first of {each['since'][:19]} UTC ({each['words'] or 'not tried to the end'})"
        for each in undelivered(store, ident)
    ]
