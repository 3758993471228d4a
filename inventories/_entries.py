"""What a run is to carry out, as its command line says, and what that means for the inventory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

EACH_BY_NAME = frozenset({"vm_remove.py", "vm_terminate.py"})
"""Entries that are told each host by its name, as what they do is not undone."""


def entries_of_run() -> list[str]:
    """The deploy files and operations of the run; none outside one of pyinfra's."""
    context = click.get_current_context(silent=True)
    operations = context.params.get("operations") if context is not None else None
    return [str(word) for word in operations or ()]


def is_about_machines(entry: str) -> bool:
    """Whether an entry is about the machines themselves, which may not be there: vm.py, and those named vm_*.py."""
    return re.fullmatch(r"vm(_\w+)?\.py", Path(entry).name) is not None


def each_by_name(
    entries: Sequence[str], limits: Sequence[str], names: Iterable[str], groups: Iterable[str]
) -> list[str]:
    """What is wrong with the limits, where an entry is told each host by its name."""
    if not any(Path(entry).name in EACH_BY_NAME for entry in entries):
        return []
    if not limits:
        return ["name the host by --limit: this is never done to all of them"]
    return [
        f"--limit {limit}: name each host by a --limit of its own: this is never done to groups and patterns"
        for limit in limits
        if limit not in names or limit in groups or any(letter in limit for letter in "*?[")
    ]
