"""Files of keys and values that a package brings, such as /etc/login.defs."""

from __future__ import annotations

import re
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

_STATUS = re.compile(r"([0-7]{3,4})\|([^|]+)\|([^|]+)")


class Keyed(TypedDict):
    """A file's mode and owner, and its lines."""

    mode: str
    user: str
    group: str
    lines: list[str]


class KeyedFile(FactBase[Keyed | None]):
    """
    Returns a file's lines, its mode and its owner, or None when nothing is there:

    .. code:: python

        {"mode": "644", "user": "root", "group": "root", "lines": ["# comment", "UMASK 022"]}

    Source of the format: GNU coreutils `stat -Lc`, then the file itself.
    """

    @override
    def command(self, path: str) -> StringCommand:
        quoted = QuoteString(path)
        return StringCommand(
            "if [ -e", quoted, "]; then stat -Lc '%a|%U|%G' --", quoted, "&& cat --", quoted, "; else echo absent; fi"
        )

    @override
    def process(self, output: list[str]) -> Keyed | None:
        if output == ["absent"]:
            return None
        if not output or not (match := _STATUS.fullmatch(output[0])):
            message = f"expected the status of a file, found {output[:1]!r}"
            raise FactProcessError(message)
        return {"mode": match[1], "user": match[2], "group": match[3], "lines": output[1:]}
