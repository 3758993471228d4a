"""Which hosts go together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.refusal import Refusal
from deploys.rollout.settings import Rollout, Share
from deploys.rollout.waves import Candidate, Step, domains_shared, waves


def hosts(count: int, **more: object) -> list[Candidate]:
    return [Candidate(f"web-{number}", **more) for number in range(count)]


def test_a_canary_a_tenth_and_the_rest() -> None:
    made = waves(hosts(50), [Step(count=1), Step(percent=10), Step(rest=True)], "r1", unit_hosts=20)
    assert [len(wave.hosts) for wave in made] == [1, 5, 44]
    assert [wave.name for wave in made] == ["1 host", "10 %", "the rest"]
    assert [len(unit) for unit in made[2].units] == [15, 15, 14]


def test_what_the_steps_leave_over_goes_last() -> None:
    assert [len(wave.hosts) for wave in waves(hosts(5), [Step(count=2)], "r1")] == [2, 3]
    assert waves([], [Step(count=2)], "r1") == []


def test_a_group_goes_first() -> None:
    some = [*hosts(3), Candidate("canary-1", groups=("canaries",))]
    made = waves(some, [Step(group="canaries"), Step(rest=True)], "r1")
    assert made[0].hosts == ("canary-1",)


def test_a_group_that_nobody_is_in_is_refused() -> None:
    with pytest.raises(Refusal, match="the inventory has no group canarys"):
        waves(hosts(3), [Step(group="canarys")], "r1")


def test_the_order_is_the_same_for_one_salt_and_another_for_the_next() -> None:
    first, again = (waves(hosts(30), [Step(count=3)], "r1") for _ in range(2))
    other = waves(hosts(30), [Step(count=3)], "r2")
    assert first == again
    assert first[0].hosts != other[0].hosts


CANDIDATES = st.lists(
    st.builds(
        Candidate, name=st.text("abc", min_size=1, max_size=4),
        groups=st.sets(st.sampled_from(["web", "db"])).map(lambda found: tuple(sorted(found))),
        domains=st.frozensets(st.sampled_from(["esxi:1", "esxi:2", "esxi:3", "rule:web"]), max_size=2),
    ),
    max_size=25, unique_by=lambda each: each.name,
)  # fmt: skip
STEPS = st.lists(
    st.builds(Step, count=st.integers(1, 5)) | st.builds(Step, percent=st.floats(0.1, 100))
    | st.just(Step(rest=True)) | st.just(Step(rest=True, apart=False)),
    max_size=4,
)  # fmt: skip


@given(some=CANDIDATES, steps=STEPS, most=st.integers(1, 6))
def test_every_host_is_in_one_wave_and_domains_are_apart(some, steps, most) -> None:
    made = waves(some, steps, "r1", most)
    assert sorted(name for wave in made for name in wave.hosts) == sorted(each.name for each in some)
    by_name = {each.name: each for each in some}
    for wave in made:
        assert wave.hosts
        assert all(1 <= len(unit) <= most for unit in wave.units)
        if wave.apart:
            assert domains_shared([by_name[name] for name in wave.hosts]) == {}


SHARES = Rollout(
    waves=[Share(count=1), Share(group="db"), Share(group="web", approval=True), Share()], bake_minutes=[1, 2, 3, 4]
)


def shown(candidates: list[Candidate], salt: str) -> list[tuple[set[str], bool, float]]:
    """Of each wave: the groups of its hosts, whether a person lets it begin, and the minutes it bakes."""
    made = waves(candidates, [share.step() for share in SHARES.waves], salt, groups=["db", "web"])
    spec = SHARES.spec((), [wave.step for wave in made])
    return [
        ({name.partition("-")[0] for name in wave.hosts}, number in spec.approvals, spec.bake(number) / 60)
        for number, wave in enumerate(made)
    ]


@pytest.mark.parametrize("salt", "abcdefgh")
def test_approval_and_bake_are_of_the_share_however_many_waves_are_made_of_it(salt: str) -> None:
    rule = frozenset({"rule:a"})
    hosts = [
        *(Candidate(f"x-{number}") for number in range(2)),
        *(Candidate(f"db-{number}", ("db",), rule) for number in range(3)),
        *(Candidate(f"web-{number}", ("web",), rule) for number in range(3)),
    ]
    for groups, asks, minutes in shown(hosts, salt)[1:]:
        assert asks == (groups == {"web"})
        assert minutes == {"db": 2, "web": 3, "x": 4}[min(groups)]


def test_a_share_that_has_no_host_left_gives_its_approval_to_no_other() -> None:
    hosts = [Candidate("db-1", ("db",)), *(Candidate(f"web-{number}", ("web",)) for number in (1, 2)), Candidate("x-1")]
    salt = next(salt for salt in "abcdefghijklmnop" if shown(hosts, salt)[0][0] == {"db"})
    assert [asks for _, asks, _ in shown(hosts, salt)] == [False, True, False]


def test_what_is_left_over_is_let_begin_by_a_person_where_the_last_share_is() -> None:
    settings = Rollout(waves=[Share(percent=50, approval=True)])
    made = waves([Candidate(f"x-{number}") for number in range(4)], [share.step() for share in settings.waves], "a")
    assert settings.spec((), [wave.step for wave in made]).approvals == {0, 1}
