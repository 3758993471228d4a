"""What is done around every change of a host: before the first command of an operation that changes it, and after it.

A run lays a lock on the host before its first change; a policy that could cut the connection arms the way back before
each, and proves a new connection after it. An operation that changes nothing costs nothing: nothing is done around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from pyinfra.api import StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.host import Host


class Around(Protocol):
    """Both may raise a `PyinfraError`: before, nothing is changed then; after, the operation has failed."""

    def before(self) -> None:
        """Called by the controller in the place of the operation's first command."""

    def wrapped(self, command: StringCommand) -> StringCommand:
        """The command as it is to be run, for what must still hold on the host at that moment."""

    def after(self) -> None:
        """Called when all commands of the operation have succeeded."""


_CURRENT: WeakKeyDictionary[Host, tuple[Around, ...]] = WeakKeyDictionary()
_DECLARED: WeakKeyDictionary[Host, dict[str, tuple[Around, ...]]] = WeakKeyDictionary()


@contextmanager
def around(host: Host, *what: Around) -> Iterator[None]:
    """Do `what` around each operation that is declared for the host within the block, whenever it is carried out."""
    before = _CURRENT.get(host, ())
    _CURRENT[host] = (*before, *what)
    try:
        yield
    finally:
        _CURRENT[host] = before


def always_around(host: Host, what: Around) -> None:
    """Do `what` around every operation that is declared for the host from here on."""
    _CURRENT[host] = (*_CURRENT.get(host, ()), what)


def declared(host: Host, op_hash: str) -> None:
    """Note what holds for an operation now, as it is carried out much later."""
    if host in _CURRENT:
        _DECLARED.setdefault(host, {})[op_hash] = _CURRENT[host]


def surrounding(host: Host, op_hash: str | None) -> tuple[Around, ...]:
    """What is to be done around an operation of the host."""
    return _DECLARED.get(host, {}).get(op_hash or "", ())


def connector_arguments(host: Host) -> dict[str, Any]:
    """How the host's commands are run, sudo included, as its inventory says."""
    arguments, _ = pop_global_arguments(host.state, host, {})
    return {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}
