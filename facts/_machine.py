"""What facts of machines have in common: whoever keeps the machine answers, as JSON, over a connector of ours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import ClassVar, TypeVar

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

Seen = TypeVar("Seen")


class MachineFact(FactBase[Seen | None]):
    """The machine of a host; None when there is none."""

    ask: ClassVar[str]
    """The word by which the connector knows that it is asked; no shell has such a command."""
    keeper: ClassVar[str]

    @staticmethod
    @override
    def default() -> None:
        return None

    @override
    def command(self, host: str) -> StringCommand:
        return StringCommand(self.ask, QuoteString(host))

    @override
    def process(self, output: Iterable[str]) -> Seen | None:
        try:
            found: Seen | None = json.loads("\n".join(output))
        except ValueError as error:
            message = f"no answer of {self.keeper}: {error}"
            raise FactProcessError(message) from error
        return found
