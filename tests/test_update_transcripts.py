"""Every recorded run of the tdnf commands that updates use, of three versions: parsed, or refused with a sentence."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from facts import _tdnf, _update
from facts._answer import MARK, Answer, AnswerError, answer, rows

FOLDER = Path(__file__).parent / "transcripts" / "tdnf"
VERSIONS = ("3.3.11", "3.5.9", "3.6.0-dev")
WAYS_BACK = {"rollback", "undo", "redo"}


def answered(case) -> Answer:
    """The answer as our own shell command frames it."""
    status = case["exit"] if case["exit"] is not None else 128 + signal.Signals[case["signal"]]
    return answer(f"{case['stderr']}\n{MARK}{status}\n{case['stdout']}".splitlines())


def recorded():
    for version in VERSIONS:
        for line in (FOLDER / f"{version}.jsonl").read_text().splitlines():
            case = json.loads(line)
            words = [word for word in case["argv"][1:] if not word.startswith("-")]
            if case["argv"][0] == "tdnf" and words and not case["tty"]:
                yield version, case, words, "-j" in case["argv"] or "--json" in case["argv"]


def troubled_plan(given: Answer) -> list[str]:
    return _update.rollback_plan(given)["trouble"]


def troubled_update(given: Answer) -> list[str]:
    return _tdnf.plan(given)["trouble"]


def troubled_advisories(given: Answer) -> list[str]:
    listed, trouble = rows(given)
    _update.severe(_tdnf.advisories(listed))
    return trouble


def troubled_history(given: Answer) -> list[str]:
    _update.history(given)
    return []


def parser_of(words: list[str], case, *, is_json: bool) -> Callable[[Answer], list[str]] | None:
    if words[0] == "history" and not is_json and WAYS_BACK & set(words):
        return troubled_plan
    if words[0] == "history" and is_json and not WAYS_BACK & set(words) and "init" not in words:
        return troubled_history
    if words[0] == "update" and is_json:
        return troubled_update
    if words[:2] == ["updateinfo", "info"] and is_json:
        return troubled_advisories
    return None


CASES = [
    pytest.param(case, parser, id=f"{version}-{case['name']}")
    for version, case, words, is_json in recorded()
    if (parser := parser_of(words, case, is_json=is_json)) is not None
]


def outcome(case, parser) -> str:
    try:
        trouble = parser(answered(case))
    except AnswerError:
        return "refused"
    return "refused" if trouble else "parsed"


@pytest.mark.parametrize(("case", "parser"), CASES)
def test_what_failed_is_refused_and_nothing_else(case, parser) -> None:
    # `history` with a plan that was not carried out is what was asked for; so is a tdnf that keeps no history.
    asked_only = parser is troubled_plan and case["exit"] == 8
    none_kept = parser is troubled_history and any(f'"Error":{number}' in case["stdout"] for number in (912, 1802))
    failed = case["exit"] not in {0, 100} and not none_kept
    unread = "Failed to synchronize cache" in case["stderr"] or "Disabling Repo" in case["stdout"]
    assert outcome(case, parser) == ("refused" if (failed and not asked_only) or unread else "parsed")


def test_they_are_counted(record_property) -> None:
    found = [outcome(*each.values) for each in CASES]
    versions = ", ".join(VERSIONS)
    record_property(
        "summary",
        f"{found.count('parsed')} recorded runs of tdnf's update, updateinfo and history parsed, "
        f"{found.count('refused')} refused ({versions})",
    )
    assert found.count("parsed") > 30
    assert found.count("refused") > 10
