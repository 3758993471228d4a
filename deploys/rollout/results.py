"""What a run says of each of its hosts: written by the run itself, read by who has started it.

A JSON object in the file that the environment names: {"version": 1, "hosts": {NAME: {"verdict": ..., "changes": ...,
"words": ...}}}. A run that ends without it has said nothing: its hosts are `unknown`. A host that somebody else was
changing is `failed` with `"busy": true`: a controller older than the commit that it rolls out takes it for failed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploys.rollout import RESULT
from deploys.rollout.model import Verdict
from deploys.rollout.store.rows import HostResult

VERSION = 1
_MOST_LETTERS = 4000
_UNFIT = "\N{REPLACEMENT CHARACTER}"


def write_results(results: Mapping[str, HostResult]) -> None:
    """Write down what came of hosts, where somebody has asked for that."""
    path = os.environ.get(RESULT)
    if not path:
        return
    hosts = {name: _entry(result) for name, result in results.items()}
    new = Path(f"{path}.new")
    new.write_text(json.dumps({"version": VERSION, "hosts": hosts}))
    new.replace(path)


def plain(text: str) -> str:
    """Without what a terminal would take for commands: what a host has said is shown to people."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _entry(result: HostResult) -> dict[str, Any]:
    entry = {**asdict(result), "words": result.words[:_MOST_LETTERS]}
    return {**entry, "verdict": Verdict.FAILED, "busy": True} if result.verdict is Verdict.BUSY else entry


def _verdict(entry: Mapping[str, Any]) -> Verdict:
    return Verdict.BUSY if entry.get("busy") is True else Verdict(entry["verdict"])


def read_results(path: Path) -> dict[str, HostResult]:
    """What a run has said of its hosts; nothing when it has not come so far, or speaks otherwise than we do."""
    try:
        given = json.loads(path.read_text())
        if given["version"] != VERSION:
            return {}
        return {
            str(name): HostResult(_verdict(entry), int(entry["changes"]), plain(str(entry["words"])))
            for name, entry in given["hosts"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
