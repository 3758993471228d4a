"""The gates that look at hosts: from the hosts themselves, or at what is measured of them."""

from __future__ import annotations

import re
import ssl
import urllib.error
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import override

from deploys.policies.base import Item
from deploys.policies.secret import Secret
from deploys.policies.types import Line, Word
from deploys.refusal import Refusal

_LETTERS = 300
Seconds = Annotated[int, Field(ge=1, le=300)]


def address_problems(url: str, token: Secret | None = None) -> Iterable[str]:
    """What is wrong with the address of a gate, and with what is to be sent there; without a word of the address."""
    if not re.match(r"https?://", url):
        yield "url: it is no http or https address"
    if has_user(url):
        yield "url: it holds a name or a password before its @: leave them out, and give a token instead"
    if token is not None and not url.startswith("https://"):
        yield "token: it is sent over https alone"


def has_user(url: str) -> bool:
    """Whether an address holds a name or a password: what reads it takes them for a host and a port, and says so."""
    return bool(re.match(r"[^/?#]*//[^/?#]*@|[^/?#]*@", url))


_TOKEN = re.compile(r"[\x21-\x7e]+")


def bearer(token: Secret) -> str:
    """The value of a header that bears a token; line ends and spaces around the token are none of it.

    Raises:
        Refusal: it cannot be had, or no header may hold it; the message names the reference only.
    """
    value = token.resolve().strip()
    if not _TOKEN.fullmatch(value):
        message = f"{token}: what it holds is no token: one word of letters, digits and signs of ASCII"
        raise Refusal(message)
    return f"Bearer {value}"


def no_answer(error: Exception, seconds: float) -> str:
    """Why there is no answer, in words of the system's alone: an error's own may hold the address, or a token."""
    given = error.reason if isinstance(error, urllib.error.URLError) else error
    reason = given if isinstance(given, Exception) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {seconds:g} s"
    if isinstance(reason, ssl.SSLError):
        return f"no answer: {getattr(reason, 'reason', None) or type(reason).__name__}"
    return f"no answer: {(isinstance(reason, OSError) and reason.strerror) or type(reason).__name__}"


def short(text: str) -> str:
    """What somebody has answered, on one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _LETTERS else f"{line[:_LETTERS]}..."


class ProofGate(Item):
    """Every check of every policy once more, after the bake: a host that was right an hour ago may be so no longer."""

    name: Word


class HostCommandGate(Item):
    """A command on each host, as its login may run it: 0 passes, 75 cannot tell, anything else fails.

    One that has not ended within `seconds`, or was killed, cannot tell either.
    """

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
    """The containers of each host: running, and healthy where they tell; one that still starts cannot tell.

    A container that has ended with 0 is well where it was to end: its restart policy is `no` or `on-failure`. With any
    other policy it is a service that was stopped, and fails. A host without any such container cannot tell.
    """

    name: Word
    label: Annotated[Line, Field(min_length=1)] | None = None
    """Only those that bear it: `NAME` or `NAME=VALUE`."""


class CompareGate(Item):
    """A query of Prometheus' that has one value for each host: those of the wave against those not yet touched.

    No host is contacted for it. The medians are compared: what is wrong with fewer than half of the wave's hosts is not
    seen, unless the query itself looks at the worst. A host of the wave without a value, or any host with several,
    cannot be told of.
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
