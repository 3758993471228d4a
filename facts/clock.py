"""How a host tells the time: its time zone."""

from __future__ import annotations

from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

ZONES = "/usr/share/zoneinfo"
LOCALTIME = "/etc/localtime"


class Zone(TypedDict):
    """`link`: what /etc/localtime points to, "" when it is no link; `kind`: link, file, directory or absent.

    `known`: whether the zone that was asked for has a file; None when the host has no time zones at all.
    """

    kind: str
    link: str
    known: bool | None


class LocalTime(FactBase[Zone]):
    """
    Returns what decides the time zone, and whether a zone is there to be chosen:

    .. code:: python

        {"kind": "link", "link": "/usr/share/zoneinfo/Europe/Berlin", "known": True}

    Source of the format: localtime(5); readlink of GNU coreutils.
    """

    @override
    def command(self, zone: str) -> StringCommand:
        script = (
            f"if [ -L {LOCALTIME} ]; then echo link; readlink {LOCALTIME}; "
            f"elif [ -d {LOCALTIME} ]; then echo directory; echo; "
            f"elif [ -e {LOCALTIME} ]; then echo file; echo; else echo absent; echo; fi; "
            f'if [ -f "{ZONES}/$1" ]; then echo known; elif [ -d {ZONES} ]; then echo unknown; else echo none; fi'
        )
        return StringCommand("sh -c", QuoteString(script), "sh", QuoteString(zone))

    @override
    def process(self, output: list[str]) -> Zone:
        known = {"known": True, "unknown": False, "none": None}
        try:
            kind, link, word = output
            return {"kind": kind, "link": link, "known": known[word]}
        except (ValueError, KeyError) as error:
            message = f"expected the kind of {LOCALTIME}, its target, and whether the zone is known: {output!r}"
            raise FactProcessError(message) from error
