"""What a real run says of the policies of its hosts: of hosts that answer at once (tests/bench/scale.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from deploys.rollout import RESULT
from deploys.rollout.model import PolicyVerdict, Verdict
from deploys.rollout.plan import INSTALLED
from deploys.rollout.results import bounded, read_results, write_results
from deploys.rollout.said import advisories_of
from deploys.rollout.store.rows import HostResult, PolicyResult
from operations._updates import left_open
from operations.updates import OPEN, Open
from tests.bench.scale import ROOT

INVENTORY = """
from deploys.policies.files import File, Files
from inventories._fleet import fleet, host
from tests.bench.scale_fleet import _ROLES, _recorded

said = dict(guard=False, **_recorded.data("db"))
hosts = fleet(
    host("db-1", *_ROLES["db"], **said),
    host("db-2", *_ROLES["db"], Files(files=[File(path="/etc/motd", content="new")]), **said), connector="fake",
)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, HostResult]:
    place = tmp_path_factory.mktemp("said")
    (place / "fleet.py").write_text(INVENTORY)
    subprocess.run(
        [sys.executable, "-m", "pyinfra", str(place / "fleet.py"), "deploys/host.py", "-y"], cwd=ROOT, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), RESULT: str(place / "said.json")}, capture_output=True, timeout=60,
    )  # fmt: skip
    return {name.removeprefix("@fake/"): each for name, each in read_results(place / "said.json").items()}


def test_a_host_that_is_as_it_should_be_is_proved_policy_by_policy(results) -> None:
    found = results["db-1"]
    assert found.verdict is Verdict.OK, found.words
    assert [each.policy for each in found.policies] == ["packages", "ssh", "firewall"]
    for each in found.policies:
        assert each.verdict is PolicyVerdict.PROVED
        assert each.passed == each.checks > 0
    assert sum(each.checks for each in found.policies) == int(found.words.split(" of ")[1].split()[0])
    assert found.advisories is None


def test_what_changed_and_what_is_not_as_it_should_be_are_told_apart(results) -> None:
    found = results["db-2"]
    assert found.verdict is Verdict.FAILED
    *others, files = sorted(found.policies, key=lambda each: each.policy == "files")
    assert {each.verdict for each in others} == {PolicyVerdict.PROVED}
    # The host takes every command and becomes nothing.
    assert (files.policy, files.verdict) == ("files", PolicyVerdict.FAILED)
    assert files.passed < files.checks
    assert any("motd" in line for line in files.changed)
    assert any(line.startswith("files.") and "not true that" in line for line in files.failed)


def test_what_a_run_says_comes_back_as_it_was(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(RESULT, str(tmp_path / "said.json"))
    policy = PolicyResult("ssh", PolicyVerdict.CHANGED, 7, 7, ("Configure sshd",), ())
    said = {
        "web-1": HostResult(Verdict.OK, 1, "ok", (policy,), ("PHSA-1",)), "web-2": HostResult(Verdict.UNREACHABLE)
    }  # fmt: skip
    write_results(said)
    assert read_results(tmp_path / "said.json") == said


def test_a_run_of_an_earlier_commit_knows_no_policies(tmp_path) -> None:
    path = tmp_path / "said.json"
    path.write_text('{"version": 1, "hosts": {"web-1": {"verdict": "ok", "changes": 2, "words": "fine"}}}')
    assert read_results(path) == {"web-1": HostResult(Verdict.OK, 2, "fine")}


@pytest.mark.parametrize("policies", ['"many"', '[{"policy": "ssh"}]', "[3]", '[{"policy": "ssh", "verdict": "good"}]'])
def test_what_cannot_be_understood_says_nothing(tmp_path, policies) -> None:
    path = tmp_path / "said.json"
    path.write_text(
        f'{{"version": 1, "hosts": {{"a": {{"verdict": "ok", "changes": 0, "words": "", "policies": {policies}}}}}}}'
    )
    assert read_results(path) == {}


def test_however_much_a_run_says_of_a_host_little_is_kept() -> None:
    lines = tuple(f"operation {number} {'x' * 1000}" for number in range(1000))
    policies = tuple(PolicyResult(f"p{number}", PolicyVerdict.FAILED, 1, 0, lines, lines) for number in range(1000))
    found = bounded(HostResult(Verdict.FAILED, 1, "w" * 100_000, policies, tuple("a" * 1000 for _ in range(1000))))
    assert len(repr(found)) < 100_000
    assert found.policies[0].changed[-1] == "and 981 more"
    assert bounded(found) == found


@pytest.mark.parametrize(("verdict", "open_now"), [
    (PolicyVerdict.CHANGED, ("PHSA-2",)), (PolicyVerdict.PROVED, ("PHSA-1", "PHSA-2")),
    (PolicyVerdict.FAILED, ("PHSA-1", "PHSA-2")),
])  # fmt: skip
def test_an_update_that_was_installed_leaves_open_what_it_did_not_take(monkeypatch, verdict, open_now) -> None:
    advisories = [
        {"id": "PHSA-1", "packages": ["curl-8.12.0-1.ph5.x86_64", "curl-devel-8.12.0-1.ph5.x86_64"]},
        {"id": "PHSA-2", "packages": ["linux-esx-6.1.1-1.ph5.x86_64"]},
    ]
    left = left_open(advisories, {"curl": [], "linux-esx": []}, ["curl"])
    monkeypatch.setitem(OPEN, "web-1", Open(("PHSA-1", "PHSA-2"), tuple(left)))
    policies = [PolicyResult(INSTALLED, verdict)]
    assert advisories_of(SimpleNamespace(name="web-1"), policies) == open_now
    assert advisories_of(SimpleNamespace(name="web-2"), policies) is None
