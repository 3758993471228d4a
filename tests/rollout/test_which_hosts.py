"""Which hosts a commit is for, and which commits are held, by what came of rollouts before: played inventories."""

from __future__ import annotations

import pytest

from deploys.refusal import Refusal
from deploys.rollout.begin import ARRIVED, held, planned
from deploys.rollout.model import State, Verdict
from deploys.rollout.settings import Most, Rollout, Share
from deploys.rollout.store.commands import Commands
from deploys.rollout.store.had import arrived
from deploys.rollout.store.rows import HostResult, New
from tests.rollout.fleets import PROD, STAGING


def bad(name: str) -> Verdict:
    return Verdict.FAILED if name else Verdict.OK


def test_a_revert_reaches_the_canary_that_has_what_is_reverted(fleet) -> None:
    first, second = fleet.commit("one"), fleet.commit("two", web="bad", db="bad")
    third = fleet.commit("Revert two")
    assert fleet.roll(first) is State.DONE
    assert fleet.roll(second, bad) is State.STOPPED
    (canary,) = {row["name"] for row in fleet.store.rows("SELECT name FROM host WHERE verdict = 'failed'")}
    assert fleet.due(third)[0] == {canary}
    reasons = planned(fleet.place, fleet.store, fleet.meant(third, since=ARRIVED)).reasons
    assert reasons == {canary: "rollout 2 has left it failed"}


def test_one_that_was_aborted_is_caught_up_with_too(fleet) -> None:
    first, second = fleet.commit("one"), fleet.commit("two", web="new", db="new")
    third = fleet.commit("Revert two")
    fleet.roll(first)
    ident = fleet.begin(second)
    fleet.store.step(ident, lambda now: now)
    fleet.store.step(ident, lambda now: now)
    (unit,) = fleet.store.running(ident)
    fleet.store.finish(unit, {name: HostResult(Verdict.OK) for name in unit.hosts})
    Commands(fleet.store, "ann").say(ident, "abort")
    assert fleet.play(ident) is State.ABORTED
    assert fleet.due(third)[0] == set(unit.hosts)


def test_a_rollout_of_some_hosts_is_not_said_to_have_arrived(fleet) -> None:
    first, second = fleet.commit("one"), fleet.commit("two", web="new", db="new")
    fleet.roll(first)
    assert fleet.roll(second, limit=("web-1",)) is State.DONE
    assert arrived(fleet.store, PROD) == first
    assert fleet.due(second)[0] == {"db-1", "web-2"}
    assert fleet.roll(second, since=ARRIVED) is State.DONE
    assert arrived(fleet.store, PROD) == second
    assert fleet.due(second) == (set(), f"{second[:12]} was rollout 3, which is done")


def test_hosts_that_could_not_be_reached_are_caught_up_with(fleet) -> None:
    fleet.settings = Rollout(waves=[Share()], unreachable=Most(wave=1))
    first, second = fleet.commit("one"), fleet.commit("two", web="new")
    third = fleet.commit("three", web="new", db="new")
    fleet.roll(first)
    assert fleet.roll(second, lambda name: Verdict.UNREACHABLE if name == "web-2" else Verdict.OK) is State.DONE
    assert fleet.due(third)[0] == {"web-2", "db-1"}


def test_a_host_that_another_inventory_was_at_last_is_in(fleet) -> None:
    first, second = fleet.commit("one"), fleet.commit("two")
    fleet.roll(first)
    fleet.roll(first, inventory=STAGING, limit=("db-1",))
    assert fleet.due(second)[0] == {"db-1"}


def test_a_commit_stays_held_until_a_rollout_of_all_hosts_went_well(fleet) -> None:
    first, second = fleet.commit("one"), fleet.commit("two", web="new")
    fleet.roll(first)
    fleet.roll(second, bad, limit=("web-1",))
    words = f"{second[:12]} is held: rollout 2 of it stopped"
    assert held(fleet.store, PROD, second).startswith(words)
    assert fleet.roll(second, inventory=STAGING) is State.DONE
    ident = fleet.begin(second, again=True)
    Commands(fleet.store, "ann").say(ident, "abort")
    assert fleet.play(ident) is State.ABORTED
    assert fleet.roll(second, again=True, limit=("web-1",)) is State.DONE
    assert held(fleet.store, PROD, second).startswith(words)
    with pytest.raises(Refusal, match="is held"):
        fleet.begin(second)
    assert fleet.roll(second, again=True) is State.DONE
    assert held(fleet.store, PROD, second) == ""


def test_a_branch_that_was_moved_back_is_left_alone(fleet) -> None:
    first, second = fleet.commit("one"), fleet.commit("two", web="new")
    third = fleet.commit("three", web="newer")
    for each in (first, third):
        fleet.roll(each)
    hosts, words = fleet.due(second)
    assert hosts == set()
    assert words.startswith(f"{second[:12]} does not follow {third[:12]}, which arrived last")


def test_a_share_of_a_group_that_the_commit_is_not_about_stands_in_nobodys_way(fleet) -> None:
    fleet.settings = Rollout(waves=[Share(count=1), Share(group="web"), Share()])
    first, second = fleet.commit("one"), fleet.commit("two", db="new")
    fleet.roll(first)
    assert fleet.due(second)[0] == {"db-1"}
    third = fleet.commit("three")
    assert fleet.due(third) == (set(), f"{third[:12]} changes no host's policies")
    fleet.settings = Rollout(waves=[Share(group="wbe"), Share()])
    with pytest.raises(Refusal, match="the inventory has no group wbe"):
        fleet.due(second)


def test_a_rollout_of_these_hosts_alone_is_of_no_group_of_that_name(fleet) -> None:
    first = fleet.commit("one")
    new = planned(fleet.place, fleet.store, fleet.meant(first, exactly=["web-1", "db"])).new
    assert isinstance(new, New)
    assert [wave.hosts for wave in new.waves] == [("web-1",)]
    assert not new.whole
