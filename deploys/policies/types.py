"""Field types that several policies share."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, Field

Port = Annotated[int, Field(ge=1, le=65535)]


def _cidr(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        message = f"{value!r} is no network in CIDR notation: {error}"
        raise ValueError(message) from None


Cidr = Annotated[str, AfterValidator(_cidr)]
"""An IPv4 or IPv6 network such as 10.0.0.0/8; a single address is a /32 or /128. Host bits must be zero."""

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        message = f"{value!r}: letters, digits and _.+- only, and a letter or digit first"
        raise ValueError(message)
    return value


Word = Annotated[str, AfterValidator(_word)]
"""A name that is safe as an argument of a command: never starts with a dash."""


def _line(value: str) -> str:
    if "\n" in value or "\r" in value or "\0" in value:
        message = "must be one line"
        raise ValueError(message)
    return value


Line = Annotated[str, AfterValidator(_line)]


def _path(value: str) -> str:
    if not value.startswith("/") or "\0" in value or "\n" in value:
        message = f"{value!r} is no absolute path"
        raise ValueError(message)
    return value


AbsolutePath = Annotated[str, AfterValidator(_path)]

_SERVER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def _server(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        # What looks like an address and is none would be looked up as a name.
        if not _SERVER.fullmatch(value) or ".." in value or re.fullmatch(r"[0-9.]+", value):
            message = f"{value!r} is neither the name of a host nor an IP address"
            raise ValueError(message) from None
    return value


Server = Annotated[str, AfterValidator(_server)]
"""Where a service is: the name of a host, or an IPv4 or IPv6 address."""

_UNIT = re.compile(r"[A-Za-z0-9:_.][A-Za-z0-9:_.@\\-]*\.(service|socket|timer|target|mount|automount|swap|path|slice)")


def _unit(value: str) -> str:
    if not _UNIT.fullmatch(value):
        message = f"{value!r} is no whole name of a unit, such as sshd.service"
        raise ValueError(message)
    return value


UnitName = Annotated[str, AfterValidator(_unit)]
"""A unit of systemd with its suffix."""
