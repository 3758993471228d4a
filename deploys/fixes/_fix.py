"""What every fix begins with: a reason, a lock when it changes something, a record on the host."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address, ip_network

from pyinfra import host

from deploys._run import begin, known_to_inspect, summarise_at_exit
from deploys.errors import InputError
from deploys.guard import Owner
from facts.ssh import Connection
from operations import fixes


@cache
def _required() -> None:
    """Refuse a run without a reason, once, before anything is read.

    Raises:
        InputError: `--data why=` is missing.
    """
    if not str(host.data.get("why", default="")).strip():
        message = 'a fix needs its reason: --data why="ticket 4711: disk full"'
        raise InputError(message)


def begin_fix(deploy_file: str, what: str) -> Owner:
    """Begin a fix on the current host, and leave a record of it there.

    Raises:
        InputError: no reason was given.
    """
    known_to_inspect(deploy_file)
    summarise_at_exit()
    _required()
    owner = begin()
    fixes.record(name=f"Leave a record: {what}", lines={"what": what, **owner.lines()})
    return owner


def option(name: str, default: str | None = None) -> str:
    """The value of `--data NAME=`.

    Raises:
        InputError: it is missing and has no default.
    """
    value = host.data.get(name, default=default)
    if value is None:
        message = f"this fix needs --data {name}=..."
        raise InputError(message)
    return str(value)


def number(name: str, default: int) -> int:
    """A whole number of `--data NAME=`.

    Raises:
        InputError: it is none.
    """
    text = option(name, str(default))
    if not text.isdecimal():
        message = f"--data {name}={text}: a whole number"
        raise InputError(message)
    return int(text)


def not_our_own(address: str, connection: Connection | None) -> str | None:
    """Why a block of an address would cut this run, or None. Fails closed."""
    if connection is None:
        return "the host does not tell from where this run is connected"
    if ip_address(connection["client"]) in ip_network(address):
        return f"this run is connected from {connection['client']}, which {address} would block"
    return None
