"""What the connector hands to a batch and what it runs alone, without a network: batches are answered by the test."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pyinfra.api import Config, State, StringCommand
from pyinfra.api.inventory import Inventory
from pyinfra.connectors.util import CommandOutput, OutputLine

from inventories._batch import Answer
from inventories._batched import BatchedConnector
from inventories._reads import Reads


class Connector(BatchedConnector):
    """A stand-in for a connected host: notes what is run alone and what in batches."""

    def __init__(self, state, host) -> None:
        super().__init__(state, host)
        self.alone: list[str] = []
        self.batches: list[list[str]] = []
        self.answers: dict[str, Answer] = {}
        self._reads = Reads(self._run_batch, {})

    def _run_batch(self, commands: Sequence[str]) -> list[Answer]:
        self.batches.append(list(commands))
        return [self.answers.get(command, Answer(0, b"batched\n", b"")) for command in commands]

    def _run_alone(self, command, **_) -> tuple[bool, CommandOutput]:
        self.alone.append(str(command))
        return True, CommandOutput([OutputLine("stdout", "alone")])


@pytest.fixture
def connector():
    inventory = Inventory((["@fake/one"], {}))
    state = State(inventory, Config())
    (host,) = inventory
    host.connector = Connector(state, host)
    return host.connector


def read(connector, line: str = "echo x", **arguments) -> list[str]:
    with connector.reading("test"):
        _, output = connector.run_shell_command(StringCommand(line), **arguments)
    return output.stdout_lines


def test_a_declared_read_is_batched_and_a_command_is_not(connector) -> None:
    assert read(connector) == ["batched"]
    connector.run_shell_command(StringCommand("touch x"))
    assert connector.alone == ["touch x"]
    assert connector.batches == [["sh -c 'echo x'"]]


@pytest.mark.parametrize("line", ["sudo: a password is required", "sudo-rs: interactive authentication is required"])
def test_where_sudo_wants_a_password_the_person_is_asked_as_ever(connector, line: str) -> None:
    connector.answers["sudo -H -n sh -c 'echo x'"] = Answer(1, b"", f"{line}\n".encode())
    assert read(connector, _sudo=True) == ["alone"]


def test_another_failure_is_the_answer(connector) -> None:
    connector.answers["sh -c 'echo x'"] = Answer(1, b"", b"broken\n")
    with connector.reading("test"):
        succeeded, output = connector.run_shell_command(StringCommand("echo x"))
    assert (succeeded, output.stderr_lines) == (False, ["broken"])
    with connector.reading("test"):
        succeeded, _ = connector.run_shell_command(StringCommand("echo x"), _success_exit_codes=[1])
    assert succeeded


@pytest.mark.parametrize(
    "arguments",
    [
        {"_env": {"TOKEN": "x"}}, {"_get_pty": True}, {"_stdin": "x"}, {"_sudo": True, "_sudo_password": "x"},
        {"_su_user": "x", "_su_password": "x"}, {"_shell_executable": None},
    ],
    ids="+".join,
)  # fmt: skip
def test_what_must_not_be_batched_is_run_alone(connector, arguments) -> None:
    assert read(connector, **arguments) == ["alone"]
    assert connector.batches == []
    assert connector._reads.learned() == {}


@pytest.mark.parametrize("line", ["echo \udcff", "echo \0", f"echo {'x' * 50_000}"], ids=["no text", "NUL", "long"])
def test_a_command_that_fits_no_batch_is_run_alone(connector, line: str) -> None:
    assert read(connector, line) == ["alone"]
    assert connector.batches == []


def test_what_runs_on_the_way_of_a_read_is_no_read(connector) -> None:
    """As the script does that pyinfra makes to tell sudo the password."""
    plain = connector._run_alone
    seen = []

    def with_a_script_before(command, **arguments):
        seen.append(connector._declared)
        return plain(command, **arguments)

    connector._run_alone = with_a_script_before
    assert read(connector, _sudo=True, _sudo_password="x") == ["alone"]
    assert seen == [None]


def test_a_read_of_a_function_or_condition_ends_what_is_known(connector, monkeypatch) -> None:
    monkeypatch.setattr("inventories._batched.reads_a_fact", lambda: True)
    connector.state.is_executing = True
    connector.host.in_op = True
    for _ in range(2):
        connector.run_shell_command(StringCommand("echo x"))
        connector.host.current_op_hash = f"another {len(connector.batches)}"
    assert len(connector.batches) == 1
    connector.host.in_op = False
    connector.run_shell_command(StringCommand("echo done?"))
    assert connector.alone == ["echo done?"]
    connector.host.in_op = True
    connector.host.current_op_hash = "a third"
    connector.run_shell_command(StringCommand("echo x"))
    assert len(connector.batches) == 2
