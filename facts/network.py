"""The host's name and hosts file."""

from __future__ import annotations

from typing import TypedDict

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override


class Names(TypedDict):
    """`now` is the kernel's host name, `at_boot` that of /etc/hostname ("" without the file)."""

    now: str
    at_boot: str


class HostNames(FactBase[Names]):
    """
    Returns the host's name, now and after the next boot:

    .. code:: python

        {"now": "web-1", "at_boot": "web-1"}

    Source of the format: uname(1), hostname(5).
    """

    @override
    def command(self) -> str:
        return "uname -n && if [ -e /etc/hostname ]; then sed -e 's/#.*//' -e '/^[[:space:]]*$/d' /etc/hostname; fi"

    @override
    def process(self, output: list[str]) -> Names:
        if not output:
            message = "uname printed nothing"
            raise FactProcessError(message)
        return {"now": output[0].strip(), "at_boot": output[1].strip() if len(output) > 1 else ""}


class HostsFile(FactBase[list[str]]):
    """
    Returns the lines of /etc/hosts:

    .. code:: python

        ["127.0.0.1 localhost"]

    Source of the format: hosts(5).
    """

    @staticmethod
    @override
    def default() -> list[str]:
        return []

    @override
    def command(self) -> str:
        return "if [ -e /etc/hosts ]; then cat /etc/hosts; fi"

    @override
    def process(self, output: list[str]) -> list[str]:
        return list(output)
