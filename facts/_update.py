"""What tdnf and a host print about updates, as values. Pure, as _tdnf.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypedDict

from facts._answer import Answer, AnswerError, decode, errors, rows, troubles
from facts._types import Advisory

Change = Literal["install", "upgrade", "downgrade", "reinstall", "remove", "obsolete"]

_TITLES: dict[str, Change] = {
    "Installing:": "install", "Upgrading:": "upgrade", "Downgrading:": "downgrade", "Reinstalling:": "reinstall",
    "Removing:": "remove", "Obsoleting:": "obsolete",
}  # fmt: skip
_ABORTED = 1032
_NO_HISTORY = {912, 1802}
"""No such command (before 3.5), no database yet."""
_PHOTON_KERNEL = re.compile(r"\d\S*\.ph\d+(-\w+)?")
_ENTRY = re.compile(r"linux-(\S+)\.cfg")
_NEVRA = re.compile(r"\S+-\S+-\S+\.\w+")
_NOT_RESOLVED = "The following packages could not be resolved:"


class Transaction(TypedDict):
    """One transaction; `added` and `removed` are `name-[epoch:]version-release.arch`."""

    id: int
    command: str
    time: int
    added: list[str]
    removed: list[str]


class Step(TypedDict):
    """One package of a plan."""

    what: Change
    name: str
    evr: str


class RollbackPlan(TypedDict):
    """`changes` is the whole truth only when `trouble` is empty."""

    changes: list[Step]
    trouble: list[str]


class Variables(TypedDict):
    """tdnf's own variables by name, and the ids of enabled repositories that name a snapshot."""

    values: dict[str, str]
    snapshots: list[str]


class Due(TypedDict):
    """See `facts.update.RebootDue`."""

    kernel: str
    staged: bool
    libraries: dict[str, list[str]]


def held(lines: list[str]) -> list[tuple[str, str]]:
    """What `HeldBack` printed.

    Raises:
        AnswerError: something else.
    """
    words = [line.split() for line in lines[:-1]]
    if lines[-1:] != ["end"] or any(len(each) != 3 for each in words):  # noqa: PLR2004 - name, version, architecture
        message = f"the versions that are held back cannot be read: {lines!r}"
        raise AnswerError(message)
    return [(name, version.rpartition(":")[2]) for name, version, _ in words]


class Boot(TypedDict):
    """`state` is a word of `systemctl is-system-running`, such as running, degraded or starting."""

    id: str
    kernel: str
    state: str


def boot(lines: list[str]) -> Boot:
    """What `BOOTED` printed.

    Raises:
        AnswerError: something else.
    """
    if len(lines) != 3:  # noqa: PLR2004 - id, kernel, state
        message = f"expected the boot's id, its kernel and its state, found {lines!r}"
        raise AnswerError(message)
    return {"id": lines[0].strip(), "kernel": lines[1].strip(), "state": lines[2].strip()}


def parts(lines: list[str], separator: str) -> Iterator[list[str]]:
    """The lines between separators."""
    part: list[str] = []
    for line in lines:
        if line == separator:
            yield part
            part = []
        else:
            part.append(line)
    yield part


def severe(
    everything: list[Advisory], enough: list[Advisory] | None = None, numbered: list[Advisory] | None = None
) -> list[Advisory]:
    """The security advisories whose number is high enough, and those that have no number.

    Args:
        everything: all advisories for installed packages.
        enough: those whose number is at least the wanted one; None when no number is wanted.
        numbered: those with any number above 0.
    """
    security = [advisory for advisory in everything if advisory["type"] == "security"]
    if enough is None:
        return security
    high = {advisory["id"] for advisory in enough}
    known = {advisory["id"] for advisory in numbered or ()}
    return [advisory for advisory in security if advisory["id"] in high or advisory["id"] not in known]


def history(given: Answer) -> list[Transaction]:
    """The transactions of `history --info`.

    Raises:
        AnswerError: they cannot be read.
    """
    listed, trouble = rows(given, expected=False)
    if _NO_HISTORY & set(dict(errors(decode(given.stdout)))):
        return []
    if trouble:
        raise AnswerError("; ".join(trouble))
    found: list[Transaction] = []
    for row in listed:
        identity, time, command = row.get("Id"), row.get("TimeStamp"), row.get("CmdLine")
        added, removed = row.get("Added", []), row.get("Removed", [])
        if not (isinstance(identity, int) and isinstance(time, int) and isinstance(command, str)):
            message = f"tdnf's history has an entry without Id, TimeStamp or CmdLine: {row!r}"
            raise AnswerError(message)
        if not (isinstance(added, list) and isinstance(removed, list)):
            message = f"tdnf's history has an entry whose packages are no lists: {row!r}"
            raise AnswerError(message)
        found.append({
            "id": identity, "command": command, "time": time,
            "added": [str(each) for each in added], "removed": [str(each) for each in removed],
        })  # fmt: skip
    return sorted(found, key=lambda one: one["id"])


def rollback_plan(given: Answer) -> RollbackPlan:
    """The tables of a plan in plain text; that it was not carried out is no trouble.

    Raises:
        AnswerError: a table has a line of another form.
    """
    changes: list[Step] = []
    what: Change | None = None
    for line in given.stdout.splitlines():
        if line in _TITLES:
            what = _TITLES[line]
        elif not line.strip():
            what = None
        elif what is not None and not line.startswith("Total "):
            words = line.split()
            # A column that is full runs over into the next one; the name is never cut.
            if len(words) < 3:  # noqa: PLR2004 - name, architecture, version
                message = f"tdnf's plan has a line of another form: {line!r}"
                raise AnswerError(message)
            changes.append({"what": what, "name": words[0], "evr": words[2]})
    gone = _not_resolved(given.stdout.splitlines())
    if gone:
        return {"changes": changes, "trouble": [f"{', '.join(gone)}: in no repository any more"]}
    wrong = [each for each in troubles(given) if f"error {_ABORTED}:" not in each]
    return {"changes": changes, "trouble": wrong}


def _not_resolved(lines: list[str]) -> list[str]:
    if _NOT_RESOLVED not in lines:
        return []
    return [line.strip() for line in lines[lines.index(_NOT_RESOLVED) + 1 :] if _NEVRA.fullmatch(line.strip())]


def variables(lines: list[str]) -> Variables:
    """What `TdnfVariables` printed.

    Raises:
        AnswerError: it did not get to the end.
    """
    if lines[-1:] != ["end"]:
        message = "tdnf's variables could not be read"
        raise AnswerError(message)
    values: dict[str, str] = {}
    enabled: dict[str, bool] = {}
    pinned: list[str] = []
    current = ""
    for line in lines[:-1]:
        word, _, rest = line.partition(" ")
        if word == "value":
            name, _, value = rest.partition(" ")
            values[name] = value.strip()
        elif word == "id":
            current = rest
        elif word == "enabled":
            enabled[current] = rest.strip().lower() == "true" or (rest.strip().isdigit() and int(rest) > 0)
        elif word == "snapshot":
            pinned.append(current)
    return {"values": values, "snapshots": sorted(one for one in pinned if enabled.get(one))}


def due(lines: list[str]) -> Due:
    """What `RebootDue` printed.

    Raises:
        AnswerError: it did not get to the end.
    """
    if lines[-1:] != ["end"]:
        message = "whether a reboot is due could not be read"
        raise AnswerError(message)
    said = {word: rest for word, _, rest in (line.partition(" ") for line in lines) if word != "uses"}
    libraries: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("uses "):
            words = line.split()[1:]
            # A process without a cgroup of its own has its first library where the unit would be.
            unit, files = ("?", words) if words[0].startswith("/") else (words[0], words[1:])
            libraries.setdefault(unit, set()).update(files)
    return {
        "kernel": _kernel(said.get("running", ""), said),
        "staged": "staged" in lines,
        "libraries": {unit: sorted(libraries[unit]) for unit in sorted(libraries)},
    }


def _kernel(running: str, said: dict[str, str]) -> str:
    if not _PHOTON_KERNEL.fullmatch(running):
        return ""
    suffix = running.rpartition(".ph")[2].partition("-")[2]
    after = said.get("package", "") + (f"-{suffix}" if suffix and "package" in said else "")
    if match := _ENTRY.fullmatch(said.get("next", "").rpartition("/")[2]):
        after = match[1]
    return "" if after in {"", running} else f"{after} is installed, {running} runs"
