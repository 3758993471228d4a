"""Looking at what became of a call whose answer was lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from deploys.vsphere.reads import of_these
from deploys.vsphere.session import Content, Session

LOOKS = 10
"""How often it is looked for what became of a change whose answer was lost."""
LOOK_SECONDS = 1.0


def comes_true(is_so: Callable[[], bool]) -> bool:
    """Whether something is so, or becomes so within the time in which the answer to a call is looked for."""
    for _ in range(LOOKS):
        if is_so():
            return True
        time.sleep(LOOK_SECONDS)
    return False


def is_busy(session: Session, vm: Any) -> bool:  # noqa: ANN401 - pyvmomi's objects
    """Whether a task works on a machine.

    Raises:
        VSphereError: the vCenter refuses or does not answer.
    """

    def running(content: Content) -> bool:
        row = of_these(content, [vm], ["recentTask"]).get(vm._moId)  # noqa: SLF001 - its only name
        tasks = list(row[1].get("recentTask") or ()) if row is not None else []
        states = of_these(content, tasks, ["info.state"]).values()
        return any(str(found.get("info.state")) in {"queued", "running"} for _, found in states)

    return session.read(running)
