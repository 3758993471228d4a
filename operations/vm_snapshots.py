"""Snapshots of a host's virtual machine: taken with an owner and an age limit, gone back to, removed.

Only those that a run of ours has made are ever removed or gone back to.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError

from facts.vm import Machine
from operations._contain import Commands, operation
from operations._vm_calls import changing, crew, seen
from operations._vm_snapshots_plan import (
    MOST_HOURS,
    Ours,
    description,
    forgotten,
    name_problem,
    of_name,
    overdue,
    the_one,
)

TOLD: dict[str, list[str]] = {}
"""Host -> what a person should know of its snapshots, for the end of the run."""


def _there() -> Machine:
    crew()
    found = seen()
    if found is None:
        message = "there is no machine: deploys/vm.py makes it"
        raise OperationError(message)
    return found


@operation()
def taken(label: str, mark: str, hours: int, about: Mapping[str, str]) -> Commands:
    """
    Take a snapshot of the machine, without its memory.

    + label: what it is called; one of that name that was made for the same reason is as good
    + mark: what the machine bears
    + hours: how old it may become
    + about: who takes it, and why
    """
    machine = _there()
    problem = name_problem(label)
    if problem is None and not 1 <= hours <= MOST_HOURS:
        problem = f"hours={hours}: from 1 to {MOST_HOURS}"
    if problem is not None:
        raise OperationError(problem)
    there = of_name(machine["snapshots"], mark, label)
    if there and there[-1].why == about.get("why"):
        host.noop(f"there is {there[-1].text()}")
        return
    if there:
        message = (
            f"there is {there[-1].text()}, for another reason: go back to it, remove it, or take one of another name"
        )
        raise OperationError(message)
    ident = uuid.uuid4().hex[:8]
    text = description(mark, label, ident, hours, about)
    yield changing(lambda crew: crew.snapshots.take(machine["moid"], f"{label}.{ident}", text))


@operation()
def reverted(label: str, mark: str) -> Commands:
    """
    Go back to a snapshot; the machine is off afterwards.

    + label: what it is called, with its id where several are called so
    + mark: what the machine bears
    """
    machine = _there()
    found = the_one(machine["snapshots"], mark, label)
    yield changing(lambda crew: crew.snapshots.revert(machine["moid"], found.moid, found.text()))


@operation()
def removed(label: str, mark: str) -> Commands:
    """
    Have no snapshot of ours of that name; what was changed since stays.

    + label: what it is called, with its id where several are called so
    + mark: what the machine bears
    """
    machine = _there()
    for found in of_name(machine["snapshots"], mark, label):
        yield changing(_removing(machine["moid"], found))


@operation()
def within_their_age(mark: str, *, remove: bool = False) -> Commands:
    """
    Tell of snapshots that are older than they may be, and of those of others that are old.

    + mark: what the machine bears
    + remove: remove those of ours
    """
    crew()
    machine = seen()
    if machine is None:
        return
    now = datetime.now(UTC)
    late = overdue(machine["snapshots"], mark, now)
    TOLD[host.name] = [
        *(f"{each.text()}: it is older than that{'' if remove else ' (--data expired=true removes it)'}"
          for each in late),
        *forgotten(machine["snapshots"], mark, now),
    ]  # fmt: skip
    if not remove or not late:
        host.noop("none is removed")
        return
    for each in late:
        yield changing(_removing(machine["moid"], each))


def _removing(moid: str, found: Ours) -> Callable[[Any], None]:
    return lambda crew: crew.snapshots.remove(moid, found.moid, found.text())
