"""Which hosts are asked for updates of a rollout that go back, and by which name hosts know them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from deploys.rollout import OF
from deploys.rollout.model import Kind, OnFail, PolicyVerdict, Spec, State, Verdict
from deploys.rollout.place import SNAPSHOT, UPDATES, Place
from deploys.rollout.plan import INSTALLED
from deploys.rollout.runonce import Ended
from deploys.rollout.store.commands import Commands
from deploys.rollout.store.plans import known_of
from deploys.rollout.store.rows import HostResult, PolicyResult, Unit
from deploys.rollout.store.sqlite import Sqlite
from deploys.rollout.store.store import Store
from tests.rollout.played import new


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(Sqlite(tmp_path / "rollouts.sqlite"))


def said(verdict: Verdict, **policies: PolicyVerdict) -> HostResult:
    names = {"installed": INSTALLED}
    return HostResult(
        verdict, policies=tuple(PolicyResult(names.get(name, name), each) for name, each in policies.items())
    )


def way_back(store: Store, ident: int, *runs: HostResult) -> tuple[Unit, tuple[str, ...]]:
    """The unit of the way back of a host for which the runs went so, each after `retry`, and who is asked in it."""
    left = list(runs)
    for _ in range(20):
        state = store.step(ident, lambda names: names).state
        for unit in store.running(ident):
            if unit.kind is Kind.BACK:
                return unit, known_of(store.rows, unit)[1]
            store.finish(unit, dict.fromkeys(unit.hosts, left.pop(0)))
        if state in {State.STOPPED, State.DONE}:
            Commands(store, "ann").say(ident, "retry" if left else "rollback")
    raise AssertionError(state)


CHANGED, PROVED, FAILED, UNPROVED = (
    PolicyVerdict.CHANGED, PolicyVerdict.PROVED, PolicyVerdict.FAILED, PolicyVerdict.UNPROVED
)  # fmt: skip
INSTALLS = said(Verdict.FAILED, firewall=FAILED, update=PROVED, installed=CHANGED)


@pytest.mark.parametrize(
    "last",
    [
        said(Verdict.OK, firewall=PROVED, update=PROVED, installed=PROVED),
        # Outside its windows nothing is installed, and nothing is said of that.
        said(Verdict.OK, firewall=PROVED, update=PROVED),
        # Ended while it was prepared, or before it came to the update policy.
        said(Verdict.FAILED),
        said(Verdict.FAILED, firewall=FAILED),
        said(Verdict.FAILED, accounts=UNPROVED, firewall=FAILED),
    ],
)
def test_what_a_first_run_has_installed_goes_back_after_a_second_one(store, last) -> None:
    assert way_back(store, store.create(new([[1]], Spec())), INSTALLS, last)[1] == ("web-0",)


@pytest.mark.parametrize("only", [INSTALLS, said(Verdict.UNREACHABLE), said(Verdict.UNKNOWN)])
def test_the_host_is_asked_whatever_a_run_says(store, only) -> None:
    assert way_back(store, store.create(new([[1]], Spec(on_fail=OnFail.BACK_ALL))), only)[1] == ("web-0",)


def test_a_host_that_takes_no_updates_is_not_asked(store) -> None:
    bad = said(Verdict.FAILED, files=CHANGED, firewall=FAILED)
    assert way_back(store, store.create(new([[1]], Spec(on_fail=OnFail.BACK_ALL))), bad)[1] == ()


def told(command: list[str]) -> dict[str, str]:
    options = [after for word, after in pairwise(command) if word == "--data"]
    return dict(option.split("=", 1) for option in options)


def test_runs_and_their_way_back_have_one_name_for_the_rollout(store, tmp_path, monkeypatch) -> None:
    ident = store.create(new([[1]], Spec(on_fail=OnFail.BACK_ALL)))
    rollout, place = store.rollout(ident), Place(Path(tmp_path), tmp_path)
    noted = []

    def run_once(*given: object) -> Ended:
        noted.append(given[4][OF])
        return Ended(0)

    monkeypatch.setattr("deploys.rollout.place.run_once", run_once)
    monkeypatch.setattr(Place, "tree", lambda *_: tmp_path)
    while not (running := store.running(ident)):
        store.step(ident, lambda names: names)
    (unit,) = running
    place.run(rollout, unit, None)
    assert told(place.fix_command(rollout, SNAPSHOT, unit.hosts))["name"] == rollout.label
    store.finish(unit, {"web-0": INSTALLS})
    back, asked = way_back(store, ident)
    # Whatever a host had installed before this rollout has another name, and stays.
    given = told(place.fix_command(rollout, UPDATES, asked))
    assert given.items() >= {"hold": "true", "of": rollout.label}.items()
    place.run(rollout, back, None)
    assert noted == [rollout.label, ""]
    assert rollout.label == f"rollout-{ident}-{rollout.token}"
