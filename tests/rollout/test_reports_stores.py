"""Reports, metrics and messages read and write the same rows in either database."""

from __future__ import annotations

import json
from datetime import timedelta

from deploys.report.html import html
from deploys.report.metrics import metrics
from deploys.report.read import of_fleet, of_rollout
from deploys.rollout.model import Spec, State
from deploys.rollout.store.outbox import delivered, take, undelivered
from deploys.rollout.store.rows import New
from deploys.rollout.waves import Wave
from tests.rollout.played import World
from tests.rollout.reported import told


def test_a_rollout_is_reported_measured_and_told(store, tmp_path) -> None:
    world = World(tmp_path / "state", store=store, bad={"web-1": "failed"})
    said = {"*": told("changed", ["Write /etc/motd"], advisories=["PHSA-1"]), "back": told("proved")}
    (world.place.state / "told").write_text(json.dumps(said))
    waves = [Wave("canary", (("web-0",),)), Wave("the rest", (("web-1", "web-2"),))]
    spec = Spec(approvals=frozenset({0}))
    webhooks = {"chat": ("waits", "ended")}
    ident = store.create(New("fleet.py", "c0ffee", "0ff1ce", "ann", "a test", spec, "{}", waves, webhooks=webhooks))
    with store.writing(ident) as db:
        db.execute("UPDATE wave SET approved = 'bob' WHERE rollout = ?", (ident,))
    assert world.play(ident) is State.STOPPED
    now = store.now()
    for report in (of_rollout(store, ident, now), of_fleet(store, now)):
        assert report.hosts.counts == {"proved": 2, "failed": 1}
        assert [(row.some.names, list(row.policies.values())) for row in report.hosts.rows] == [
            (["web-1"], ["proved", "changed"]), (["web-0"], ["proved", "changed"]), (["web-2"], ["proved", "changed"]),
        ]  # fmt: skip
        assert report.hosts.ages["within an hour"] == 2
        assert "PHSA-1" in html(report)
    assert [phase.state for phase in of_rollout(store, ident, now).phases[0]] == ["open", "baking", "gates"]
    text = metrics(store, now)
    assert 'photon_fleet_hosts{verdict="failed"} 1' in text
    assert "photon_fleet_messages_undelivered 2" in text
    found = take(store, now)
    assert [(each.event, each.body["words"]) for each in found] == [
        ("waits", f"wave 1 waits for approval: photon-fleet approve {ident}"),
        ("ended", "wave 2 failed"),
    ]
    assert take(store, now) == []
    delivered(store, found[0], "", now)
    delivered(store, found[1], "no answer", now)
    (left,) = undelivered(store, ident)
    assert (left["messages"], left["attempts"], left["words"]) == (1, 1, "no answer")
    assert [each.key for each in take(store, now + timedelta(minutes=1))] == [found[1].key]
