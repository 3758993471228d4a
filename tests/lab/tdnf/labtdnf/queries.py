"""Commands that only look: list, info, check-update, repolist, count, provides, search."""

from __future__ import annotations

from typing import Any

import solv  # Only the guest has it.

from .console import size, widths
from .errors import NO_MATCH, NO_SEARCH_RESULTS, TdnfError, no_data
from .sack import CAPABILITIES, SYSTEM, Sack, Solvable, download_size, install_size
from .session import Session

_SCOPES = {
    "all",
    "available",
    "downgrades",
    "extras",
    "installed",
    "obsoletes",
    "recent",
    "updates",
    "upgrades",
}
_COMPATIBLE_STATUS = 100


def _scope(session: Session) -> tuple[str, list[str]]:
    words = session.words
    if words and words[0] in _SCOPES:
        return words[0], words[1:]
    return next((scope for scope in sorted(_SCOPES) if session.arguments.flag(scope)), "all"), words


def _packages(session: Session, scope: str, names: list[str]) -> list[Solvable]:
    sack = session.sack()
    if scope in {"updates", "upgrades"}:
        return sack.newer(sack.installed(names))
    if scope == "downgrades":
        return sack.newer(sack.installed(names), -1)
    look = {"installed": sack.installed, "available": sack.available}.get(scope, sack.everything)
    found = look(names)
    if not found and (names or scope != "installed"):
        raise TdnfError(NO_MATCH)
    return found


def _found(session: Session, scope: str, names: list[str]) -> list[Solvable]:
    """With -j nothing found is an empty list, not an error."""
    try:
        return _packages(session, scope, names)
    except TdnfError as error:
        if session.arguments.json and error.number == NO_MATCH:
            return []
        raise


def _entry(package: Solvable) -> dict[str, Any]:
    return {"Name": package.name, "Arch": package.arch, "Evr": package.evr, "Repo": package.repo.name}


def _print(session: Session, packages: list[Solvable]) -> None:
    if session.arguments.json:
        session.console.document([_entry(package) for package in packages])
        return
    name, version, repo = widths([55, 25, 15])
    name, version = max(name - 1, 0), max(version - 1, 0)
    for package in packages:
        label = f"{package.name}.{package.arch}"
        session.console.line(f"{label:<{name}}  {package.evr:<{version}}  {package.repo.name:>{repo}}")


def list_(session: Session) -> int:
    _print(session, _found(session, *_scope(session)))
    return 0


def check_update(session: Session) -> int:
    packages = _found(session, "updates", session.words)
    compatible = session.config.true("dnf_check_update_compat")
    if session.arguments.json or compatible:
        _print(session, packages)
        return _COMPATIBLE_STATUS if compatible and packages else 0
    for package in packages:
        # Yes, a literal %s: tdnf 3.5.7 and later print no version here.
        session.console.line(f"{package.repo.name:>80}\r%s\r{package.name}.{package.arch}")
    return 0


def info(session: Session) -> int:
    packages = _found(session, *_scope(session))
    if session.arguments.json:
        session.console.document([_details(package) for package in packages])
        return 0
    for package in packages:
        for line in _description(package):
            session.console.line(line)
    total = sum(install_size(package) for package in packages)
    session.console.line(f"\nTotal Size: {size(total)} ({total})")
    return 0


def _texts(package: Solvable) -> dict[str, str]:
    keys = {"Url": solv.SOLVABLE_URL, "Summary": solv.SOLVABLE_SUMMARY}
    keys |= {"License": solv.SOLVABLE_LICENSE, "Description": solv.SOLVABLE_DESCRIPTION}
    return {name: package.lookup_str(key) or "" for name, key in keys.items()}


def _details(package: Solvable) -> dict[str, Any]:
    texts = _texts(package)
    details = {**_entry(package), "Url": texts.pop("Url"), "InstallSize": install_size(package)}
    if package.repo.name != SYSTEM:
        details["DownloadSize"] = download_size(package)
    return {**details, **texts}


def _description(package: Solvable) -> list[str]:
    epoch, _, rest = package.evr.rpartition(":")
    version, _, release = rest.partition("-")
    texts = _texts(package)
    installed = install_size(package)
    lines = [
        f"Name          : {package.name}",
        f"Arch          : {package.arch}",
        f"Epoch         : {epoch or 0}",
        f"Version       : {version}",
        f"Release       : {release}",
        f"Install Size  : {size(installed)} ({installed})",
    ]
    if package.repo.name != SYSTEM:
        download = download_size(package)
        lines.append(f"Download Size  : {size(download)} ({download})")
    return [
        *lines,
        f"Repo          : {package.repo.name}",
        f"Summary       : {texts['Summary']}",
        f"URL           : {texts['Url']}",
        f"License       : {texts['License']}",
        f"Description   : {texts['Description']}",
        "",
    ]


def repolist(session: Session) -> int:
    wanted = session.words[0] if session.words else "enabled"
    if wanted not in {"all", "enabled", "disabled"}:
        raise TdnfError(901)
    rows = [("@cmdline", "@cmdline", False), *((repo.id, repo.name, repo.enabled) for repo in session.repos)]
    rows = [row for row in rows if wanted == "all" or row[2] == (wanted == "enabled")]
    if session.arguments.json:
        keys = ("Repo", "RepoName", "Enabled")
        session.console.document([dict(zip(keys, row, strict=True)) for row in rows])
        return 0
    if rows:
        session.console.line(f"{'repo id':<19} {'repo name':<40} {'status':<9}")
    for id_, name, enabled in rows:
        session.console.line(f"{id_:<19} {name:<40} {'enabled' if enabled else 'disabled':<9}")
    return 0


def count(session: Session) -> int:
    number = len(list(session.sack(advisories=True).pool.solvables))
    if session.arguments.json:
        session.console.document(number)
    else:
        session.console.line(f"Package count = {number}")
    return 0


def provides(session: Session) -> int:
    if not session.words:
        raise TdnfError(907)
    # The last one first, as tdnf builds its list from the front.
    packages = session.sack().query(session.words, flags=CAPABILITIES)[::-1]
    if not packages:
        raise no_data()
    if session.arguments.json:
        keys = ("Name", "Arch", "Evr")
        session.console.document(
            [{**{key: _entry(package)[key] for key in keys}, "Summary": _summary(package)} for package in packages]
        )
        return 0
    for package in packages:
        session.console.line(f"{package.name}-{package.evr}.{package.arch} : {_summary(package)}")
        session.console.line(f"Repo\t : {package.repo.name}")
    return 0


def _summary(package: Solvable) -> str:
    return package.lookup_str(solv.SOLVABLE_SUMMARY) or ""


def search(session: Session) -> int:
    words = session.words
    if words and words[0].lower().startswith("all"):
        words = words[1:]
    found = [package for word in words for package in _matching(session.sack(advisories=True), word)]
    if session.arguments.json:
        session.console.document([{"Name": package.name, "Summary": _summary(package)} for package in found])
        return 0
    if not found:
        raise TdnfError(NO_SEARCH_RESULTS)
    for package in found:
        session.console.line(f"{package.name} : {_summary(package)}")
    return 0


def _matching(sack: Sack, word: str) -> list[Solvable]:
    """Packages with the word in the name, then in the summary, then in the description; each only once."""
    mode = solv.Dataiterator.SEARCH_SUBSTRING | solv.Dataiterator.SEARCH_NOCASE
    found: dict[int, Solvable] = {}
    for key in (solv.SOLVABLE_NAME, solv.SOLVABLE_SUMMARY, solv.SOLVABLE_DESCRIPTION):
        for match in sack.pool.Dataiterator(key, word, mode):
            found.setdefault(match.solvid, match.solvable)
    return list(found.values())
