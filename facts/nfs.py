"""What an NFS server has exported."""

from __future__ import annotations

import re

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

_LINE = re.compile(r"(?P<path>/\S*)\s+(?P<client>[^(\s]+)\(.*\)")


class Exported(FactBase[list[list[str]]]):
    """
    Returns directory and client of everything that is exported; nothing before a server has ever run:

    .. code:: python

        [["/srv/home", "10.0.0.0/8"]]

    Source of the format: exportfs(8), /var/lib/nfs/etab.
    """

    @override
    def command(self) -> StringCommand:
        return StringCommand("! test -e /var/lib/nfs/etab || cat /var/lib/nfs/etab")

    @staticmethod
    @override
    def default() -> list[list[str]]:
        return []

    @override
    def process(self, output: list[str]) -> list[list[str]]:
        found = []
        for line in filter(None, output):
            match = _LINE.fullmatch(line)
            if match is None:
                message = f"etab has the line {line!r}"
                raise FactProcessError(message)
            found.append([match["path"], match["client"]])
        return found
