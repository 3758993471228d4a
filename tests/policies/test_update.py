"""The policy of updates: what it refuses, and what its checks read."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyinfra.api import OperationError

from deploys.errors import InputError
from deploys.policies import _update_checks
from deploys.policies.base import Contains
from deploys.policies.packages import Packages
from deploys.policies.update import Drain, Update
from deploys.policies.update_slot import FleetLock
from deploys.policies.update_window import Freeze, Window
from deploys.update.current import asked_by


def examples(_: Path) -> tuple[Update, Update]:
    """Two policies that differ in every field, for the contract test."""
    window = Window(name="night", start="02:00", hours=3, zone="Europe/Berlin")
    freeze = Freeze(name="sales", first=date(2026, 12, 20), last=date(2027, 1, 2), zone="Europe/Berlin")
    return (
        Update(level="12", install="security"),
        Update(
            level="latest", minversions={"sudo": "1.9.15p5-4.ph5"}, install="all", minimum_score=7.0,
            exclude=["docker*"], reboot="due", windows=[window], freezes=[freeze],
            drain=Drain(containers=["drain=true"], nfs_clients=True),
            slot=FleetLock(url="https://lock.example.com", group="web"),
        ),
    )  # fmt: skip


def test_it_says_why_nothing_may_be_done_now(tmp_path) -> None:
    free, bound = examples(tmp_path)
    now = datetime(2026, 12, 24, 2, tzinfo=UTC)
    assert free.shut(now) == ""
    assert bound.shut(now).startswith("sales lasts until 2027-01-02 (Europe/Berlin); the next moment is ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"level": "12; reboot"}, "is no level of updates"),
        ({"minversions": {"--x": "1"}}, "--x=1 is no package and version"),
        ({"minversions": {"sudo": "1 2"}}, "sudo=1 2 is no package and version"),
        ({"window": []}, "unknown field 'window' .did you mean 'windows'"),
    ],
)
def test_what_is_no_policy_of_updates(given, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Update(**given)


@pytest.mark.parametrize(
    "given", [{}, {"containers": ["-x"]}, {"containers": ["a b"]}, {"nfs_clients": True, "seconds": 1}]
)
def test_what_is_no_drain(given) -> None:
    with pytest.raises(InputError):
        Drain(**given)


def test_two_windows_of_one_name() -> None:
    window = Window(name="night", start="02:00", hours=3, zone="UTC")
    with pytest.raises(InputError, match="'night' is given 2 times"):
        Update(windows=[window, window])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reboot": "due"}, "reboot: says nothing as long as install is no"),
        ({"exclude": ["curl"]}, "exclude: says nothing as long as install is no"),
        ({"install": "all", "minimum_score": 7}, "minimum_score: is about advisories"),
    ],
)
def test_what_says_nothing(given, said: str) -> None:
    assert said in "".join(Update(**given).problems())


def test_a_package_of_exactly_one_version_is_left_out() -> None:
    packages = Packages(exact={"jq": "1.7.1"})
    assert "exclude: leaves out no jq" in "".join(Update(install="all").conflicts({"packages": packages}))
    assert not [*Update(install="all", exclude=["j*"]).conflicts({"packages": packages})]
    assert not [*Update().conflicts({"packages": packages})]


def test_what_an_image_host_is_asked_for() -> None:
    asked = asked_by(Update(install="all", reboot="always"), image=True)
    assert (asked.restart, asked.only_after_change) == ("due", False)
    asked = asked_by(Update(install="security", minimum_score=7, reboot="always"), image=False)
    assert (asked.security, asked.score, asked.restart, asked.only_after_change) == (True, 7.0, "always", True)
    for policy in (Update(install="security"), Update(install="all", exclude=["curl"])):
        with pytest.raises(OperationError, match='give it install="all" for the newest one'):
            asked_by(policy, image=True)


CLOSED = Freeze(name="always", first=date(2020, 1, 1), last=date(2099, 1, 1), zone="UTC")


def test_outside_the_windows_what_is_pending_is_only_told() -> None:
    checks = {check.id: check for check in Update(install="all", reboot="due", freezes=[CLOSED]).checks()}
    assert checks["update.pending"].expect == Contains(())
    assert "it waits, as always lasts until 2099-01-01" in checks["update.pending"].proves
    assert "update.reboot" not in checks
    checks = {check.id: check for check in Update(install="all", reboot="due").checks()}
    assert checks["update.pending"].expect == []
    assert "update.reboot" in checks


class Answers:
    """A testinfra host that answers by the beginning of a command."""

    def __init__(self, answers: dict[str, str], stderr: str = "") -> None:
        self.answers, self.stderr = answers, stderr

    def run(self, command: str, *words: str) -> SimpleNamespace:
        line = command % words if words else command
        text = next((text for part, text in self.answers.items() if part in line), "")
        return SimpleNamespace(rc=0, stdout=text, stderr=self.stderr)

    def check_output(self, command: str, *words: str) -> str:
        return self.run(command, *words).stdout.removesuffix("\n")


def rows(*names: str) -> str:
    return json.dumps([{"Name": each.split()[0], "Evr": each.split()[1]} for each in names]) + "\n"


def advisories(*pairs: str) -> str:
    return json.dumps(
        [{"UpdateID": each.split()[0], "Packages": [f"{each.split()[1]}-1-1.x86_64.rpm"]} for each in pairs]
    )


PACKAGES = {
    "ostree-booted": "packages\n",
    "check-update": rows(
        "curl 8.7.1-2", "curl 8.12.0-1", "sudo 1.9-4", "jq 1.7-2", "linux-esx 6.1.9-1", "linux-esx 6.1.111-1"
    ),
    "rpm -qa": "curl 8.7.1-1\nsudo 1.9-3\njq 1.7-1\nlinux-esx 6.1.9-1\nlinux-esx 6.1.111-1\n",
    "--security": advisories("A curl", "B sudo", "C jq", "A not-installed"),
    "--sec-severity 7": advisories("A curl"),
    "--sec-severity 0.1": advisories("A curl", "B sudo"),
}


@pytest.mark.parametrize(
    ("install", "score", "exclude", "more", "found"),
    [
        ("all", 0, (), {}, ["curl", "jq", "sudo"]),
        ("all", 0, ("j*",), {}, ["curl", "sudo"]),
        ("security", 0, (), {}, ["curl", "jq", "sudo"]),
        # An advisory without a score counts as severe.
        ("security", 7, (), {}, ["curl", "jq"]),
        ("all", 0, (), {"update/held": "curl 0:8.12.0-1 x86_64\n"}, ["jq", "sudo"]),
        ("all", 0, (), {"find": "/etc/tdnf/locks.d/a.conf\n", "a.conf": "# ours\nsudo\n"}, ["curl", "jq"]),
        ("all", 0, (), {"rpm -qa": "linux-esx 6.1.9-1\n"}, ["curl", "jq", "linux-esx", "sudo"]),
    ],
)
def test_what_is_pending_of_packages(install, score, exclude, more, found) -> None:
    assert _update_checks.pending(install, score, exclude, Answers({**more, **PACKAGES, **more})) == found


def test_what_cannot_be_read_is_not_nothing() -> None:
    with pytest.raises(ValueError, match="Failed to synchronize"):
        _update_checks.pending(
            "all", 0, (), Answers(PACKAGES, "Error: Failed to synchronize cache for repo 'photon'\n")
        )
    with pytest.raises(ValueError, match="tdnf check-update ended with status 0"):
        _update_checks.pending("all", 0, (), Answers({**PACKAGES, "check-update": "\n"}))


RUNS, NEWEST = "a" * 64, "b" * 64
IMAGES = {
    "ostree-booted": "images\n",
    "admin status": f"* photon {RUNS}.0\n    Version: 1\n    origin refspec: photon:photon/5.0/x86_64/minimal\n",
    "remote summary": f"* photon/5.0/x86_64/minimal\n    Latest Commit (284 bytes):\n      {NEWEST}\n    Version: 2\n",
    "rev-parse": f"{'c' * 64}\n",
}


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, [NEWEST]),
        ({"remote summary": IMAGES["remote summary"].replace(NEWEST, RUNS)}, []),
        # With layered packages the child of the branch's commit is what runs.
        ({"rev-parse": f"{NEWEST}\n"}, []),
        ({"held-images": f"{NEWEST} 2\n"}, []),
    ],
)
def test_what_is_pending_of_images(more, found) -> None:
    assert _update_checks.pending("all", 0, (), Answers({**IMAGES, **more})) == found


@pytest.mark.parametrize("wrong", ["admin status", "remote summary"])
def test_a_host_that_does_not_say_what_it_follows(wrong) -> None:
    with pytest.raises(ValueError, match=r"names no deployment|does not offer"):
        _update_checks.pending("all", 0, (), Answers({**IMAGES, wrong: "nothing\n"}))
