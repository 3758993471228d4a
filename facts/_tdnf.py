"""What tdnf and rpm print, as values. Pure: an answer in, values out, or an `AnswerError`.

Held to recordings of tdnf 3.3.11, 3.5.9 and 3.6.0-dev in tests/transcripts/tdnf.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from facts._answer import Answer, AnswerError, decode, troubles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facts._types import Advisory, Package, Plan, Repository, TdnfVersionInfo, Update

Step = Literal["install", "upgrade", "downgrade", "reinstall", "remove", "obsolete"]
_CVE = re.compile(r"CVE-\d{4}-\d{4,}")
_INSTALLED = re.compile(r"(\S+) ((?:\d+:)?[^\s:-]+-[^\s:-]+) (\w+)")
_VERSION = re.compile(r"(?:tdnf: )?(?P<version>\d+(?:\.\d+)+\S*)")
_STEPS: tuple[Step, ...] = ("install", "upgrade", "downgrade", "reinstall", "remove", "obsolete")


def _text(row: dict[str, Any], key: str) -> str:
    """A field that must be a string.

    Raises:
        AnswerError: it is missing, or something else.
    """
    value = row.get(key)
    if not isinstance(value, str):
        message = f"tdnf's answer has an entry without {key}"
        raise AnswerError(message)
    return value


def updates(listed: Iterable[dict[str, Any]]) -> list[Update]:
    """The entries of `check-update` and `list`, each once."""
    found: list[Update] = []
    for row in listed:
        entry: Update = {
            "name": _text(row, "Name"),
            "arch": _text(row, "Arch"),
            "evr": _text(row, "Evr"),
            "repo": str(row.get("Repo", "")),
        }
        if entry not in found:
            found.append(entry)
    return found


def plan(given: Answer) -> Plan:
    """The transaction that tdnf announced with `-j`. Nothing to do is an empty plan without trouble.

    The epoch is missing in all of it, in every version.

    Raises:
        AnswerError: an entry without name, architecture or version.
    """
    decoded = decode(given.stdout)
    result: Plan = {
        "install": [], "upgrade": [], "downgrade": [], "reinstall": [], "remove": [], "obsolete": [],
        "trouble": troubles(given, decoded),
    }  # fmt: skip
    for document in decoded.documents:
        for step in _STEPS if isinstance(document, dict) else ():
            listed = document.get(step.capitalize())
            if isinstance(listed, list):
                result[step] = updates(row for row in listed if isinstance(row, dict))
    return result


def repositories(listed: Iterable[dict[str, Any]]) -> dict[str, Repository]:
    """The entries of `repolist all`, without tdnf's own @cmdline."""
    named = {_text(row, "Repo"): row for row in listed}
    return {
        repo: {"name": str(row.get("RepoName", "")), "enabled": row.get("Enabled") is True}
        for repo, row in sorted(named.items())
        if not repo.startswith("@")
    }


def advisories(listed: Iterable[dict[str, Any]]) -> list[Advisory]:
    """The entries of `updateinfo info`, one per advisory: tdnf repeats them for every installed package."""
    found: dict[str, Advisory] = {}
    for row in listed:
        identity = _text(row, "UpdateID").removeprefix("patch:")
        packages = row.get("Packages")
        names = {str(item).removesuffix(".rpm") for item in packages} if isinstance(packages, list) else set()
        description = str(row.get("Description", ""))
        known = found.get(identity)
        found[identity] = {
            "id": identity,
            "type": _text(row, "Type").lower(),
            "updated": str(row.get("Updated", "")),
            "reboot": row.get("NeedsReboot") is True,
            "cves": sorted(set(_CVE.findall(description))),
            "description": description,
            "packages": sorted(names | set(known["packages"] if known else ())),
        }
    return [found[identity] for identity in sorted(found)]


def version(given: Answer) -> TdnfVersionInfo:
    """The answer of `tdnf --version`, with what that version can do.

    The features come from the version: they were added with it, and a probe for each would cost a run.
    """
    trouble = troubles(given)
    match = _VERSION.match(given.stdout.strip())
    if match is None:
        return {"version": None, "features": [], "trouble": trouble or ["tdnf did not say its version"]}
    found = match["version"]
    known = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    return {
        "version": found,
        "features": sorted(name for name, since in FEATURES.items() if known >= since),
        "trouble": trouble,
    }


FEATURES = {
    "minversions": (3, 1),
    "json": (3, 3),
    "locks": (3, 3),
    "noautoremove": (3, 3),
    "repoquery": (3, 3),
    "history": (3, 5),
    "mark": (3, 5),
    "protected": (3, 5),
    "queryformat": (3, 6),
    "snapshot": (3, 6),
    "vars": (3, 6),
}
"""Since which version tdnf has what an operation may want to use."""


def installed(lines: Iterable[str]) -> dict[str, list[Package]]:
    """The lines `name evr arch` of `rpm -qa`.

    A name may be there more than once: kernels, or what an interrupted update left.

    Raises:
        AnswerError: a line of another form.
    """
    found: dict[str, list[Package]] = {}
    for line in lines:
        match = _INSTALLED.fullmatch(line)
        if match is None:
            message = f"rpm -qa printed {line!r}"
            raise AnswerError(message)
        name, evr, arch = match.groups()
        if name != "gpg-pubkey":
            found.setdefault(name, []).append({"evr": evr, "arch": arch})
    return {name: sorted(found[name], key=lambda one: (one["evr"], one["arch"])) for name in sorted(found)}
