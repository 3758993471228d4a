"""Asking hosts what a run of a commit would change: dry runs of its checkout, some hosts each, several at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploys.rollout import ONLY
from deploys.rollout.place import environment
from deploys.rollout.plan import PLAN, PROVE, HostPlan, read_hosts
from deploys.rollout.processes import ended_within

DRY_SECONDS = 1800.0
_MOST_LETTERS = 300


def ask_hosts(
    tree: Path,
    inventory: str,
    hosts: Sequence[str],
    *,
    unit_hosts: int,
    parallel: int,
    tell: Callable[[int], None],
    prove: bool = False,
) -> dict[str, HostPlan]:
    """What a run would change on each host; nothing is changed.

    Args:
        tree: a checkout of the commit.
        inventory: path of the file in it.
        hosts: their names.
        unit_hosts: how many one dry run takes.
        prove: read every check as well.
        parallel: how many dry runs are under way at once.
        tell: is given how many hosts more have answered.
    """
    units = [hosts[begin : begin + unit_hosts] for begin in range(0, len(hosts), unit_hosts)]
    found: dict[str, HostPlan] = {}
    with tempfile.TemporaryDirectory(prefix="photon-fleet-plan-") as place, ThreadPoolExecutor(parallel) as pool:

        def ask(numbered: tuple[int, Sequence[str]]) -> dict[str, HostPlan]:
            number, names = numbered
            answer = _dry_run(tree, inventory, names, Path(place, str(number)), prove=prove)
            tell(len(names))
            return answer

        for answer in pool.map(ask, enumerate(units)):
            found |= answer
    return found


def _dry_run(tree: Path, inventory: str, names: Sequence[str], path: Path, *, prove: bool) -> dict[str, HostPlan]:
    limits = [word for name in names for word in ("--limit", name)]
    command = [str(Path(sys.executable).with_name("pyinfra")), inventory, "deploys/host.py", "--dry", *limits]
    env = {**environment(tree), PLAN: str(path), PROVE: "1" if prove else "", ONLY: " ".join(names)}
    try:
        done = ended_within(DRY_SECONDS, command, cwd=tree, env=env)
        lines = [line.strip() for line in done.err.splitlines() if line.strip()]
        why = f"its dry run ended with {done.status}{f': {lines[-1]}' if lines else ''}"
    except subprocess.TimeoutExpired:
        why = f"its dry run did not end within {DRY_SECONDS:g} s"
    found = read_hosts(path)
    return {name: found.get(name, HostPlan(unknown={"": why[:_MOST_LETTERS]})) for name in names}


def width() -> int:
    """How many dry runs at once this machine is good for."""
    return min(8, 2 * (os.cpu_count() or 1))
