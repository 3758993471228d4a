"""The packet filter's rules as they are in the kernel."""

from __future__ import annotations

import re
from typing import Literal, TypedDict

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

Family = Literal["ipv4", "ipv6"]

_CHAIN = re.compile(r":(?P<name>\S+) (?P<policy>\S+) \[\d+:\d+\]")
_RULE = re.compile(r"-A (?P<chain>\S+)(?: (?P<rule>.+))?")


class Filter(TypedDict):
    """`policies`: built-in chain -> ACCEPT or DROP. `chains`: every chain -> its rules in order, without `-A CHAIN`."""

    policies: dict[str, str]
    chains: dict[str, list[str]]


class FilterTable(FactBase[Filter]):
    """
    Returns the filter table of one family:

    .. code:: python

        {"policies": {"INPUT": "DROP"}, "chains": {"INPUT": ["-i lo -j ACCEPT"], "DOCKER-USER": []}}

    Source of the format: iptables-save(8). A host without iptables is an error, not an empty table.
    """

    @override
    def command(self, family: Family) -> str:
        program = "iptables-save" if family == "ipv4" else "ip6tables-save"
        return f"{program} -t filter"

    @override
    def process(self, output: list[str]) -> Filter:
        return parse_save(output)


def parse_save(lines: list[str]) -> Filter:
    """Parse the filter part of iptables-save's output.

    Raises:
        FactProcessError: a line is neither chain, rule, comment, table nor COMMIT.
    """
    table: Filter = {"policies": {}, "chains": {}}
    for line in lines:
        if chain := _CHAIN.fullmatch(line):
            table["chains"][chain["name"]] = []
            if chain["policy"] != "-":
                table["policies"][chain["name"]] = chain["policy"]
        elif rule := _RULE.fullmatch(line):
            table["chains"].setdefault(rule["chain"], []).append((rule["rule"] or "").strip())
        elif line and not line.startswith(("#", "*", "COMMIT")):
            message = f"iptables-save printed {line!r}"
            raise FactProcessError(message)
    return table
