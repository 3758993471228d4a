"""Messages for webhooks: at least once, in order, never in a rollout's way, and no word of an address."""

from __future__ import annotations

import json
import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from deploys.__main__ import main
from deploys.errors import InputError
from deploys.policies.secret import Secret
from deploys.rollout import notify
from deploys.rollout.model import Answer, Spec, State
from deploys.rollout.notify import post, post_all, send_due, sending, sent, slack_text
from deploys.rollout.settings import Rollout, Webhook
from deploys.rollout.store.outbox import delivered, take, undelivered, undelivered_lines
from deploys.rollout.store.rows import New
from deploys.rollout.waves import Wave
from tests.rollout.played import World
from tests.rollout.receiver import TOKEN, receiving

ALL = ("begun", "wave", "waits", "back", "ended")


@pytest.fixture
def receiver():
    with receiving() as found:
        yield found


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "state")


def begin(world: World, events=ALL, spec: Spec | None = None, inventory: str = "fleet.py") -> int:
    waves = [Wave("canary", (("web-0",),)), Wave("the rest", (("web-1", "web-2"),))]
    new = New(inventory, "c0ffee", "0ff1ce", "ann", "a test", spec or Spec(), "{}", waves, webhooks={"chat": events})
    return world.store.create(new)


def events(world: World) -> list[tuple[str, str]]:
    rows = world.store.rows("SELECT event, message FROM outbox ORDER BY id")
    return [(row["event"], json.loads(row["message"])["words"]) for row in rows]


def test_what_is_told_of_a_rollout(world) -> None:
    ident = begin(world, spec=Spec(approvals=frozenset({1})))
    assert world.play(ident) is State.RUNNING
    assert events(world) == [
        ("begun", ""), ("wave", "wave 1 passed"), ("waits", "wave 2 waits for approval: photon-fleet approve 1"),
    ]  # fmt: skip
    body = json.loads(world.store.rows("SELECT message FROM outbox ORDER BY id DESC")[0]["message"])
    assert (body["schema"], body["hosts"]) == (1, {"ok": 1, "to come": 2})


def test_only_what_a_webhook_wants_is_written_down(world) -> None:
    world.become(0, {"web-0": "failed"})
    assert world.play(begin(world, ("ended",))) is State.STOPPED
    assert events(world) == [("ended", "wave 1 failed")]


def test_a_gate_that_cannot_tell_calls_a_person(world) -> None:
    assert world.play(begin(world, ("waits",), Spec(gates=("alerts",))), Answer.INCONCLUSIVE) is State.PAUSED
    assert events(world) == [("waits", "the gate alerts of wave 1 cannot tell: look, then resume or abort")]


def test_a_message_is_sent_until_it_is_taken_with_the_same_key(world, receiver) -> None:
    begin(world)
    receiver.statuses = [500, 503]
    hook, now = Webhook(name="chat", url=receiver.url), datetime.now(UTC)
    waits = []
    for _ in range(3):
        (message,) = take(world.store, now)
        assert take(world.store, now) == []
        words = post(hook, message.body)
        delivered(world.store, message, words, now)
        due = world.store.rows("SELECT due FROM outbox")[0]["due"]
        waits.append((datetime.fromisoformat(due) - now).total_seconds())
        now = datetime.fromisoformat(due)
    assert waits == [5, 10, 20]
    assert take(world.store, now + timedelta(days=1)) == []
    assert undelivered(world.store) == []
    assert len({headers["Idempotency-Key"] for _, headers, _ in receiver.got}) == 1
    assert len(receiver.got) == 3


def test_a_controller_that_is_killed_on_the_way_has_it_sent_by_the_next_one(world) -> None:
    begin(world)
    now = datetime.now(UTC)
    (first,) = take(world.store, now)
    (second,) = take(world.store, now + timedelta(seconds=6))
    assert (first.key, first.body) == (second.key, second.body)


def test_no_message_overtakes_one_that_was_not_taken(world) -> None:
    world.play(begin(world))
    now = datetime.now(UTC)
    found = take(world.store, now)
    assert [each.event for each in found] == ["begun", "wave", "wave", "ended"]
    for each in found[1:]:
        delivered(world.store, each, "", now)
    with world.store.writing() as db:
        db.execute("UPDATE outbox SET due = ? WHERE id <> ?", (now.isoformat(), found[0].id))
        db.execute("UPDATE outbox SET state = 'waiting'")
    assert take(world.store, now) == []
    assert len(take(world.store, now + timedelta(seconds=6))) == 4


def test_what_was_never_delivered_is_said_and_given_up_after_days(world) -> None:
    ident = begin(world)
    now = datetime.now(UTC)
    for days in (0, 4):
        (message,) = take(world.store, now + timedelta(days=days))
        delivered(world.store, message, "no answer", now + timedelta(days=days))
        assert "webhook chat: 1 message not delivered" in undelivered_lines(world.store, ident)[0]
        assert "(no answer)" in undelivered_lines(world.store, ident)[0]
    assert take(world.store, now + timedelta(days=9)) == []


def test_status_says_what_was_not_delivered(world, monkeypatch) -> None:
    monkeypatch.setenv("PHOTON_FLEET_STATE", str(world.place.state))
    ident = begin(world)
    take(world.store, datetime.now(UTC))

    def status(*words: str) -> str:
        return CliRunner().invoke(main, ["status", str(ident), *words], standalone_mode=False).output

    assert "webhook chat: 1 message not delivered, the first of " in status()
    (found,) = json.loads(status("--json"))["undelivered"]
    assert (found["webhook"], found["messages"], found["attempts"]) == ("chat", 1, 1)


def test_a_webhook_that_is_down_or_breaks_the_sender_is_in_nobodys_way(world, monkeypatch) -> None:
    monkeypatch.setattr(notify, "LAST_SECONDS", 0.2)
    said: list[str] = []
    hang = threading.Event()

    def broken(*_) -> list[str]:
        hang.wait(0.5 if said else 0)
        raise sqlite3.OperationalError(TOKEN)

    ident = begin(world)
    with sending(world.store, world.place, said.append, broken):
        assert world.play(ident) is State.DONE
    assert said == ["messages were not sent: OperationalError"]
    assert TOKEN not in "".join(said)
    assert sum(each["messages"] for each in undelivered(world.store, ident)) == 4


def test_what_an_earlier_controller_has_left_is_sent_before_the_next_ends(world) -> None:
    begin(world)
    got = []
    with sending(world.store, world.place, print, lambda *given: [got.append(given[-1][0].key) or ""]):
        pass
    assert len(got) == 1
    assert undelivered(world.store) == []


def test_the_checkout_knows_the_address_and_nobody_else(world, receiver, tmp_path, monkeypatch, capfd) -> None:
    inventory = tmp_path / "fleet.py"
    inventory.write_text(
        "import os\nos.system('echo hi')\n"
        "from deploys.policies.secret import Secret\nfrom deploys.rollout.settings import Rollout, Webhook\n"
        "rollout = Rollout(notify=[Webhook(name='chat', kind='slack', url=Secret.env('HOOK'))])\n"
    )
    monkeypatch.setenv("HOOK", receiver.url)
    begin(world, ("begun",), inventory=str(inventory))
    send_due(world.store, world.place, sent)
    assert [(path, body) for path, _, body in receiver.got] == [
        (f"/{TOKEN}", {"text": f"rollout 1 begins\na test (ann, {inventory} at c0ffee); hosts: 3 to come"})
    ]
    assert undelivered(world.store) == []
    database = b"".join(path.read_bytes() for path in world.place.state.glob("rollouts.sqlite*"))
    assert TOKEN.encode() not in database
    assert TOKEN not in "".join(capfd.readouterr())


def test_a_token_is_sent_over_https_alone(receiver, monkeypatch) -> None:
    monkeypatch.setenv("HOOK", receiver.url)
    hook = Webhook(name="desk", url=Secret.env("HOOK"), token=Secret.env("NOT_THERE"))
    assert post(hook, {"key": "k"}) == "its token is sent over https alone"
    monkeypatch.setenv("THERE", "https://127.0.0.1:1/")
    hook = Webhook(name="desk", url=Secret.env("THERE"), token=Secret.env("NOT_THERE"))
    assert post(hook, {"key": "k"}) == "Secret.env('NOT_THERE'): no such environment variable"
    assert receiver.got == []
    with pytest.raises(InputError, match="token: it is sent over https alone"):
        Webhook(name="desk", url="http://desk.example.com/", token=Secret.env("TOKEN"))


def test_an_address_with_a_password_is_refused_and_line_ends_are_no_part_of_a_token(monkeypatch) -> None:
    monkeypatch.setenv("HOOK_OF_BOB", f"https://bob:{TOKEN}@desk.example.com/")
    found = post(Webhook(name="desk", url=Secret.env("HOOK_OF_BOB")), {"key": "k"})
    assert found.startswith("its url holds a name or a password")
    for number, (end, words) in enumerate(
        (("\n", "no answer: Connection refused"), ("\nx", "what it holds is no token"))
    ):
        monkeypatch.setenv(f"DESK_{number}", f"{TOKEN}{end}")
        hook = Webhook(name="desk", url="https://127.0.0.1:1/", token=Secret.env(f"DESK_{number}"))
        said = post(hook, {"key": "k"})
        assert words in said
        assert TOKEN not in said + found


def test_a_rollout_of_another_version_holds_up_its_own_messages_alone(world) -> None:
    first = begin(world, ("begun",))
    waves = [Wave("all", (("db-0",),))]
    second = world.store.create(New("f", "c0ffee", "c0ffee", "ann", "", Spec(), "{}", waves, webhooks={"desk": ALL}))
    with world.store.writing() as db:
        db.execute("UPDATE rollout SET spec = replace(spec, '\"version\": 1', '\"version\": 0') WHERE id = ?", (first,))
    send_due(world.store, world.place, lambda *given: [""] if given[-1][0].rollout == second else sent(*given))
    (left,) = undelivered(world.store)
    assert (left["rollout"], "another version" in left["words"]) == (first, True)


def test_a_redirect_is_not_followed(receiver) -> None:
    receiver.statuses = [302]
    assert post(Webhook(name="chat", url=receiver.url), {"key": "k"}) == "the answer has the status 302"
    assert len(receiver.got) == 1


def test_after_a_message_that_is_not_taken_the_others_wait(receiver) -> None:
    receiver.statuses = [200, 500]
    assert post_all(Webhook(name="chat", url=receiver.url), [{"key": str(each)} for each in range(4)]) == [
        "", "the answer has the status 500"
    ]  # fmt: skip


@pytest.mark.parametrize("url", [
    f"https://{TOKEN}.invalid/", f"http://127.0.0.1:1/{TOKEN}", f"http://127.0.0.1:{TOKEN}/", f"http://[{TOKEN}/",
    f"http://127.0.0.1:1/{TOKEN}\x7f \n",
])  # fmt: skip
def test_no_word_of_the_address_in_what_went_wrong(url) -> None:
    found = post(Webhook(name="chat", url=url), {"key": "k"})
    assert found.startswith("no answer: ")
    assert TOKEN not in found


def test_the_settings_keep_an_address_to_themselves() -> None:
    found = Rollout(notify=[Webhook(name="chat", url=f"https://chat.example.com/{TOKEN}")])
    for text in (repr(found), str(found), found.model_dump_json(), str(found.notify[0].url)):
        assert TOKEN not in text
    assert found.notify[0].address().endswith(TOKEN)
    for wrong in ({"url": f"ftp://{TOKEN}"}, {"url": [TOKEN]}, {"url": f"https://{TOKEN}", "events": ["never"]}):
        with pytest.raises(InputError) as refused:
            Webhook(name="chat", **wrong)
        assert TOKEN not in str(refused.value)
    with pytest.raises(InputError, match="notify: chat is given twice"):
        Rollout(notify=[Webhook(name="chat", url=Secret.env("A")), Webhook(name="chat", url=Secret.env("B"))])


def test_words_that_slack_gives_a_meaning_are_escaped() -> None:
    body = {"rollout": 3, "event": "ended", "state": "stopped", "words": "<!channel> & more", "why": "w", "who": "a",
            "inventory": "i", "revision": "r", "hosts": {"ok": 1}}  # fmt: skip
    assert slack_text(body) == "rollout 3 stopped: &lt;!channel&gt; &amp; more\nw (a, i at r); hosts: 1 ok"
