"""A host's machine as its cloud has it."""

from __future__ import annotations

from typing import TypedDict

from facts._machine import MachineFact

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


class CloudMachine(MachineFact[Machine]):
    """The machine of a host; None when there is none.

    One that is not ours, and a cloud that refuses or does not answer, are errors of this host.

        {"id": "i-0123456789abcdef0", "state": "running", "size": "t3.small", ...}
    """

    ask = ASK
    keeper = "a cloud"
