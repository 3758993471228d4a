"""What operations on machines share: the crew of the current host, and calls that change its machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from pyinfra import host
from pyinfra.api import FunctionCommand, OperationError
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from facts.vm import Machine, VirtualMachine
from operations._contain import fail, read


@runtime_checkable
class OfVCenter(Protocol):
    """A connector whose host is a machine of a vCenter, as @vm's is."""

    @property
    def crew(self) -> Any:  # noqa: ANN401 - deploys.vsphere.crew.Crew
        """The machines of the run on that vCenter."""

    @property
    def guests(self) -> Any:  # noqa: ANN401 - deploys.vsphere.ready.Waiting
        """Their guests."""


def connector() -> OfVCenter:
    """The connector of the current host.

    Raises:
        OperationError: it is another one than @vm.
    """
    found = ctx_host.get().connector
    if not isinstance(found, OfVCenter):
        message = "machines of a vCenter are changed by deploys/vm.py and fixes/vm_*.py only (the @vm connector)"
        raise OperationError(message)
    return found


def crew() -> Any:  # noqa: ANN401 - see OfVCenter
    """The machines of this run on the current host's vCenter."""
    return connector().crew


def seen() -> Machine | None:
    """The current host's machine; None when there is none."""
    return read(VirtualMachine, host=host.name)


def _do(state: State, host: Host, do: Callable[[Any], None]) -> bool:
    """Carry out a change; its refusal is this host's."""
    crew = host.connector.crew  # type: ignore[attr-defined]
    try:
        do(crew)
    except PyinfraError as error:
        return fail(state, host, str(error))
    finally:
        crew.changed(host.name)
    return True


def changing(do: Callable[[Any], None]) -> FunctionCommand:
    """A command that changes the current host's machine by its crew."""
    return FunctionCommand(_do, (do,), {})


def later() -> FunctionCommand:
    """For a machine that is not there while the changes are listed: what is to be done is seen when it is."""
    return FunctionCommand(fail, ("there is no machine: it could not be made",), {})
