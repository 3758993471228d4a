"""An inventory opened outside of pyinfra's command line: loaded, limited, connected.

Used by the acceptance suite and by `python -m deploys`. Hosts that cannot be reached are kept with the reason.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyinfra.api import Config, State
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_inventory, ctx_state
from pyinfra_cli.inventory import make_inventory

from deploys.errors import InputError, near

CONNECT_SECONDS = 10


@dataclass
class Session:
    """Hosts of an inventory, and why those that could not be reached could not be."""

    state: State
    hosts: list[Host]
    unreachable: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def loaded(path: str, limit: Sequence[str] = ()) -> Iterator[Session]:
    """Load an inventory file and choose hosts by names, groups or patterns (all when `limit` is empty).

    Raises:
        InputError: no such file, a problem in it, or a limit that matches nothing.
    """
    if not Path(path).is_file():
        message = f"there is no inventory file {path}"
        raise InputError(message)
    state = State()
    state.cwd = os.getcwd()  # noqa: PTH109 - pyinfra wants a string
    with ctx_state.use(state):
        inventory = make_inventory(path, cwd=state.cwd)
        with ctx_inventory.use(inventory):
            hosts = _chosen(inventory, limit)
            state.init(inventory, Config(CONNECT_TIMEOUT=CONNECT_SECONDS), initial_limit=hosts)
            try:
                yield Session(state, hosts)
            finally:
                for member in hosts:
                    if member.connected:
                        member.disconnect()


def _chosen(inventory: Inventory, limit: Sequence[str]) -> list[Host]:
    hosts = list(inventory)
    if not limit:
        return hosts
    chosen: dict[str, Host] = {}
    for pattern in limit:
        found = inventory.get_group(pattern, default=None) or [
            member for member in hosts if fnmatch.fnmatch(member.name, pattern)
        ]
        if not found:
            message = f"{pattern}: no such host or group{near(pattern, [*inventory.hosts, *inventory.groups])}"
            raise InputError(message)
        chosen |= {member.name: member for member in found}
    return list(chosen.values())


def connect(session: Session) -> None:
    """Connect to all chosen hosts at once."""
    state = session.state
    state.set_stage(StateStage.Connect)

    def attempt(member: Host) -> None:
        try:
            member.connect(show_errors=False, raise_exceptions=True)
        except ConnectError as error:
            session.unreachable[member.name] = str(error)

    for greenlet in [state.pool.spawn(attempt, member) for member in session.hosts]:
        greenlet.get()
