"""Problems of packages, keys and repositories that are found on the controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.packages import Packages, Repository, SigningKey, versions_like
from inventories import _roles

EXAMPLE = Path(__file__).parents[2] / "inventories" / "keys" / "photon-example.asc"


def examples(_: Path) -> tuple[Packages, Packages]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Packages(
            keys=[
                SigningKey(name="k", file="/nowhere/a", fingerprint="A" * 40),
                SigningKey(name="l", file="/nowhere/c", fingerprint="C" * 40),
            ],
            repositories=[Repository(id="r", url="https://a.example/x", key="k")],
            present=["less"],
            absent=["telnet"],
            exact={"jq": "1.7"},
            held=["linux-esx"],
        ),
        Packages(
            keys=[
                SigningKey(name="k", file="/nowhere/b", fingerprint="B" * 40),
                SigningKey(name="l", file="/nowhere/c", fingerprint="C" * 40),
            ],
            repositories=[
                Repository(
                    id="r", url="https://b.example/x", key="l", title="R", enabled=False, priority=10, optional=True
                )
            ],
            present=["vim"],
            absent=["ntp"],
            exact={"jq": "1.8"},
            held=["docker"],
        ),
    )


def pinned() -> str:
    return _roles.EVERY_HOST[0].keys[0].fingerprint


def test_the_right_key_is_no_problem() -> None:
    assert not list(Packages(keys=[SigningKey(name="k", file=EXAMPLE, fingerprint=pinned())]).problems())


def test_another_key_than_the_pinned_one_is_a_problem() -> None:
    problems = list(Packages(keys=[SigningKey(name="k", file=EXAMPLE, fingerprint="0" * 40)]).problems())
    assert len(problems) == 1
    assert pinned() in problems[0]
    assert "0" * 40 in problems[0]


def test_a_key_file_that_is_missing_or_no_key_is_a_problem(tmp_path) -> None:
    (tmp_path / "no-key").write_text("hello")
    for file in (tmp_path / "missing", tmp_path / "no-key"):
        assert list(Packages(keys=[SigningKey(name="k", file=file, fingerprint="0" * 40)]).problems())


def test_contradictions_are_problems() -> None:
    policy = Packages(
        present=["vim"], absent=["vim", "rpm"], repositories=[Repository(id="r", url="https://a.example", key="none")]
    )
    problems = "\n".join(policy.problems())
    assert "vim is also to be present" in problems
    assert "without rpm the host could not be reached" in problems
    assert "there is no key 'none'" in problems


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Packages(present=["--nogpgcheck"]), "letters, digits"),
        (lambda: Packages(exact={"vim": "9 && reboot"}), "letters, digits"),
        (lambda: Repository(id="r", url="ftp://a", key="k"), "no http"),
        (lambda: Repository(id="../r", url="https://a", key="k"), "letters, digits"),
        (lambda: Repository(id="r", url="https://a\ngpgcheck=0", key="k"), "no http"),
        (lambda: SigningKey(name="k", file="x", fingerprint="1234"), "40 hexadecimal digits"),
    ],
)
def test_bad_fields_are_refused(make, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make()


def test_a_version_is_compared_as_exactly_as_it_was_given() -> None:
    class Host:
        @staticmethod
        def check_output(*_: str) -> str:
            return "jq 1.7.1-2.ph5\nlinux 6.1-1\nlinux 6.1-2"

    assert versions_like("1.7.1", "jq", Host()) == ["1.7.1"]
    assert versions_like("1.7.1-2.ph5", "jq", Host()) == ["1.7.1-2.ph5"]
    assert versions_like("6.1-1", "linux", Host()) == ["6.1-1", "6.1-2"]
