"""What is removed of rollouts that are long over, and what is kept: in either database."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta

from deploys.report.read import of_fleet, of_rollout
from deploys.rollout.doctor import findings
from deploys.rollout.model import Budget, Spec, State
from deploys.rollout.place import Place
from deploys.rollout.plan import INSTALLED
from deploys.rollout.store.commands import Commands
from deploys.rollout.store.outbox import take
from deploys.rollout.store.reports import audit
from deploys.rollout.store.rows import New
from deploys.rollout.store.tidy import details, forget
from deploys.rollout.waves import Wave
from tests.rollout.played import ROOT, World
from tests.rollout.reported import told

WAVES = [Wave("all", (("web-0",), ("web-1",)))]


def world_of(store, tmp_path, **said) -> World:
    world = World(tmp_path / "state", store=store)
    (world.place.state / "told").write_text(json.dumps({"*": told("changed", ["Write /etc/motd"], **said), "back": {}}))
    return world


def rollout(world: World, waves=WAVES, spec: Spec | None = None) -> int:
    hooks = {"chat": ("ended",)}
    ident = world.store.create(
        New("f.py", "c0ffee", "0ff1ce", "ann", "a test", spec or Spec(), "{}", waves, webhooks=hooks)
    )
    world.play(ident)
    return ident


def test_details_go_and_what_became_of_each_host_stays(store, tmp_path) -> None:
    world = world_of(store, tmp_path)
    old, new = rollout(world), rollout(world)
    later = store.now() + timedelta(seconds=1)
    assert details(store, store.now() - timedelta(days=90)).rows == 0
    # One message of each rollout waits: it is sent before it goes.
    assert (details(store, later).rows, details(store, later).rollouts) == (2, (old,))
    forget(store, later, "ann@ctl")
    assert details(store, later).rows == 0
    assert audit(store, old)[-1][1:] == ("ann@ctl", "details removed", "2 rows")
    assert [event for *_, event, _ in audit(store, new)][-1] == "done"
    now = store.now()
    assert of_rollout(store, old, now).hosts.counts == {"proved": 2}
    assert of_rollout(store, old, now).hosts.policies == []
    assert [each.operation for each in of_rollout(store, new, now).hosts.changes] == ["Write /etc/motd"]
    assert [each.operation for each in of_fleet(store, now).hosts.changes] == ["Write /etc/motd"]


def test_a_rollout_can_go_back_with_its_updates_after_the_details_of_others_went(store, tmp_path) -> None:
    world = world_of(store, tmp_path)
    said = {"*": told("changed"), "back": told("proved")}
    said["*"]["policies"][0]["policy"] = INSTALLED
    said["*"]["policies"][0]["verdict"] = "changed"
    (world.place.state / "told").write_text(json.dumps(said))
    ident = rollout(world)
    rollout(world, [Wave("all", (("web-7",),))])
    keys = {message.key for message in take(store, store.now())}
    store.database.prepare()
    with store.writing() as db:
        db.execute("UPDATE outbox SET state = 'sent'")
    forget(store, store.now() + timedelta(seconds=1), "ann@ctl")
    Commands(store, "ann@ctl").say(ident, "rollback")
    assert world.play(ident) is State.WENT_BACK
    assert [line.host for line in world.log() if (line.word, line.kind) == ("begin", "updates")] == ["web-0", "web-1"]
    # A receiver takes messages of one key for one.
    assert not keys & {message.key for message in take(store, store.now())}


def test_a_plan_is_kept_for_whoever_tries_a_stopped_rollout_again(store, tmp_path) -> None:
    world = world_of(store, tmp_path)
    for ident, verdict in ((rollout(world), "ok"), (0, "failed")):
        world.become(0, {"web-0": verdict})
        number = ident or rollout(world, spec=Spec(failed=Budget(wave=0)))
        with store.writing(number) as db:
            db.execute("INSERT INTO plan (rollout, name, plan) VALUES (?, 'web-0', '{}')", (number,))
            db.execute("DELETE FROM outbox")
    forget(store, store.now() + timedelta(seconds=1), "ann@ctl")
    assert [row["rollout"] for row in store.rows("SELECT rollout FROM plan")] == [number]
    assert store.rollout(number).state is State.STOPPED


def test_what_is_under_way_keeps_everything(store, tmp_path) -> None:
    world = world_of(store, tmp_path)
    ident = rollout(world, spec=Spec(approvals=frozenset({0})))
    assert not store.rollout(ident).state.ended
    forget(store, store.now() + timedelta(days=999), "ann@ctl")
    assert [event for *_, event, _ in audit(store, ident)] == ["begun"]


def test_outputs_of_runs_go_with_them(tmp_path) -> None:
    world = world_of(World(tmp_path / "state").store, tmp_path)
    world.place.state.chmod(0o700)
    ident, other = rollout(world), world.begin([[1]])
    runs = world.place.state / "runs"
    (runs / f"{other}.9.1.out").touch()
    place, store = Place(ROOT, world.place.state), world.store
    assert place.old_outputs(store, store.now() - timedelta(days=90)) == []
    for path in runs.iterdir():
        os.utime(path, (0, time.time() - 100 * 86400))
    found = place.old_outputs(store, store.now() - timedelta(days=90))
    assert found
    assert {path.name.partition(".")[0] for path in found} == {str(ident)}
    words = {each.about: each.words for each in findings(place)}["details of old rollouts"]
    assert f"0 rows and {len(found)} outputs of runs" in words
    assert "doctor --tidy" in words
