"""Who runs a command: a read of pyinfra's facts, or something that may change the host.

pyinfra tells a connector the command and not its purpose. With `-y` nothing is read while it prepares, so the phase
does not tell either; the calling function does. Where a later pyinfra renames it, nothing is taken for a read: slow,
and never wrong. A test counts the round trips of a converged host and would show it.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING

from pyinfra.api import facts
from pyinfra.api.state import BaseStateCallback, State
from typing_extensions import override

if TYPE_CHECKING:
    from pyinfra.api.host import Host

_FACT = facts._get_fact.__code__  # noqa: SLF001 - see the module's docstring
_FAR = 6


def reads_a_fact() -> bool:
    """Whether the connector was called by the function that loads facts."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to walk the stack
    for _ in range(_FAR):
        if frame is None:
            return False
        if frame.f_code is _FACT:
            return True
        frame = frame.f_back
    return False


class Watch(BaseStateCallback):
    """Tells connectors that an operation has ended which did something.

    Of most of it the connector knows, as it carried it out. A function on the controller may have changed the host
    some other way (a disk added by its hypervisor), and is only seen here.
    """

    def __init__(self) -> None:
        self._last: dict[Host, str] = {}

    @override
    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        forget = getattr(host.connector, "forget", None)
        if forget is None:
            return
        if host.executing_op_hash is not None:
            # Within another operation, whose function may have done something and is not at its end.
            forget()
            return
        before = self._last.get(host)
        self._last[host] = op_hash
        if before in state.ops[host] and state.ops[host][before].operation_meta.executed:
            forget()


def watch(state: State) -> None:
    """Put one `Watch` on a run, however many hosts ask for it."""
    if not any(isinstance(handler, Watch) for handler in state.callback_handlers):
        state.add_callback_handler(Watch())
