"""updateinfo, and which packages `update --security` and its like take.

One entry per installed package that an advisory has something newer for, so an advisory comes back as often as it
has installed packages: tdnf counts and lists it that way.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import solv  # Only the guest has it.

from .errors import NO_MATCH, TdnfError, no_data
from .sack import Sack, Solvable
from .session import Session

_TYPES = ("Unknown", "Security", "Bugfix", "Enhancement")
_MODES = ("all", "summary", "list", "info")
_SCOPES = {"installed", "available", "obsoletes", "extras", "recent", "updates", "upgrades", "downgrades"}


@dataclass(frozen=True)
class Collected:
    name: str
    evr: str
    arch: str
    filename: str


@dataclass(frozen=True)
class Advisory:
    id: str
    type: str
    severity: str | None
    description: str
    updated: str
    reboot: bool
    packages: tuple[Collected, ...]

    def newer_than(self, package: Solvable) -> bool:
        pool = package.repo.pool
        return any(
            entry.name == package.name
            and entry.arch == package.arch
            and _compare(pool, package.nameid, entry.evr, package)
            for entry in self.packages
        )


def _compare(pool: Any, name: int, evr: str, package: Solvable) -> bool:
    """Whether `evr` is above the package's."""
    dependency = pool.rel2id(name, pool.str2id(evr), solv.REL_LT)
    return bool(package.matchesdep(solv.SOLVABLE_PROVIDES, dependency))


def read(text: str) -> Iterator[Advisory]:
    """The advisories of one updateinfo.xml, in its order."""
    for update in ET.fromstring(text) if text else ():  # noqa: S314  # The lab's own file.
        kind = update.get("type", "").capitalize()
        dates = [_seconds(update.find(tag)) for tag in ("issued", "updated")]
        packages = tuple(_collected(element) for element in update.iter("package"))
        yield Advisory(
            id=f"patch:{update.findtext('id')}",
            type=kind if kind in _TYPES else "Unknown",
            severity=update.findtext("severity"),
            description=update.findtext("description") or "",
            updated=time.strftime("%c", time.localtime(max(dates))),
            reboot=any(True for _ in update.iter("reboot_suggested")),
            packages=packages,
        )


def _seconds(element: ET.Element | None) -> int:
    text = element.get("date", "") if element is not None else ""
    if text.isdigit():
        return int(text)
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%d %H:%M:%S")) if text else 0


def _collected(element: ET.Element) -> Collected:
    version = f"{element.get('version')}-{element.get('release')}"
    epoch = element.get("epoch") or "0"
    evr = version if epoch == "0" else f"{epoch}:{version}"
    return Collected(element.get("name") or "", evr, element.get("arch") or "", element.findtext("filename") or "")


def pending(session: Session, sack: Sack, names: Sequence[str]) -> list[Advisory]:
    """The advisories for what is installed, under the options that filter; the last one first, as tdnf has it."""
    installed = sack.installed(names)
    if names and not installed:
        raise TdnfError(NO_MATCH)
    known = [
        advisory
        for repo in session.repos
        if repo.enabled
        for advisory in read(session.cache.text(repo, "updateinfo"))
        if _wanted(session, advisory)
    ]
    found = [advisory for package in installed for advisory in known if advisory.newer_than(package)]
    return found[::-1]


def _wanted(session: Session, advisory: Advisory) -> bool:
    arguments = session.arguments
    if arguments.flag("reboot-required") and not advisory.reboot:
        return False
    if arguments.flag("security"):
        return advisory.type == "Security"
    severity = arguments.value("sec-severity")
    if severity is None:
        return True
    return advisory.severity is not None and _number(severity) <= _number(advisory.severity)


def _number(text: str) -> float:
    """As C's atof: what is no number is 0."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def names_to_update(session: Session, sack: Sack) -> list[str]:
    """The packages that the pending advisories name."""
    found = pending(session, sack, [])
    if not found:
        session.console.info("\n0 updates.")
        raise no_data()
    return [entry.name for advisory in found for entry in reversed(advisory.packages)]


def updateinfo(session: Session) -> int:
    words = list(session.words)
    mode = next((mode for mode in _MODES[1:] if session.arguments.flag(mode)), "summary")
    if words and words[0] in _MODES:
        word = words.pop(0)
        mode = "summary" if word == "all" else word
    if words and words[0] in {*_SCOPES, "all"}:
        words.pop(0)
    found = pending(session, session.sack(), words)
    if mode == "summary":
        return _summary(session, found)
    if not found:
        session.console.info("\n0 updates.")
    (_json if session.arguments.json else _text)(session, found, full=mode == "info")
    return 0


def _summary(session: Session, found: Sequence[Advisory]) -> int:
    counts = {kind: sum(advisory.type == kind for advisory in found) for kind in _TYPES}
    if session.arguments.json:
        session.console.document(counts)
        return 0
    if not found:
        session.console.line("\n0 updates.")
        raise no_data()
    for kind, number in counts.items():
        if number:
            session.console.line(f"{number} {kind} notice(s)")
    return 0


def _json(session: Session, found: Sequence[Advisory], *, full: bool) -> None:
    documents = []
    for advisory in found:
        document: dict[str, Any] = {"Type": advisory.type, "UpdateID": advisory.id}
        if full:
            document |= {"Updated": advisory.updated, "NeedsReboot": advisory.reboot}
            document["Description"] = advisory.description
        document["Packages"] = [entry.filename for entry in reversed(advisory.packages)]
        documents.append(document)
    session.console.document(documents)


def _text(session: Session, found: Sequence[Advisory], *, full: bool) -> None:
    for advisory in found:
        for entry in reversed(advisory.packages):
            if not full:
                session.console.line(f"{advisory.id} {advisory.type} {entry.filename}")
                continue
            session.console.line(f"       Name : {entry.filename}")
            session.console.line(f"  Update ID : {advisory.id}")
            session.console.line(f"       Type : {advisory.type}")
            session.console.line(f"    Updated : {advisory.updated}")
            session.console.line(f"Needs Reboot: {int(advisory.reboot)}")
            session.console.line(f"Description : {advisory.description}")
