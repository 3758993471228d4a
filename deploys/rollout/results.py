"""What a run says of each of its hosts: written by the run itself, read by who has started it.

A JSON object in the file that the environment names:

    {"version": 1, "hosts": {NAME: {
        "verdict": ..., "changes": ..., "words": ...,
        "policies": [{"policy": ..., "verdict": ..., "checks": ..., "passed": ..., "changed": [...], "failed": [...]}],
        "advisories": [...]}}}

A run that ends without it has said nothing: its hosts are `unknown`. Runs of an earlier commit, such as the way back,
may know neither policies nor advisories. A host that somebody else was changing is `failed` with `"busy": true`: a
controller older than the commit that it rolls out takes it for failed. What is kept of a host is bounded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploys.rollout import RESULT
from deploys.rollout.model import PolicyVerdict, Verdict
from deploys.rollout.store.rows import HostResult, PolicyResult

VERSION = 1
_MOST_LETTERS = 4000
_MOST_POLICIES = 64
_MOST_LINES = 20
_LINE_LETTERS = 160
_MOST_ADVISORIES = 200
_ALL_LINES = 200
"""Changes and failures of all policies of a host together."""
_UNFIT = "\N{REPLACEMENT CHARACTER}"


def write_results(results: Mapping[str, HostResult]) -> None:
    """Write down what came of hosts, where somebody has asked for that."""
    path = os.environ.get(RESULT)
    if not path:
        return
    hosts = {name: _entry(bounded(result)) for name, result in results.items()}
    new = Path(f"{path}.new")
    new.write_text(json.dumps({"version": VERSION, "hosts": hosts}))
    new.replace(path)


def plain(text: str) -> str:
    """Without what a terminal would take for commands: what a host has said is shown to people."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _UNFIT for letter in text)


def _entry(result: HostResult) -> dict[str, Any]:
    entry = asdict(result)
    return {**entry, "verdict": Verdict.FAILED, "busy": True} if result.verdict is Verdict.BUSY else entry


def _verdict(entry: Mapping[str, Any]) -> Verdict:
    return Verdict.BUSY if entry.get("busy") is True else Verdict(entry["verdict"])


def read_results(path: Path) -> dict[str, HostResult]:
    """What a run has said of its hosts; nothing when it has not come so far, or speaks otherwise than we do."""
    try:
        given = json.loads(path.read_text())
        if given["version"] != VERSION:
            return {}
        return {str(name): bounded(_result(entry)) for name, entry in given["hosts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _result(entry: Mapping[str, Any]) -> HostResult:
    advisories = entry.get("advisories")
    return HostResult(
        _verdict(entry), int(entry["changes"]), plain(str(entry["words"])),
        tuple(_policy(each) for each in entry.get("policies", ())),
        None if advisories is None else tuple(plain(str(each)) for each in advisories),
    )  # fmt: skip


def _policy(entry: Mapping[str, Any]) -> PolicyResult:
    return PolicyResult(
        plain(str(entry["policy"])), PolicyVerdict(entry["verdict"]), int(entry["checks"]), int(entry["passed"]),
        tuple(plain(str(each)) for each in entry["changed"]), tuple(plain(str(each)) for each in entry["failed"]),
    )  # fmt: skip


def bounded(result: HostResult) -> HostResult:
    """The same, of a size that ten thousand hosts may have: what is left out of a list is counted in its last line."""
    policies, left = [], _ALL_LINES
    for each in result.policies[:_MOST_POLICIES]:
        failed = _lines(each.failed, min(left, _MOST_LINES))
        changed = _lines(each.changed, min(left - len(failed), _MOST_LINES))
        left -= len(failed) + len(changed)
        name = plain(each.policy[:_LINE_LETTERS])
        policies.append(PolicyResult(name, each.verdict, each.checks, each.passed, changed, failed))
    advisories = result.advisories
    if advisories is not None:
        advisories = tuple(plain(each[:_LINE_LETTERS]) for each in advisories[:_MOST_ADVISORIES])
    words = plain(result.words[:_MOST_LETTERS])
    return HostResult(result.verdict, result.changes, words, tuple(policies), advisories)


def _lines(found: Iterable[str], most: int) -> tuple[str, ...]:
    lines = [plain(" ".join(each.split())[:_LINE_LETTERS]) for each in found]
    if len(lines) <= most:
        return tuple(lines)
    return (*lines[: most - 1], f"and {len(lines) - most + 1} more") if most else ()
