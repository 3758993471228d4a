"""Plans: the digest that a run is held to, what may differ from it, and files that were changed by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploys.refusal import Refusal
from deploys.rollout.cli import _within
from deploys.rollout.look import _as_markdown, status_of
from deploys.rollout.plan import Bound, HostPlan, Plan, Step, read_plan, shown, write_hosts
from deploys.rollout.planning import ask_hosts
from deploys.statuses import Status

STEPS = (Step("files", "File /etc/motd"), Step("services", "Run nginx", "may", "it is not installed yet"))
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
steps = st.builds(Step, words, words, st.sampled_from(["will", "may"]), words)
plans = st.builds(
    HostPlan, st.lists(steps, max_size=4).map(tuple), st.dictionaries(words, words, max_size=2), st.booleans(),
    st.lists(words, max_size=2).map(tuple),
)  # fmt: skip


def plan_of(hosts: dict[str, HostPlan]) -> Plan:
    return Plan("inventories/prod.py", "c0ffee", "0ff1ce", hosts)


@settings(max_examples=20)
@given(st.dictionaries(words, plans, max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, hosts) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    path.write_text(json.dumps(plan_of(hosts).to_json()))
    assert read_plan(path) == plan_of(hosts)
    write_hosts(path, hosts)
    assert Bound.read(path).hosts == hosts


@given(plans, plans)
def test_a_run_is_held_to_its_steps(mine, other) -> None:
    told = [
        ([(each.policy, each.name, each.certainty) for each in plan.steps], sorted(plan.unknown), plan.reached)
        for plan in (mine, other)
    ]
    assert (Bound({"web-1": mine}, less=False).complaint("web-1", other) == "") is (told[0] == told[1])


def test_what_was_cut_off_may_find_less_but_nothing_more() -> None:
    planned, less = HostPlan(STEPS), HostPlan(STEPS[1:])
    more = HostPlan((*STEPS, Step("ssh", "Write sshd_config")))
    assert Bound({"web-1": planned}, less=True).complaint("web-1", less) == ""
    assert "no longer: files: File /etc/motd" in Bound({"web-1": planned}, less=False).complaint("web-1", less)
    assert "more: ssh: Write sshd_config" in Bound({"web-1": planned}, less=True).complaint("web-1", more)
    assert Bound({"web-1": planned}, less=True).complaint("web-2", planned) == "the plan says nothing of this host"
    assert Bound({"web-1": planned}, less=True).complaint("web-1", HostPlan(reached=False))


@pytest.mark.parametrize("change", [
    lambda given: given.update(revision="bad"),
    lambda given: given.update(base="bad"),
    lambda given: given["hosts"].pop("web-1"),
    lambda given: given["hosts"]["web-1"]["steps"].pop(),
    lambda given: given["hosts"]["web-1"].update(unknown={"ssh": "x"}),
    lambda given: given["hosts"]["web-1"]["steps"][0].update(certainty="perhaps"),
    lambda given: given.update(schema=2),
    lambda given: given.pop("hosts"),
])  # fmt: skip
def test_a_plan_that_was_changed_is_refused(tmp_path, change) -> None:
    given = plan_of({"web-1": HostPlan(STEPS), "web-2": HostPlan()}).to_json()
    change(given)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(given))
    with pytest.raises(Refusal, match=r"plan\.json"):
        read_plan(path)


def test_a_run_whose_plan_cannot_be_read_is_held_to_nothing_and_says_so(tmp_path) -> None:
    for text in ("", "{}", '{"schema": 1, "hosts": {"web-1": {}}}'):
        (tmp_path / "plan").write_text(text)
        with pytest.raises(Refusal, match="cannot be read"):
            Bound.read(tmp_path / "plan")


def test_alike_hosts_are_told_once() -> None:
    hosts = {f"web-{number}": HostPlan(STEPS) for number in range(12)}
    lines = shown(plan_of({**hosts, "db-1": HostPlan(), "db-2": HostPlan(reached=False)}))
    assert lines[0] == "web-0, web-1, web-2, web-3, web-4, web-5, web-6, web-7 and 4 more:"
    assert lines[1:5] == [
        "    will     files: File /etc/motd",
        "    may      services: Run nginx (it is not installed yet)",
        "db-2:",
        "    unknown  it could not be reached",
    ]
    assert lines[-1].endswith("14 hosts, 1 clean; 12 steps will, 12 may change something; 1 hosts not wholly known")


def test_nothing_that_a_host_has_said_leaves_its_block_in_a_comment() -> None:
    said = "nft said\n\n# hello\r@security-team\x0b![x](https://evil.example/x.png)\u2028</details>"
    made = plan_of({"web-1": HostPlan(unknown={"firewall": said})})
    head, empty, *lines = _as_markdown(made, [*shown(made), "", f"a reason {said}"])
    assert (head, empty) == ("### Plan of c0ffee", "")
    text = "\n".join(lines)
    assert "# hello" in text
    assert all(line.startswith("    ") for line in text.splitlines())


def test_the_worst_is_what_a_plan_ends_with() -> None:
    clean, some, lost = HostPlan(), HostPlan(STEPS), HostPlan(reached=False)
    unknown = replace(clean, unknown={"ssh": "it could not be read"})
    for hosts, status in (
        ([clean], Status.CLEAN), ([clean, some], Status.CHANGES), ([some, lost], Status.UNREACHABLE),
        ([lost, unknown], Status.FAILED), ([replace(clean, failing=("x",))], Status.CHANGES),
    ):  # fmt: skip
        assert status_of(dict(enumerate(hosts)), Status.CHANGES) is status


def test_a_plan_about_no_host_rolls_nothing_out() -> None:
    with pytest.raises(Refusal, match="the plan is about no host"):
        _within(Plan("fleet.py", "c0ffee", "0ff1ce", {}), "fleet.py", "c0ffee", ())


@pytest.mark.parametrize(
    ("plan", "drifted", "clean"),
    [
        (HostPlan(), False, True),
        (HostPlan(STEPS), True, False),
        (HostPlan(failing=("files: not so",)), True, False),
        (HostPlan(unknown={"checks": "the host did not answer"}), False, False),
        (HostPlan(reached=False), False, False),
    ],
)
def test_what_is_not_known_of_a_host_is_neither_clean_nor_drift(plan: HostPlan, drifted: bool, clean: bool) -> None:
    assert (plan.drifted, plan.clean) == (drifted, clean)


def test_a_dry_run_that_says_what_is_no_text_is_told_of(tmp_path, monkeypatch) -> None:
    program = tmp_path / "pyinfra"
    program.write_text("#!/bin/sh\nprintf 'caf\\351 broken\\n' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    found = ask_hosts(tmp_path, "fleet.py", ["web-1"], unit_hosts=1, parallel=1, tell=lambda _: None)
    assert found["web-1"].unknown == {"": "its dry run ended with 3: caf\ufffd broken"}
