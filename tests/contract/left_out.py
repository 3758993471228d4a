"""tdnf-left-out.toml: which recorded cases are not held against the stand-in, and what is claimed about them."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("tdnf-left-out.toml")
CLAIMS = {"refused", "differs", "ignored"}


@dataclass(frozen=True)
class Group:
    claim: str
    patterns: tuple[str, ...]
    why: str

    def covers(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)


def groups() -> list[Group]:
    """Read the list.

    Raises:
        ValueError: a group with an unknown claim, or without names or a reason.
    """
    found = []
    for entry in tomllib.loads(LIST.read_text())["group"]:
        if entry["claim"] not in CLAIMS or not entry["names"] or not entry["why"]:
            message = f"{LIST.name}: incomplete group, or an unknown claim: {entry}"
            raise ValueError(message)
        found.append(Group(entry["claim"], tuple(entry["names"]), entry["why"]))
    return found


def claim_of(name: str, known: Iterable[Group]) -> str | None:
    """What the list claims of a case; None when it has to be as recorded."""
    return next((group.claim for group in known if group.covers(name)), None)
