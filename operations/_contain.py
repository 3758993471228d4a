"""One host's trouble stays that host's: the `operation` decorator of all our operations.

pyinfra ends the run for every host when an operation raises. Here a refusal (any `PyinfraError`) becomes an error
of this host: its sentence is logged, the host counts as failed, and the others go on. What a run does around each
change (a lock, a guard) is told in _around.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import reduce, wraps
from typing import Any, ParamSpec, TypeVar, cast

from pyinfra import host, logger, state
from pyinfra.api import FactBase, FunctionCommand, OperationError, StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import PyinfraOperation
from pyinfra.api.operation import operation as pyinfra_operation
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from operations._around import Around, declared, surrounding

Parameters = ParamSpec("Parameters")
Commands = Generator[Any, None, None]


Value = TypeVar("Value")


def within(other: PyinfraOperation[...], **arguments: Any) -> Commands:  # noqa: ANN401 - those of the operation
    """The commands of another operation, as part of the one that calls this."""
    commands: Commands = other._inner(**arguments)  # noqa: SLF001 - pyinfra's own way to nest operations
    return commands


def followed(commands: Iterable[Any], by: Iterable[Any]) -> Commands:
    """Commands, and more after them when there were any."""
    some = False
    for command in commands:
        some = True
        yield command
    if some:
        yield from by


def read(fact: type[FactBase[Value]], **arguments: Any) -> Value:  # noqa: ANN401
    """The value of a fact.

    pyinfra gives an operation the fact's default when the read failed, so that a host that cannot be read looks like
    a fresh one; here the operation ends instead.

    Raises:
        OperationError: the fact could not be read (pyinfra has said why).
    """
    value: Value = host.get_fact(fact, **arguments)
    if ctx_host.get() in state.failed_hosts:
        message = f"stopped: {fact.name} could not be read"
        raise OperationError(message)
    return value


ASSUMED: dict[str, dict[str, str]] = {}
"""Host name -> operation (its hash) -> what an earlier one has to bring first, as the run was planned."""


def comes_first(message: str) -> None:
    """Note, while a run is planned, that an operation needs what an earlier one may still bring.

    Raises:
        OperationError: the run is carried out: what should have come has not.
    """
    if state.is_executing:
        raise OperationError(message)
    ASSUMED.setdefault(host.name, {})[str(host.current_op_hash)] = message


FAILURES: dict[str, list[str]] = {}
"""Host name -> the sentences of what has failed in this run."""


def fail(state: State, host: Host, message: str) -> bool:  # noqa: ARG001 - pyinfra passes both by name
    """A command that always fails, with a sentence for the person who reads the run."""
    FAILURES.setdefault(host.name, []).append(message)
    for line in message.splitlines():
        host.log_styled(line, fg="red", log_func=logger.error)
    return False


def _step(state: State, host: Host, step: Callable[[], None]) -> bool:
    try:
        step()
    except PyinfraError as error:
        return fail(state, host, str(error))
    return True


def _wrapped(command: Any, around: Around) -> Any:  # noqa: ANN401 - whatever an operation yields
    if isinstance(command, str):
        command = StringCommand(command.strip())
    return around.wrapped(command) if isinstance(command, StringCommand) else command


def _surrounded(commands: Commands, around: tuple[Around, ...]) -> Commands:
    """The commands of an operation, with what is done around a change when there is one."""
    changing = False
    for command in commands:
        if not changing and not (isinstance(command, FunctionCommand) and command.function is fail):
            changing = True
            for each in around:
                yield FunctionCommand(_step, (each.before,), {})
        yield reduce(_wrapped, around, command)
    if changing:
        for each in reversed(around):
            yield FunctionCommand(_step, (each.after,), {})


def operation(**options: Any) -> Callable[[Callable[Parameters, Commands]], PyinfraOperation[Parameters]]:  # noqa: ANN401
    """As pyinfra's `@operation()`, with refusals contained to their host."""

    def decorate(function: Callable[Parameters, Commands]) -> PyinfraOperation[Parameters]:
        @wraps(function)
        def contained(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Commands:
            commands = function(*args, **kwargs)
            try:
                if state.is_executing:
                    commands = _surrounded(commands, surrounding(ctx_host.get(), host.current_op_hash))
                yield from commands
            except PyinfraError as error:
                if state.is_executing:
                    yield FunctionCommand(fail, (str(error),), {})
                else:
                    fail(state, host, str(error))
                    state.fail_hosts({ctx_host.get()})

        prepared = pyinfra_operation(**options)(contained)

        @wraps(prepared)
        def decorated(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - pyinfra's own signature
            meta = prepared(*args, **kwargs)
            declared(ctx_host.get(), meta._hash)  # noqa: SLF001 - the operation's only name
            return meta

        decorated._inner = function  # type: ignore[attr-defined]  # noqa: SLF001 - nested calls must see the refusal
        return cast("PyinfraOperation[Parameters]", decorated)

    return decorate
