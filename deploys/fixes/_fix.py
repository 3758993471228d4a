"""What every fix begins with: a reason, a lock when it changes something, a record on the host."""

from __future__ import annotations

import re
from functools import cache
from ipaddress import ip_address, ip_network
from typing import TypeVar

from pyinfra import host

from deploys._run import begin, known_to_inspect, summarise_at_exit
from deploys.errors import InputError
from deploys.guard import Owner
from deploys.update.leave import require_open
from facts.ssh import Connection
from operations import fixes

Word = TypeVar("Word", bound=str)


@cache
def require_reason() -> None:
    """Refuse a run without a reason, once, before anything is read.

    Raises:
        InputError: `--data why=` is missing.
    """
    if not str(host.data.get("why", default="")).strip():
        message = 'a fix needs its reason: --data why="ticket 4711: disk full"'
        raise InputError(message)


def begin_fix(deploy_file: str, what: str, *, in_window: bool = False) -> Owner:
    """Begin a fix on the current host, and leave a record of it there.

    Args:
        deploy_file: the fix's own `__file__`.
        what: what it does, for the record.
        in_window: keep to the windows of the host's update policy, unless `--data now=true` was given.

    Raises:
        InputError: no reason was given.
        OperationError: the host is outside its windows.
    """
    known_to_inspect(deploy_file)
    summarise_at_exit()
    require_reason()
    if in_window:
        require_open(now=yes("now"))
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


def listed(name: str) -> list[str]:
    """The words of `--data NAME=one,two`; none when it is not given."""
    return [word.strip() for word in option(name, "").split(",") if word.strip()]


def yes(name: str) -> bool:
    """Whether `--data NAME=true` was given.

    Raises:
        InputError: another word.
    """
    text = option(name, "false").lower()
    if text not in {"true", "false"}:
        message = f"--data {name}={text}: true or false"
        raise InputError(message)
    return text == "true"


def one_of(name: str, words: tuple[Word, ...]) -> Word:
    """The word of `--data NAME=`; the first of `words` when it is not given.

    Raises:
        InputError: another word.
    """
    text = option(name, words[0])
    for word in words:
        if text == word:
            return word
    message = f"--data {name}={text}: one of {', '.join(words)}"
    raise InputError(message)


def number(name: str, default: int | None = None) -> int:
    """A whole number of `--data NAME=`.

    Raises:
        InputError: it is none, or missing without a default.
    """
    text = option(name, None if default is None else str(default))
    if not text.isdecimal():
        message = f"--data {name}={text}: a whole number"
        raise InputError(message)
    return int(text)


def decimal(name: str, default: float) -> float:
    """A number such as 7.5 of `--data NAME=`.

    Raises:
        InputError: it is none.
    """
    text = option(name, str(default))
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        message = f"--data {name}={text}: a number such as 7.5"
        raise InputError(message)
    return float(text)


def not_our_own(address: str, connection: Connection | None) -> str | None:
    """Why a block of an address would cut this run, or None. Fails closed."""
    if connection is None:
        return "the host does not tell from where this run is connected"
    if ip_address(connection["client"]) in ip_network(address):
        return f"this run is connected from {connection['client']}, which {address} would block"
    return None
