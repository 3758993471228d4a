"""What counts as a read, and what ends what is known of a host, with pyinfra's own @fake hosts and no network."""

from __future__ import annotations

from types import SimpleNamespace

import pyinfra
import pytest
from pyinfra.api import Config, FactBase, FunctionCommand, State, StringCommand, operation
from pyinfra.api.connect import connect_all
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.connectors.fake import FakeConnector
from pyinfra.context import ctx_host

from inventories._asker import reads_a_fact, watch


class Hello(FactBase[str]):
    def command(self) -> str:
        return "echo hello"

    def requires_command(self) -> str:
        return "echo"


class Noting(FakeConnector):
    """Notes for each command whether it was taken for a read."""

    def __init__(self, state, host) -> None:
        super().__init__(state, host)
        self.notes: list[tuple[str, bool]] = []
        self.forgotten = 0

    def run_shell_command(self, command, *args, **kwargs):
        self.notes.append((str(command), reads_a_fact()))
        return super().run_shell_command(command, *args, **kwargs)

    def forget(self) -> None:
        self.forgotten += 1


@pytest.fixture
def run(monkeypatch):
    """A run of the API mode with one fake host, that is connected."""
    monkeypatch.setattr(pyinfra, "is_cli", False)
    inventory = Inventory((["@fake/one"], {"fake_delay": 0, "fake_delay_jitter": 0}))
    state = State(inventory, Config())
    (host,) = inventory
    host.connector = Noting(state, host)
    connect_all(state)
    return SimpleNamespace(state=state, host=host, notes=host.connector.notes)


def test_a_fact_is_a_read(run) -> None:
    with ctx_host.use(run.host):
        run.host.get_fact(Hello)
    ((text, read),) = run.notes
    assert "echo hello" in text
    assert read


def test_what_an_operation_runs_is_no_read(run) -> None:
    @operation()
    def change():
        yield StringCommand("touch x")

    add_op(run.state, change)
    run_ops(run.state)
    assert run.notes == [("touch x", False)]


def test_a_command_that_is_run_directly_is_no_read(run) -> None:
    run.host.run_shell_command(StringCommand("touch y"))
    assert run.notes == [("touch y", False)]


def test_an_operation_that_did_something_on_the_controller_ends_what_is_known(run) -> None:
    @operation()
    def elsewhere():
        yield FunctionCommand(lambda: True, (), {})

    @operation()
    def nothing():
        yield from ()

    watch(run.state)
    watch(run.state)
    assert len(run.state.callback_handlers) == 1
    for each in (nothing, elsewhere, nothing, nothing):
        add_op(run.state, each)
    run_ops(run.state)
    assert run.host.connector.forgotten == 1


def test_an_operation_within_a_function_knows_nothing_from_before(run) -> None:
    @operation()
    def inner():
        yield from ()

    @operation(_set_in_op=False)
    def outer():
        yield FunctionCommand(lambda: inner() is not None, (), {})

    @operation()
    def last():
        yield from ()

    watch(run.state)
    for each in (outer, last):
        add_op(run.state, each)
    run_ops(run.state)
    # When the inner one begins, and behind the function that called it.
    assert run.host.connector.forgotten == 2
