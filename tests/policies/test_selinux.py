"""SELinux: what is refused before any connection, and the patterns of paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.selinux import Boolean, FileContext, Selinux
from operations.selinux import pattern_of


def examples(_: Path) -> tuple[Selinux, Selinux]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Selinux(booleans=[Boolean(name="a", value=True)], contexts=[FileContext(path="/srv/a", type="a_t")]),
        Selinux(
            mode="enforcing",
            relabel=True,
            booleans=[Boolean(name="a", value=False)],
            contexts=[FileContext(path="/srv/a", type="b_t")],
        ),
    )


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Selinux(mode="strict"), "mode"),
        (lambda: Boolean(name="-P", value=True), "a letter first"),
        (lambda: FileContext(path="/srv/a", type="x:y"), "a letter first"),
        (lambda: FileContext(path="srv/a", type="x_t"), "no plain absolute path"),
        (lambda: FileContext(path="/srv/a b", type="x_t"), "no plain absolute path"),
        (lambda: FileContext(path="/srv/../etc", type="x_t"), "no plain absolute path"),
    ],
)
def test_bad_fields_are_refused(make, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make()


def test_what_would_break_the_host_is_a_problem() -> None:
    (problem,) = Selinux(contexts=[FileContext(path="/etc", type="x_t")]).problems()
    assert "would break the system" in problem


def test_a_policy_that_is_off_has_nothing_to_set() -> None:
    assert list(Selinux(mode="disabled").problems()) == []
    assert list(Selinux(mode="disabled", booleans=[Boolean(name="a", value=True)]).problems())


@pytest.mark.parametrize("path", ["/srv/a", "/srv/a.b+c", "/srv/a[1](2)$"])
def test_the_pattern_fits_the_path_and_all_below_it_and_nothing_else(path: str) -> None:
    pattern = pattern_of(path)
    assert re.fullmatch(pattern, path)
    assert re.fullmatch(pattern, f"{path}/x/y")
    assert not re.fullmatch(pattern, f"{path}x")
    assert not re.fullmatch(pattern, path.replace(".", "x")) or "." not in path
