"""A host's machine as its cloud has it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

ASK = "cloud-machine"
"""The word by which the @cloud connector knows that its cloud is asked; no shell has such a command."""


class Volume(TypedDict):
    """A disk; `gib` is 0 when its size is not known."""

    device: str
    id: str
    gib: int


class Machine(TypedDict):
    """A machine.

    Its `state` is pending, running, stopping or stopped; `address` is the one to log in to, and empty without one.
    """

    id: str
    name: str
    state: str
    size: str
    image: str
    subnet: str
    groups: list[str]
    tags: dict[str, str]
    volumes: list[Volume]
    address: str


class CloudMachine(FactBase[Machine | None]):
    """The machine of a host; None when there is none.

    One that is not ours, and a cloud that refuses or does not answer, are errors of this host.

        {"id": "i-0123456789abcdef0", "state": "running", "size": "t3.small", ...}
    """

    @staticmethod
    @override
    def default() -> None:
        return None

    @override
    def command(self, host: str) -> StringCommand:
        return StringCommand(ASK, QuoteString(host))

    @override
    def process(self, output: Iterable[str]) -> Machine | None:
        try:
            found: Machine | None = json.loads("\n".join(output))
        except ValueError as error:
            message = f"no answer of a cloud: {error}"
            raise FactProcessError(message) from error
        return found
