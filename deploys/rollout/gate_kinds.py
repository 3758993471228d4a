"""The gates that look at hosts: from the hosts themselves, or at what is measured of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import override

from deploys.policies.base import Item
from deploys.policies.secret import Secret
from deploys.policies.types import Line, Word

_LETTERS = 300
Seconds = Annotated[int, Field(ge=1, le=300)]


def address_problems(url: str, token: Secret | None = None) -> Iterable[str]:
    """What is wrong with the address of a gate, and with what is to be sent there."""
    if not re.match(r"https?://", url):
        yield f"url: {url!r} is no http or https address"
    if token is not None and not url.startswith("https://"):
        yield "token: it is sent over https alone"


def short(text: str) -> str:
    """What somebody has answered, on one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _LETTERS else f"{line[:_LETTERS]}..."


class ProofGate(Item):
    """Every check of every policy once more, after the bake: a host that was right an hour ago may be so no longer."""

    name: Word


class HostCommandGate(Item):
    """A command on each host, as its login may run it: 0 passes, 75 cannot tell, anything else fails."""

    name: Word
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    seconds: Seconds = 30


class HostHttpGate(Item):
    """A question over HTTP from each host, by its own curl, such as to a service that listens on it alone."""

    name: Word
    url: Line
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: str = ""
    seconds: Seconds = 10

    @override
    def contradictions(self) -> Iterable[str]:
        yield from address_problems(self.url)


class ContainerGate(Item):
    """The containers of each host: running, and healthy where they tell; one that still starts cannot tell."""

    name: Word
    label: Word | None = None
    """Only those that bear it: `NAME` or `NAME=VALUE`."""


class CompareGate(Item):
    """A query of Prometheus' that has one value for each host: those of the wave against those not yet touched.

    No host is contacted for it. The medians are compared; a host of the wave without a value cannot be told of.
    """

    name: Word
    url: Line
    query: Annotated[str, Field(min_length=1)]
    label: Word = "instance"
    """That names the host; a port and a domain behind its name do not count."""
    worse: Literal["higher", "lower"] = "higher"
    percent: Annotated[float, Field(ge=0)] = 20
    """How much worse than the others the wave may be."""
    least: float = 0
    """Differences up to this are none, whatever they are in percent."""
    token: Secret | None = None
    seconds: Seconds = 10

    @override
    def contradictions(self) -> Iterable[str]:
        yield from address_problems(self.url, self.token)


HostGate = ProofGate | HostCommandGate | HostHttpGate | ContainerGate
