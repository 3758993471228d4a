"""Telling people by webhooks: at least once, in order, and without ever holding a rollout up.

The controller takes messages from the outbox (store/outbox.py) and has them sent by a process in the checkout of their
rollout, which alone knows the addresses:

    python -m deploys.rollout.notify WEBHOOK INVENTORY      messages on standard input, what came of each on its output
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from typing_extensions import override

from deploys.refusal import Refusal
from deploys.rollout.gate_kinds import bearer, has_user, no_answer
from deploys.rollout.place import Place, environment
from deploys.rollout.processes import answer_of, answering, ended_within
from deploys.rollout.settings import Webhook, settings_of
from deploys.rollout.store.outbox import Message, delivered, take
from deploys.rollout.store.store import Store

LOOK_SECONDS = 2.0
LAST_SECONDS = 15.0
"""How long the end of a controller waits for its last messages; what is left is sent by the next one."""
_SEND_SECONDS = 300
_AFTER = "one before it was not delivered"

Sender = Callable[[Place, Store, Sequence[Message]], Sequence[str]]
"""Sends messages of one webhook: of each why it was not delivered, or nothing."""


@contextmanager
def sending(store: Store, place: Place, tell: Callable[[str], None], sender: Sender | None = None) -> Iterator[None]:
    """Send what is due in a thread of its own, also what an earlier controller has left."""
    over = threading.Event()
    thread = threading.Thread(target=_send, args=(store, place, tell, sender or sent, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LAST_SECONDS)


def _send(store: Store, place: Place, tell: Callable[[str], None], sender: Sender, over: threading.Event) -> None:
    said = ""
    while True:
        last = over.is_set()
        try:
            send_due(store, place, sender)
        except Exception as error:  # noqa: BLE001 - the rollout goes on, whatever becomes of its messages
            words = f"messages were not sent: {type(error).__name__}"
            if words != said:
                said = words
                tell(words)
        if last:
            return
        over.wait(LOOK_SECONDS)


def send_due(store: Store, place: Place, sender: Sender) -> None:
    """Send what is due now."""
    found = sorted(take(store, store.now()), key=lambda each: (each.rollout, each.webhook, each.id))
    for _, of_one in groupby(found, key=lambda each: (each.rollout, each.webhook)):
        messages = list(of_one)
        for message, words in zip(messages, sender(place, store, messages), strict=True):
            delivered(store, message, words, store.now())


def sent(place: Place, store: Store, messages: Sequence[Message]) -> list[str]:
    """Have messages of one webhook sent by the checkout of their rollout."""
    try:
        # One of another version is not known: it must hold no other's messages up.
        rollout = store.rollout(messages[0].rollout)
        tree = place.tree(rollout.revision)
        command = [sys.executable, "-m", "deploys.rollout.notify", messages[0].webhook, rollout.inventory]
        bodies = json.dumps([each.body for each in messages])
        done = ended_within(_SEND_SECONDS, command, given=bodies, cwd=tree, env=environment(tree))
        words = _each(answer_of(done.out))
    except subprocess.TimeoutExpired:
        words = [f"no end within {_SEND_SECONDS} s"]
    except Refusal as error:
        words = [str(error)]
    except OSError as error:
        words = [f"its process cannot be started: {error.strerror or type(error).__name__}"]
    except (ValueError, TypeError):
        # What such a process says may hold the address.
        words = [f"its process ended with {done.status}, and no answer"]
    return [*words, *[_AFTER] * len(messages)][: len(messages)]


def _each(given: Any) -> list[str]:  # noqa: ANN401 - plain values of JSON
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        message = "it is no list of words"
        raise TypeError(message)
    return given


def post_all(webhook: Webhook, bodies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Post messages, up to the first one that is not taken: why it was not, or nothing."""
    words = []
    for body in bodies:
        words.append(post(webhook, body))
        if words[-1]:
            break
    return words


def post(webhook: Webhook, body: Mapping[str, Any]) -> str:
    """Post one message; why it was not taken, without a word of the address."""
    try:
        with urllib.request.build_opener(_Straight).open(_request(webhook, body), timeout=webhook.seconds) as answer:
            answer.read(1 << 16)
    except urllib.error.HTTPError as error:
        return f"the answer has the status {error.code}"
    except Refusal as error:
        return str(error)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return no_answer(error, webhook.seconds)
    return ""


def _request(webhook: Webhook, body: Mapping[str, Any]) -> urllib.request.Request:
    """What is posted.

    Source of the formats: Slack's "Sending messages using incoming webhooks"; the header is that of the IETF's draft
    "The Idempotency-Key HTTP Header Field".

    Raises:
        Refusal: the address or the token cannot be had or used; the message holds neither.
    """
    given = {"text": slack_text(body)} if webhook.kind == "slack" else body
    headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{body["key"]}"', "User-Agent": "photon-fleet"}
    address = webhook.address()
    if has_user(address):
        message = "its url holds a name or a password before its @: leave them out, and give a token instead"
        raise Refusal(message)
    request = urllib.request.Request(address, json.dumps(given).encode(), headers, method="POST")  # noqa: S310 - see below
    if request.type not in {"http", "https"}:
        message = "its url is no http or https address"
        raise Refusal(message)
    if webhook.token is not None:
        if request.type != "https":
            message = "its token is sent over https alone"
            raise Refusal(message)
        request.add_unredirected_header("Authorization", bearer(webhook.token))
    return request


class _Straight(urllib.request.HTTPRedirectHandler):
    """What is said goes to the address that was given, and nowhere else."""

    @override
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def slack_text(body: Mapping[str, Any]) -> str:
    """A message in words, with what Slack gives a meaning escaped."""
    hosts = ", ".join(f"{count} {verdict}" for verdict, count in body["hosts"].items())
    head = "begins" if body["event"] == "begun" else str(body["state"])
    more = f": {body['words']}" if body["words"] else ""
    where = f"{body['who']}, {body['inventory']} at {body['revision'][:12]}"
    text = f"rollout {body['rollout']} {head}{more}\n{body['why']} ({where}); hosts: {hosts}"
    for found, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(found, instead)
    return text


def main(words: Sequence[str]) -> int:
    """Send what standard input holds."""
    name, inventory = words
    bodies = json.load(sys.stdin)
    with answering() as answer:
        print(json.dumps(_said(name, inventory, bodies)), file=answer)
    return 0


def _said(name: str, inventory: str, bodies: Sequence[Mapping[str, Any]]) -> list[str]:
    try:
        found = next((each for each in settings_of(inventory).notify if each.name == name), None)
        return [f"the inventory has no webhook {name!r}"] if found is None else post_all(found, bodies)
    except Refusal as error:
        return [str(error)]
    except Exception as error:  # noqa: BLE001 - an inventory is a program of its author's, and knows the address
        return [f"the inventory cannot be read: {type(error).__name__}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
