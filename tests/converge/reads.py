"""Runs of a few reads on a lab host, and how many round trips they took."""

from __future__ import annotations

import re
from pathlib import Path

from tests.converge.conftest import INVENTORY, Done, program, run


def execs(done: Done) -> dict[str, list[int]]:
    """Host -> the commands of each exec, in order, from pyinfra's and our own debug lines."""
    found: dict[str, list[int]] = {}
    for line in done.err.splitlines():
        if several := re.search(r"Reading (\d+) commands at once on (\S+)", line):
            found.setdefault(several[2], []).append(int(several[1]))
        elif single := re.search(r"Running command on (\S+): ", line):
            found.setdefault(single[1], []).append(1)
    return found


def deploy(path: Path, text: str, *arguments: str, limit: str = "db-1") -> Done:
    path.write_text(text)
    return run(program("pyinfra"), INVENTORY, path, "-y", "--limit", limit, *arguments)
