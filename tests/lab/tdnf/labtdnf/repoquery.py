"""repoquery: which packages, and what about them."""

from __future__ import annotations

from typing import Any

import solv  # Only the guest has it.

from .errors import INVALID_PARAMETER, TdnfError, UncoveredError, no_data
from .history import History
from .sack import SYSTEM, Sack, Solvable, is_patch
from .session import Session

_RELATIONS = {
    "provides": "Provides", "obsoletes": "Obsoletes", "conflicts": "Conflicts", "requires": "Requires",
    "recommends": "Recommends", "suggests": "Suggests", "supplements": "Supplements", "enhances": "Enhances",
}  # fmt: skip
_DEPENDS = ("requires", "recommends", "suggests", "supplements", "enhances")


def repoquery(session: Session) -> int:
    if len(session.words) > 1:
        raise TdnfError(902)
    arguments = session.arguments
    if arguments.flag("extras") and any(arguments.flag(name) for name in ("installed", "available", "duplicates")):
        raise TdnfError(INVALID_PARAMETER)
    if arguments.flag("duplicates") and any(arguments.flag(name) for name in ("installed", "available")):
        raise TdnfError(INVALID_PARAMETER)
    for name in ("changelogs", "source"):
        if arguments.flag(name):
            raise UncoveredError(f"repoquery --{name}")
    packages = _select(session, session.sack())
    if not packages:
        raise no_data()
    _print(session, packages)
    return 0


def _select(session: Session, sack: Sack) -> list[Solvable]:
    arguments = session.arguments
    installed = arguments.flag("installed") or arguments.flag("userinstalled")
    if arguments.flag("extras"):
        found = sack.everything(session.words)
    elif not installed or arguments.flag("available"):
        found = sack.available(session.words)
    else:
        found = sack.installed(session.words)
    if arguments.values("arch"):
        found = [package for package in found if package.arch in arguments.values("arch")]
    if arguments.flag("extras"):
        found = _extras(found)
    elif arguments.flag("duplicates"):
        found = []  # tdnf looks for installed ones among the available ones only.
    if arguments.flag("userinstalled"):
        automatic = History().auto_installed()
        found = [package for package in found if package.name not in automatic]
    for name in ("depends", *_RELATIONS):
        value = arguments.value(f"what{name}")
        if value is not None:
            found = [package for package in found if _related(sack, package, name, value.split(","))]
    path = arguments.value("file")
    if path is not None:
        found = [package for package in found if path in _files(package)]
    return found


def _extras(packages: list[Solvable]) -> list[Solvable]:
    available = {(p.name, p.evr, p.arch) for p in packages if p.repo.name != SYSTEM and not is_patch(p)}
    return [p for p in packages if p.repo.name == SYSTEM and (p.name, p.evr, p.arch) not in available]


def _key(name: str) -> int:
    return int(getattr(solv, f"SOLVABLE_{name.upper()}"))


def _related(sack: Sack, package: Solvable, name: str, capabilities: list[str]) -> bool:
    keys = _DEPENDS if name == "depends" else (name,)
    for capability in capabilities:
        dependency = sack.pool.Dep(capability, False)
        if dependency is not None and any(package.matchesdep(_key(key), dependency) for key in keys):
            return True
    return False


def _files(package: Solvable) -> list[str]:
    mode = solv.Dataiterator.SEARCH_FILES | solv.Dataiterator.SEARCH_COMPLETE_FILELIST
    return [match.str for match in package.Dataiterator(solv.SOLVABLE_FILELIST, None, mode)]


def _print(session: Session, packages: list[Solvable]) -> None:
    details = _details(session)
    if session.arguments.json:
        session.console.document([_document(package, details) for package in packages])
        return
    if not details:
        for package in packages:
            session.console.line(_nevra(package))
        return
    for lines in details.values():
        for line in sorted({line for package in packages for line in lines(package)}):
            session.console.line(line)


def _nevra(package: Solvable) -> str:
    return f"{package.name}-{package.evr.rpartition(':')[2]}.{package.arch}"


def _document(package: Solvable, details: dict[str, Any]) -> dict[str, Any]:
    document = {"Nevra": _nevra(package), "Name": package.name, "Arch": package.arch}
    document |= {"Evr": package.evr, "Repo": package.repo.name}
    return document | {key: lines(package) for key, lines in details.items()}


def _details(session: Session) -> dict[str, Any]:
    """What to tell of every package: JSON name and how to get it."""
    details: dict[str, Any] = {}
    if session.arguments.flag("list"):
        details["Files"] = _files
    for name, title in _RELATIONS.items():
        if session.arguments.flag(name):
            details[title] = lambda package, name=name: _dependencies(package, (name,))
    if session.arguments.flag("depends"):
        details["Depends"] = lambda package: _dependencies(package, _DEPENDS)
    if session.arguments.flag("requires-pre"):
        details["RequiresPre"] = lambda package: [
            str(dep) for dep in package.lookup_deparray(solv.SOLVABLE_REQUIRES, 1)
        ]
    return details


def _dependencies(package: Solvable, names: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        for dependency in package.lookup_deparray(_key(name), -1):
            found[str(dependency)] = None
    return list(found)
