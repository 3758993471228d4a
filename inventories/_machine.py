"""What connectors to machines have in common: a host is its machine, and whoever keeps that answers for it.

Nothing is said to the host itself: no shell command can be run and no file can be put there.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any, ClassVar

from pyinfra.api import StringCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import CommandOutput, OutputLine
from typing_extensions import override


class MachineConnector(BaseConnector):
    """A connector to a host's machine, which may not be there yet."""

    handles_execution = True
    ask: ClassVar[str]
    """The word of the fact's command, which no shell has."""
    no_policy: ClassVar[str]
    no_shell: ClassVar[str]

    def is_meant(self) -> bool:
        """Whether the host has a policy for such a machine."""
        raise NotImplementedError

    def answer(self, name: str) -> dict[str, Any] | None:
        """What is known of the machine of a host, as its fact gives it; None when there is none.

        Raises:
            PyinfraError: it is not ours, or whoever keeps it refuses or does not answer.
        """
        raise NotImplementedError

    @staticmethod
    @override
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield name, {}, []

    @override
    def connect(self) -> None:
        if not self.is_meant():
            raise ConnectError(self.no_policy)

    @override
    def disconnect(self) -> None:
        """A session belongs to the run, which closes it."""

    @override
    def run_shell_command(
        self, command: StringCommand, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        line = command.get_raw_value()
        if not line.startswith(f"{self.ask} "):
            return False, CommandOutput([OutputLine("stderr", self.no_shell)])
        try:
            answer = self.answer(shlex.split(line)[1])
        except PyinfraError as error:
            return False, CommandOutput([OutputLine("stderr", text) for text in str(error).splitlines()])
        return True, CommandOutput([OutputLine("stdout", json.dumps(answer))])

    @override
    def put_file(self, *_: Any, **__: Any) -> bool:
        return False

    @override
    def get_file(self, *_: Any, **__: Any) -> bool:
        return False
