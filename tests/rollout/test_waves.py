"""Which hosts go together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.refusal import Refusal
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
    with pytest.raises(Refusal, match="no host of the rollout is in the group canarys"):
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
