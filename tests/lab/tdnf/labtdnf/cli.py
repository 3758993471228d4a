"""From the command line to the exit status: tdnf's order of checks, and its way to print errors."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from . import VERSION
from .arguments import UNCOVERED, Arguments, PlainError, parse
from .console import Console
from .errors import NOT_ROOT, NothingError, TdnfError, UncoveredError
from .lock import InstanceLock

UNCOVERED_STATUS = 70
ABORTED = 1032

# Command: (module, function, root only).
COMMANDS = {
    "autoerase": ("alter", "autoremove", True),
    "autoremove": ("alter", "autoremove", True),
    "check": ("alter", "check", False),
    "check-update": ("queries", "check_update", False),
    "clean": ("metadata", "clean", True),
    "count": ("queries", "count", False),
    "distro-sync": ("alter", "distro_sync", True),
    "downgrade": ("alter", "downgrade", True),
    "erase": ("alter", "remove", True),
    "history": ("histories", "history", True),
    "info": ("queries", "info", False),
    "install": ("alter", "install", True),
    "list": ("queries", "list_", False),
    "makecache": ("metadata", "makecache", False),
    "mark": ("histories", "mark", False),
    "provides": ("queries", "provides", False),
    "reinstall": ("alter", "reinstall", True),
    "remove": ("alter", "remove", True),
    "repolist": ("queries", "repolist", False),
    "repoquery": ("repoquery", "repoquery", False),
    "search": ("queries", "search", False),
    "update": ("alter", "update", True),
    "update-to": ("alter", "update", True),
    "updateinfo": ("advisories", "updateinfo", False),
    "upgrade": ("alter", "update", True),
    "upgrade-to": ("alter", "update", True),
    "whatprovides": ("queries", "provides", False),
}
# Commands of the real tdnf that the stand-in refuses.
REFUSED = {"check-local", "help", "reposync"}


def main(argv: list[str]) -> int:
    """Run one command line; returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        arguments = parse(argv)
    except PlainError as error:
        sys.stdout.write(error.stdout)
        sys.stdout.flush()
        sys.stderr.write(f"{error.stderr}{error}\n")
        return error.number % 256
    silent = arguments.flag("quiet") and arguments.flag("assumeyes")
    console = Console(quiet=arguments.flag("quiet"), json_output=arguments.json, silent=silent)
    lock = InstanceLock()
    try:
        return _run(arguments, console, lock)
    except UncoveredError as error:
        return _refuse(str(error))
    except TdnfError as error:
        return _report(error, arguments, console)
    finally:
        lock.release()


def _refuse(what: str) -> int:
    sys.stderr.write(f"lab tdnf stand-in: '{what}' is not covered\n")
    return UNCOVERED_STATUS


def _run(arguments: Arguments, console: Console, lock: InstanceLock) -> int:
    if arguments.flag("version"):
        if arguments.json:
            console.document({"Name": "tdnf", "Version": VERSION})
        else:
            console.line(f"tdnf: {VERSION}")
        return 0
    _check_covered(arguments)
    if not arguments.words:
        console.line("You need to give some command")
        raise TdnfError(912)
    command = arguments.words[0]
    if command not in COMMANDS:
        console.line(f"No such command: {command}. Please use /usr/bin/tdnf --help")
        raise TdnfError(912)
    module, function, root_only = COMMANDS[command]
    if root_only and os.geteuid():
        raise TdnfError(NOT_ROOT)
    _define_macros(arguments)
    lock.acquire()
    from .session import Session  # noqa: PLC0415

    session = Session(arguments, console)
    status: int = getattr(importlib.import_module(f".{module}", __package__), function)(session)
    return status


def _check_covered(arguments: Arguments) -> None:
    if arguments.flag("help"):
        raise UncoveredError("--help")
    if arguments.words and arguments.words[0] in REFUSED:
        raise UncoveredError(arguments.words[0])
    for name in UNCOVERED & arguments.options.keys():
        raise UncoveredError(f"--{name}")
    if arguments.value("installroot") not in {None, "/"}:
        raise UncoveredError("--installroot")


def _define_macros(arguments: Arguments) -> None:
    definitions = arguments.values("rpmdefine")
    if definitions:
        import rpm  # noqa: PLC0415  # Only the guest has it.

        for definition in definitions:
            name, _, body = definition.partition(" ")
            rpm.addMacro(name, body.strip())


def _report(error: TdnfError, arguments: Arguments, console: Console) -> int:
    if isinstance(error, NothingError):
        if not arguments.json:
            console.error(error.message)
        return 0
    if arguments.json:
        if error.number == ABORTED:
            return 0
        console.document({"Error": error.number, "ErrorMessage": error.message})
    else:
        console.error(str(error))
    return error.number % 256
