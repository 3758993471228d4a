"""Reports of rollouts that were really played, and of fleets that are larger than anybody can look at one by one."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from deploys.__main__ import main
from deploys.refusal import Refusal
from deploys.report.document import document
from deploys.report.html import html, policy, source, span, text_of
from deploys.report.junit import junit
from deploys.report.markdown import markdown, plain
from deploys.report.metrics import MOST_HOSTS, metrics
from deploys.report.read import of_fleet, of_names, of_rollout
from deploys.rollout.model import Answer, OnFail, PolicyVerdict, Spec, State, Verdict
from deploys.rollout.store.policies import hosts_in, hosts_of_fleet
from deploys.rollout.store.rows import HostResult, PolicyResult
from tests.rollout.played import World, since
from tests.rollout.reported import NOW, Seen, finish, told

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """A canary that is well, and a wave of three of which one fails: the wave goes back."""
    made = World(tmp_path_factory.mktemp("reports") / "state", bad={"web-2": "failed"})
    wrong = told("failed", ["Write /etc/motd"], ["files.motd: not true that it is there"], advisories=["PHSA-1"],
                 words=f"FAILED; 1 change\nweb-2: {EVIL} is | not @all there")  # fmt: skip
    said = {"*": told("changed", ["Write /etc/motd"]), "web-2": wrong, "back": told("proved", words="back at last")}
    (made.place.state / "told").write_text(json.dumps(said))
    ident = made.begin([[1], [3]], Spec(gates=("alerts",), on_fail=OnFail.BACK_WAVE))
    assert made.play(ident) is State.WENT_BACK
    return made


@pytest.fixture(scope="module")
def report(world):
    return of_rollout(world.store, 1, datetime.now(UTC))


def test_the_matrix_says_of_each_host_what_came_of_each_policy(report) -> None:
    assert report.hosts.policies == ["ssh", "files"]
    assert [(row.some.names, row.words, list(row.policies.values())) for row in report.hosts.rows] == [
        (["web-2"], "failed, went back", ["proved", "failed"]),
        (["web-0"], "proved", ["proved", "changed"]),
        (["web-1"], "proved, went back", ["proved", "changed"]),
        (["web-3"], "proved, went back", ["proved", "changed"]),
    ]  # fmt: skip
    assert report.hosts.counts == {"proved": 1, "proved, went back": 2, "failed, went back": 1}


def test_why_a_host_went_back_is_said_also_of_those_that_were_well(report) -> None:
    found = {name: each.reason for each in report.hosts.back for name in each.some.names}
    assert found["web-1"] == found["web-3"] == "failed: 1 of the 3 hosts of the wave, of which 0 may"
    assert found["web-2"].startswith("web-2: ")
    assert [each.some.names for each in report.hosts.unwell] == [["web-2"]]


def test_what_changed_is_counted_and_advisories_that_nobody_looked_for_are_not_none(world, report) -> None:
    assert [(each.policy, each.operation, each.some.hosts) for each in report.hosts.changes] == [
        ("files", "Write /etc/motd", 4)
    ]
    assert {name: some.names for name, some in report.hosts.advisories.items()} == {"PHSA-1": ["web-2"]}
    # The way back did not look.
    assert of_fleet(world.store, datetime.now(UTC)).hosts.advisories is None


def test_waves_have_their_phases_over_time(report) -> None:
    states = {number: [phase.state for phase in phases] for number, phases in report.phases.items()}
    assert states == {0: ["open", "baking", "gates"], 1: ["open", "going back"]}
    for phases in report.phases.values():
        assert all(phase.begin <= phase.end for phase in phases)
    assert report.phases[0][-1].end <= report.phases[1][0].begin


def test_the_fleet_is_the_newest_word_and_the_age_of_the_last_proof(world) -> None:
    rows = {row.name: row for row in hosts_of_fleet(world.store)}
    assert {name: [each.verdict for each in row.policies] for name, row in rows.items()} == {
        "web-0": ["proved", "changed"], **{f"web-{number}": ["proved", "proved"] for number in (1, 2, 3)}
    }  # fmt: skip
    assert rows["web-2"].words == "back at last"
    later = of_fleet(world.store, datetime.now(UTC) + timedelta(days=3), ["web-0", "web-9"])
    assert {words: count for words, count in later.hosts.ages.items() if count} == {"within a week": 1, "never": 1}
    assert [(row.name, row.verdict) for row in of_names(hosts_of_fleet(world.store), ["web-9", "web-0"])] == [
        ("web-0", Verdict.OK), ("web-9", None)
    ]  # fmt: skip


def test_the_page_needs_nothing_from_elsewhere_and_holds_no_script(report) -> None:
    text = html(report)
    seen = Seen(text)
    assert (seen.open, seen.fetched) == ([], [])
    assert "script" not in seen.tags
    style = re.search("<style>(.*)</style>", text, re.DOTALL)[1]
    assert style == text_of("page.css")
    assert "url(" not in style
    assert "@import" not in style
    assert f"style-src {source(style)}".replace("'", "&#39;") in text
    assert "script-src" not in policy()


def test_what_comes_from_outside_is_text_everywhere(tmp_path) -> None:
    world = World(tmp_path / "state")
    policies = (PolicyResult(EVIL, PolicyVerdict.FAILED, 1, 0, (EVIL,), (EVIL,)),)
    finish(world, {f"web-0{EVIL}": HostResult(Verdict.FAILED, 1, EVIL, policies, (EVIL,))}, why=EVIL)
    with world.store.writing(1) as db:
        db.execute("UPDATE wave SET state = 'gates'")
    world.store.answered(1, 0, EVIL, Answer.FAIL, EVIL, since(world.store, 1, 0))
    found = of_rollout(world.store, 1, NOW)
    for text in (html(found), html(found, live=True), html(of_fleet(world.store, NOW), live=True)):
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text
        assert Seen(text).open == []
    for lines in (markdown(found), junit(f"{EVIL}", lambda: hosts_in(world.store, 1))):
        assert "<script" not in "\n".join(lines)


def test_markdown_tells_nobody_links_nothing_and_keeps_its_tables() -> None:
    assert plain("@all see https://evil.example | `x`\n#3 *b* <i>").replace("\u200b", "_") == (
        "@_all see https:_//evil.example \\| \\`x\\` \\#_3 \\*b\\* &lt;i&gt;"
    )
    assert plain("/close !7 www.evil.example").replace("\u200b", "_") == "_/close !_7 www_.evil.example"
    assert plain("web-1: 100 % of 3 hosts, a@b") == "web-1: 100 % of 3 hosts, a@\u200bb"


def test_the_comment_on_a_merge_request(report) -> None:
    text = "\n".join(markdown(report))
    assert text.startswith("## Rollout 1: went back (")
    assert "**4 hosts**: 2 proved, went back, 1 proved, 1 failed, went back" in text
    assert "| web-2 | failed, went back | ✓ | ✗ |" in text
    assert "- **web-2**: failed, went back. web-2: &lt;script&gt;" in text
    assert len(text) < 5000


def test_junit_has_a_case_for_each_host_and_policy(world, report) -> None:
    found = ET.fromstring("\n".join(junit("rollout 1", lambda: hosts_in(world.store, 1))))  # noqa: S314 - ours
    cases = {(case.get("classname"), case.get("name")): case for case in found.iter("testcase")}
    assert len(cases) == 8
    assert [key for key, case in cases.items() if case.find("failure") is not None] == [("web-2", "files")]
    assert cases["web-2", "files"].find("failure").get("message") == "files.motd: not true that it is there"
    assert found.find("testsuite").attrib == {
        "name": "rollout 1", "tests": "8", "failures": "1", "errors": "0", "skipped": "0"
    }  # fmt: skip


def test_junit_says_what_is_wrong_with_a_host_that_says_nothing_of_policies(tmp_path) -> None:
    world = World(tmp_path / "state")
    finish(world, {"web-0": HostResult(Verdict.UNREACHABLE, 0, "no route\x1b[0m to host")}, units=[[1, 1]])
    found = ET.fromstring("\n".join(junit("x", lambda: hosts_in(world.store, 1))))  # noqa: S314 - ours
    first, second = found.iter("testcase")
    assert (first.get("name"), first.find("failure").get("message")) == ("host", "unreachable")
    assert (second.get("classname"), second.find("skipped").get("message")) == ("web-1", "to come")


def test_the_document_for_programs(world, report) -> None:
    found = json.loads("\n".join(document(report, lambda: hosts_in(world.store, 1))))
    assert (found["schema"], found["kind"], found["rollout"]["state"]) == (1, "rollout", "went back")
    host = found["hosts"][2]
    assert (host["name"], host["verdict"], host["back"], host["advisories"]) == ("web-2", "failed", "ok", ["PHSA-1"])
    assert host["policies"]["files"]["failed"] == ["files.motd: not true that it is there"]
    assert [phase["state"] for phase in found["phases"]][:2] == ["open", "baking"]
    empty = json.loads("\n".join(document(of_fleet(world.store, NOW, []), lambda: iter(()))))
    assert (empty["kind"], empty["hosts"], empty["total"]) == ("fleet", [], 0)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> World:
    """Three thousand hosts of two kinds, of which one in a hundred fails in its own words."""
    world = World(tmp_path_factory.mktemp("many") / "state")
    good = (PolicyResult("ssh", PolicyVerdict.PROVED, 9, 9), PolicyResult("files", PolicyVerdict.CHANGED, 3, 3, ("W",)))
    results = {}
    for number in range(3000):
        name = f"web-{number:05}"
        results[name] = HostResult(Verdict.OK, 1, "", good[: 1 + number % 2])
        if number % 100 == 0:
            policies = (PolicyResult("ssh", PolicyVerdict.FAILED, 9, 8, (), (f"ssh: {name}",)),)
            results[name] = HostResult(Verdict.FAILED, 1, f"{name} is wrong", policies)
    finish(world, results)
    return world


def test_a_large_fleet_has_a_small_page_that_leaves_nobody_out(many) -> None:
    found = of_fleet(many.store, NOW)
    assert [(row.some.hosts, row.words) for row in found.hosts.rows] == [
        (30, "failed"), (1500, "proved"), (1470, "proved")
    ]  # fmt: skip
    text = html(found)
    assert len(text) < 100_000
    assert "<summary>1,500 hosts</summary>" in text
    assert "and 500 more" in text
    assert text.count("is wrong") == 30
    assert sum(1 for _ in hosts_of_fleet(many.store)) == 3000


SAMPLE = re.compile(r'photon_fleet_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+-]+')


def test_metrics_have_few_labels_however_many_hosts(world, many) -> None:
    small, large = metrics(world.store, datetime.now(UTC)), metrics(many.store, NOW + timedelta(hours=5))
    for text in (small, large):
        lines = text.splitlines()
        assert text.endswith("\n")
        assert all(SAMPLE.fullmatch(line) for line in lines if not line.startswith("# "))
        names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
        assert len(names) == len(set(names))
    assert 'photon_fleet_host_proof_age_seconds{host="web-0"}' in small
    assert "{host=" not in large
    assert 'photon_fleet_hosts{verdict="failed"} 30' in large
    assert 'photon_fleet_hosts_proved_within{seconds="3600"} 0' in large
    assert 'photon_fleet_hosts_proved_within{seconds="21600"} 2970' in large
    assert 'photon_fleet_rollout_hosts{rollout="1",verdict="failed"} 30' in large
    assert 'photon_fleet_rollout_state{rollout="1",state="went back"} 1' in small
    assert MOST_HOSTS < 3000


@pytest.fixture
def command(world, monkeypatch):
    monkeypatch.setenv("PHOTON_FLEET_STATE", str(world.place.state))

    def run(*words: str) -> str:
        return CliRunner().invoke(main, words, catch_exceptions=False, standalone_mode=False).output

    return run


@pytest.mark.parametrize(("form", "begin"), [
    ("html", "<!DOCTYPE html>"), ("markdown", "## Rollout 1"), ("junit", "<?xml"), ("json", '{"schema": 1'),
])  # fmt: skip
def test_the_command_prints_each_form(command, form, begin) -> None:
    assert command("report", "1", "--format", form).startswith(begin)


def test_files_are_whole_at_every_moment(command, tmp_path) -> None:
    target = tmp_path / "fleet.prom"
    target.write_text("old")
    assert command("metrics", "--output", str(target)) == ""
    assert target.read_text().startswith("# HELP photon_fleet_hosts ")
    assert list(tmp_path.iterdir()) == [target]


def test_hosts_of_an_inventory_that_no_rollout_has_touched_are_never_proved(command, tmp_path) -> None:
    inventory = tmp_path / "fleet.py"
    inventory.write_text(
        "from inventories._fleet import fleet, host\n"
        "hosts = fleet(*(host(name, address='192.0.2.1') for name in ('web-0', 'new-1')))\n"
    )
    found = json.loads(command("report", "--fleet", str(inventory), "--format", "json"))
    assert [(host["name"], host["verdict"]) for host in found["hosts"]] == [("web-0", "ok"), ("new-1", None)]
    assert (found["ages"]["within an hour"], found["ages"]["never"]) == (1, 1)


@pytest.mark.parametrize(("words", "refusal"), [
    (["report", "99"], "there is no rollout 99"), (["report", "1", "--fleet", "x.py"], "not both"),
    (["report", "--output", "/nowhere/x.html"], "/nowhere/x.html: No such file or directory"),
    (["web", "--listen", "0.0.0.0"], "no loopback address"), (["web", "--listen=-x"], "no loopback address"),
])  # fmt: skip
def test_what_is_refused(command, words, refusal) -> None:
    with pytest.raises(Refusal, match=refusal):
        command(*words)


def test_lengths_of_time_are_short() -> None:
    lengths = [span(timedelta(seconds=seconds)) for seconds in (-1, 59, 61, 3700, 90_000)]
    assert lengths == ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]
