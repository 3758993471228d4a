"""history (list, undo, redo, rollback, init) and mark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import solv  # Only the guest has it.

from .alter import execute
from .errors import INVALID_PARAMETER, NO_MATCH, TdnfError, nothing_to_do
from .history import Entry, History
from .plan import Planner
from .sack import Sack, Solvable
from .session import Session


def history(session: Session) -> int:
    command = session.words[0] if session.words else "list"
    if command == "init":
        History(create=True).synchronize()
        return 0
    if command in {"undo", "redo", "rollback"}:
        return _change(session, command, session.words[1:])
    return _list(session, session.words[1:])


def _range(session: Session, words: list[str]) -> tuple[int, int] | None:
    """First and last id: `4`, `2-3`, --from and --to."""
    if words:
        first, _, last = words[0].partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise TdnfError(INVALID_PARAMETER)
        return int(first), int(last or first)
    first, last = session.arguments.value("from") or "", session.arguments.value("to") or ""
    if not (first or last):
        return None
    return int(first or last), int(last or first)


def _list(session: Session, words: list[str]) -> int:
    database = History()
    limits = _range(session, words)
    entries = database.entries()
    if limits is not None:
        if limits[1] > database.last:
            raise TdnfError(INVALID_PARAMETER)
        entries = [entry for entry in entries if limits[0] <= entry.id <= limits[1]]
    if session.arguments.flag("reverse"):
        entries.reverse()
    full = session.arguments.flag("info")
    if session.arguments.json:
        session.console.document([_document(entry, full=full) for entry in entries])
        return 0
    session.console.line(f"{'ID':<4} {'cmd line':<39} {'date/time':<21} {'+add':<5} / -rem")
    for entry in entries:
        when = time.strftime("%a %b %d %Y %H:%M", time.localtime(entry.time))
        counts = f"+{len(entry.added):<4} / -{len(entry.removed):<4}"
        session.console.line(f"{entry.id:>4} {entry.command:<39} {when} {counts}")
        if full:
            for label, nevras in (("added", entry.added), ("removed", entry.removed)):
                if nevras:
                    session.console.line(f"{label}: {', '.join(nevras)}")
            session.console.line("")
    return 0


def _document(entry: Entry, *, full: bool) -> dict[str, object]:
    document: dict[str, object] = {"Id": entry.id, "CmdLine": entry.command, "TimeStamp": entry.time}
    document |= {"AddedCount": len(entry.added), "RemovedCount": len(entry.removed)}
    if full:
        document |= {"Added": entry.added, "Removed": entry.removed}
    return document


def _change(session: Session, command: str, words: list[str]) -> int:
    limits = _range(session, words)
    if limits is None or limits[0] < (1 if command == "rollback" else 2) or limits[0] > limits[1]:
        raise TdnfError(INVALID_PARAMETER)
    sack = session.sack()
    database = History()
    database.synchronize()
    first, last = limits
    if command == "rollback":
        before, after = database.state(), database.state(last)
    elif command == "undo":
        before, after = database.state(last), database.state(first - 1)
    else:
        before, after = database.state(first - 1), database.state(last)
    missing: list[str] = []
    wanted = _available(sack, (nevra for nevra in after if nevra not in before), missing)
    unwanted = [found for nevra in before if nevra not in after for found in _find(sack.installed(), nevra)]
    planner = Planner(sack, session.config, session.arguments, session.console)
    jobs = planner.jobs(solv.Job.SOLVER_INSTALL, wanted) + planner.jobs(solv.Job.SOLVER_ERASE, unwanted)
    plan = planner.solve(jobs, erasing=True)
    if missing:
        _tell_missing(session, missing)
        raise TdnfError(NO_MATCH)
    if not plan:
        raise nothing_to_do()
    target = last if command == "rollback" else None
    return execute(session, plan, of_history=True, done=_flags(target))


def _flags(target: int | None) -> Callable[[History], None] | None:
    return None if target is None else lambda database: database.restore_automatic(target)


def _nevra(package: Solvable) -> str:
    return f"{package.name}-{package.evr}.{package.arch}"


def _find(packages: Iterable[Solvable], nevra: str) -> list[Solvable]:
    return [package for package in packages if _nevra(package) == nevra]


def _available(sack: Sack, nevras: Iterable[str], missing: list[str]) -> list[Solvable]:
    """One available package per NEVRA that is not installed; those that nobody has go to `missing`."""
    found: list[Solvable] = []
    for nevra in nevras:
        if nevra.startswith("gpg-pubkey-"):
            continue
        candidates = _find(sack.available(), nevra)
        if not candidates:
            missing.append(nevra)
        elif not _find(sack.installed(), nevra):
            found.append(candidates[0])
    return found


def _tell_missing(session: Session, missing: list[str]) -> None:
    session.console.line("The following packages could not be resolved:\n")
    for nevra in missing:
        session.console.line(nevra)
    session.console.line(
        "\nThe package(s) may have been moved out of the enabled repositories since the\n"
        "last time they were installed. You may be able to resolve this by enabling\n"
        "additional repositories."
    )


def mark(session: Session) -> int:
    words = session.words
    if not words:
        session.console.line("need action ('install' or 'remove') as argument")
        raise TdnfError(INVALID_PARAMETER)
    if words[0] not in {"install", "remove"}:
        session.console.line(f"unknown action '{words[0]}'")
        raise TdnfError(902)
    if len(words) == 1:
        session.console.line("need package spec(s) as argument")
        raise TdnfError(INVALID_PARAMETER)
    packages = session.sack().installed(words[1:])
    if not packages:
        raise TdnfError(NO_MATCH)
    automatic = words[0] == "remove"
    for package in packages:
        session.console.info(f"marking {package.name} as {'auto' if automatic else 'user'}installed")
    database = History(create=True)
    database.synchronize()
    database.add_empty(session.arguments.command_line)
    database.set_automatic([package.name for package in packages], value=automatic)
    return 0
