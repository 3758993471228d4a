"""The way back of an update: a script that is sent with each call (templates/update/point.sh, image.sh)."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra import host, logger, state
from pyinfra.api import OperationError, StringCommand

from operations._updates import KERNELS

if TYPE_CHECKING:
    from facts._point import Point
    from facts._types import Package, Plan

STATE = "/var/lib/photon-fleet/update"
SCRIPTS = Path(__file__).resolve().parents[1] / "templates" / "update"
POINT, IMAGE = "point.sh", "image.sh"
"""Of a package host, and of an image host."""


@cache
def script(name: str = POINT) -> str:
    """The text of a script."""
    return (SCRIPTS / name).read_text()


def watch_command(seconds: int, *words: str, name: str = POINT) -> StringCommand:
    """Let the host go back by itself that long after its next boot, unless it is told before that it is well."""
    path = f"{STATE}/{name}"
    watch = " ".join(["watch", str(int(seconds)), *map(shlex.quote, words)])
    return StringCommand(f"( umask 077; mkdir -p {STATE} && cat > {path} && sh {path} {watch} )", _stdin=script(name))


def proof_awaited(seconds: int, failing: Sequence[str]) -> StringCommand:
    """Let the package host go back by itself in that long; `failing` are the checks that failed before its update."""
    return watch_command(seconds, "now", *failing)


def call(*words: str, name: str = POINT) -> StringCommand:
    """The script's call with these words."""
    return StringCommand(" ".join(["sh -s", *map(shlex.quote, words)]), _stdin=script(name))


def leaving(plan: Plan, installed: Mapping[str, Sequence[Package]]) -> list[str]:
    """What a plan changes or removes, as `name-version-release.arch`: the files that the way back needs."""
    changed = {one["name"] for one in (*plan["upgrade"], *plan["downgrade"], *plan["reinstall"])}
    found = {
        f"{name}-{_plain(one['evr'])}.{one['arch']}" for name in changed - KERNELS for one in installed.get(name, ())
    }
    found |= {f"{one['name']}-{_plain(one['evr'])}.{one['arch']}" for one in plan["remove"]}
    return sorted(found)


def _plain(evr: str) -> str:
    return evr.rpartition(":")[2]


def lines_of(point: Point) -> list[str]:
    """What going back to a point does, for a person."""
    return [
        *(f"going back to {point['at']}: {name} {version}" for name, version in point["gone"]),
        *(f"going back to {point['at']}: without {name} {version}" for name, version in point["arrived"]),
    ]


def is_of(of: str, last: str, over: Sequence[str], at: str) -> bool:
    """Whether the last update of a host is one of a rollout.

    Args:
        of: the rollout.
        last: the one of the last update; "" for none.
        over: others whose updates were still there when that was made.
        at: when it was made.

    Raises:
        OperationError: the rollout has updated the host, and another update has come since.
    """
    if of != last and of in over:
        message = (
            f"what {of} has installed cannot go back by itself any more: the update of {at} "
            f"({last or 'of no rollout'}) came on top of it, and this host knows the way back to before that one alone"
        )
        raise OperationError(message)
    return of == last


def nothing_of(of: str, at: str = "") -> None:
    """Say that a host has nothing of a rollout that could go back; `at` is when what it had was noted."""
    text = f"went back to {at} already" if at else "has installed nothing on this host that could go back"
    announce([f"{of} {text}"])
    host.noop(f"{of} {text}")


def announce(lines: Iterable[str]) -> None:
    """Say what is going to be done: in a dry run, before the question, and with -y, where nothing is asked."""
    if state.is_executing and state.should_check_for_changes():
        return  # said before the question
    for line in lines:
        logger.info("%s%s", host.print_prefix, line)
