"""The parsers against every recorded run of the real tdnf (3.3.11, 3.5.9, 3.6.0-dev) with JSON output."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts import _tdnf
from facts._answer import MARK, Answer, AnswerError, answer, decode, errors, rows, troubles

FOLDER = Path(__file__).parent / "transcripts" / "tdnf"
VERSIONS = ("3.3.11", "3.5.9", "3.6.0-dev")
LISTS = {"list", "check-update", "repolist", "updateinfo", "repoquery", "history"}
PLANS = {"install", "update", "remove", "downgrade", "distro-sync", "autoremove", "reinstall", "upgrade-to"}
PHOTON = "VMware Photon Linux 5.0 (x86_64)"
NOPE = "http://127.0.0.1:8055/nope"
STEPS = ("install", "upgrade", "downgrade", "reinstall", "remove", "obsolete")
SUMMARIES = {"Unknown", "Security", "Bugfix", "Enhancement"}
HISTORY_CHANGES = {"undo", "redo", "rollback", "init"}


def subcommand(case):
    return next((word for word in case["argv"][1:] if not word.startswith("-")), "")


def recorded(wanted):
    """One parameter for each run with `-j` and without a terminal."""
    return list(_recorded(wanted))


def _recorded(wanted):
    for version in VERSIONS:
        for line in (FOLDER / f"{version}.jsonl").read_text().splitlines():
            case = json.loads(line)
            is_json = {"-j", "--json"} & set(case["argv"]) or case["argv"][0] == "tdnfj"
            if is_json and wanted(case) and not case["tty"]:
                yield pytest.param(case, id=f"{version}-{case['name']}")


def answered(case):
    """The answer as our own shell command frames it."""
    status = case["exit"] if case["exit"] is not None else 128 + signal.Signals[case["signal"]]
    text = f"{case['stderr']}\n{MARK}{status}\n{case['stdout']}"
    return answer(text.splitlines())


def expects_rows(case):
    return subcommand(case) not in {"repoquery", "history"}


def is_summary(given):
    documents = decode(given.stdout).documents
    return len(documents) == 1 and isinstance(documents[0], dict) and set(documents[0]) == SUMMARIES


def is_plan(case):
    return subcommand(case) in PLANS or bool(HISTORY_CHANGES & set(case["argv"]))


def is_list(case):
    return subcommand(case) in LISTS and not is_plan(case)


def failed(case):
    return case["exit"] not in {0, 100}


def check_package(row, version):
    assert row["Name"]
    assert row["Arch"]
    assert row["Evr"].count("-") == 1
    assert row["Repo"]
    assert version != "3.3.11" or ":" not in row["Evr"]


@pytest.mark.parametrize("case", recorded(is_list))
def test_lists(case):
    given = answered(case)
    found, trouble = rows(given, expected=expects_rows(case) and not is_summary(given))
    if failed(case):
        assert trouble
    if "Failed to synchronize cache" in case["stderr"]:
        assert any("could not be read" in line for line in trouble)
    if not trouble:
        assert not errors(decode(given.stdout))
        assert found or "[]" in given.stdout or is_summary(given) or not expects_rows(case)
    for row in found:
        if subcommand(case) in {"list", "check-update", "repoquery"}:
            check_package(row, case["tdnf_version"])
    if subcommand(case) in {"list", "check-update"}:
        assert len(_tdnf.updates(found)) <= len(found)
    if subcommand(case) == "repolist" and found:
        assert all(not name.startswith("@") for name in _tdnf.repositories(found))
    if subcommand(case) == "updateinfo" and found:
        check_advisories(found)


def check_advisories(found):
    advisories = _tdnf.advisories(found)
    assert [one["id"] for one in advisories] == sorted({row["UpdateID"].removeprefix("patch:") for row in found})
    assert all(one["packages"] and one["type"] in {"security", "bugfix", "enhancement"} for one in advisories)


@pytest.mark.parametrize("case", recorded(is_plan))
def test_plans(case):
    given = answered(case)
    plan = _tdnf.plan(given)
    assert bool(plan["trouble"]) or not failed(case)
    for number, _ in errors(decode(given.stdout)):
        assert any(str(number) in line or "repository" in line for line in plan["trouble"])
    steps = [row for step in STEPS for row in plan[step]]
    assert all(":" not in row["evr"] and row["name"] and row["arch"] for row in steps)
    added = {f"{row['name']}-{row['evr']}.{row['arch']}" for step in STEPS[:4] for row in plan[step]}
    alone = not any(case.get(key) for key in ("followups", "signal", "concurrent"))
    if alone and not {"-q", "--quiet"} & set(case["argv"]):
        packages = {name for name in case["packages_added"] if not name.startswith("gpg-pubkey")}
        assert {name.replace("-1:", "-") for name in packages} <= added


@pytest.mark.parametrize("version", VERSIONS)
def test_coverage(version, capsys):
    counts = Counter()
    for parameter in recorded(lambda case: is_list(case) or is_plan(case)):
        case = parameter.values[0]
        if case["tdnf_version"] != version.removesuffix("-dev") and case["tdnf_version"] != version:
            continue
        given = answered(case)
        expected = not is_plan(case) and expects_rows(case) and not is_summary(given)
        trouble = _tdnf.plan(given)["trouble"] if is_plan(case) else rows(given, expected=expected)[1]
        counts["trouble" if trouble else "parsed"] += 1
    with capsys.disabled():
        parsed, trouble = counts["parsed"], counts["trouble"]
        print(f"\ntdnf {version}: parsed {parsed}, trouble {trouble} of {parsed + trouble} recorded cases")
    assert parsed > trouble > 0


@pytest.mark.parametrize("version", VERSIONS)
def test_versions(version):
    for line in (FOLDER / f"{version}.jsonl").read_text().splitlines():
        case = json.loads(line)
        if case["name"] == "version":
            said = _tdnf.version(answered(case))
            assert said["version"] == version.removesuffix("-dev")
            assert ("history" in said["features"]) == (version != "3.3.11")
            assert "noautoremove" in said["features"]
            return
    pytest.fail("no recording of --version")


def recording(name, version="3.5.9"):
    for line in (FOLDER / f"{version}.jsonl").read_text().splitlines():
        if (case := json.loads(line))["name"] == name:
            return answered(case)
    raise LookupError(name)


@pytest.mark.parametrize(
    ("name", "count", "sentences"),
    [
        ("check-update-json", 25, []),
        ("check-update-none-json", 0, []),
        ("check-update-compat-json", 25, []),
        ("lock-check-update-while-installing-json", 1, []),
        ("netdown-expired-check-update-json", 0, [
            f"repository '{PHOTON}' could not be read: Couldn't connect to server",
            f"repository '{PHOTON} Updates' could not be read: Couldn't connect to server",
        ]),
        ("netdown-noskip-check-update-json", 0, [
            f"repository '{PHOTON}' could not be read: Couldn't connect to server",
        ]),
        ("repo-html-instead-of-metadata-check-update-json", 0, [
            "repository 'Broken repo' could not be read: No data available",
        ]),
        ("repo-404-json", 0, [
            f"repository 'Broken repo' could not be read: 404 when downloading {NOPE}/repodata/repomd.xml",
        ]),
        ("repo-connection-refused-skip-json", 1, [
            "repository 'Broken repo' could not be read: Couldn't connect to server",
        ]),
        ("repo-duplicate-id-json", 0, ["repository 'photon' is defined more than once"]),
        ("list-user-nobody-no-cache-json", 0, [
            f"repository '{PHOTON}' could not be read: Permission denied",
        ]),
        ("rpmdb-corrupt-list-json", 0, ["tdnf error 1304: Solv - I/O error"]),
        ("conf-empty-json", 0, ["tdnf ended with status 139 and said nothing"]),
        ("unknown-option-json", 0, ["tdnf error 908: Command line error: option is invalid."]),
    ],
)  # fmt: skip
def test_what_is_said(name, count, sentences):
    found, trouble = rows(recording(name))
    assert len(found) == count
    assert trouble == sentences


def test_silence_where_an_answer_is_due():
    assert rows(Answer(0, "", "")) == ([], ["tdnf gave no answer at all"])
    assert rows(Answer(0, "", ""), expected=False) == ([], [])


def test_missing_tdnf_and_time_limit():
    missing = Answer(127, "", "timeout: failed to run command 'tdnf': No such file or directory\n")
    assert troubles(missing) == [f"tdnf could not be run: {missing.stderr.strip()}"]
    assert troubles(Answer(124, "", "")) == ["tdnf did not end in time (limit 300 seconds)"]


def test_a_document_cut_short_is_no_answer():
    whole = recording("check-update-json").stdout
    for end in range(0, len(whole) - 1, 7):
        assert rows(Answer(0, whole[:end], ""))[1]


def test_plan_and_its_error():
    plan = _tdnf.plan(recording("download-404-json"))
    assert [row["name"] for row in plan["install"]] == ["osquery"]
    assert plan["trouble"] == ["tdnf error 1622: Invalid argument"]


texts = st.text(alphabet=st.one_of(st.characters(), st.sampled_from('[]{}",:\n0Error()')), max_size=400)


@given(texts, texts, st.integers(0, 255))
def test_no_text_breaks_the_parsers(stdout, stderr, status):
    lines = f"{stderr}\n{MARK}{status}\n{stdout}".splitlines()
    try:
        found, _ = rows(answer(lines))
        _tdnf.updates(found)
        _tdnf.advisories(found)
        _tdnf.repositories(found)
        _tdnf.plan(answer(lines))
        _tdnf.version(answer(lines))
        _tdnf.installed(lines)
    except AnswerError:
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Name", "Arch", "Evr", "Install", "Error", "Packages"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=3))
def test_no_document_breaks_the_parsers(documents):
    given_answer = Answer(0, "".join(json.dumps(document) for document in documents), "")
    try:
        found, _ = rows(given_answer)
        _tdnf.updates(found)
        _tdnf.advisories(found)
        _tdnf.plan(given_answer)
    except AnswerError:
        pass


def test_deep_nesting_is_noise():
    assert decode("[" * 100_000).documents == []
