"""What ostree and rpm-ostree print, as values. Pure: an answer in, values out, or an `AnswerError`.

Held to recordings of ostree 2022.7 (Photon 4's; Photon 5's 2023.5 prints the same) in tests/transcripts/ostree, and to
documents of rpm-ostree 2019.3 to 2023.10 in tests/transcripts/rpm-ostree.

Contract: the text of `ostree admin status` tells no roles that can be relied on (a pending deployment under a staged
one has no mark), so that roles are worked out from the order, as rpm-ostree does: see `with_roles`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from facts import _answer
from facts._answer import Answer, AnswerError

if TYPE_CHECKING:
    from collections.abc import Iterable

TIME_LIMIT = 60
"""Seconds for what only reads. `ostree admin` waits for its lock for ever."""
MARK = "##OSTREE-EXIT "
PACKAGE_HOST = "= packages"
IMAGE_HOST = "/run/ostree-booted"

_HEADER = re.compile(
    r"(?P<booted>[* ]) (?P<stateroot>\S+) (?P<checksum>[0-9a-f]{64})\.(?P<serial>\d+)(?: \((?P<is>.*)\))?"
)
_DETAIL = re.compile(r"    (?P<key>Version|Unlocked|Pinned|origin refspec|origin): (?P<value>.*)")
_COMMIT = re.compile(r"commit (?P<checksum>[0-9a-f]{64})")
_FIELD = re.compile(r"(?P<key>Parent|Date|Version):\s+(?P<value>.*)")
_CHANGES = {"M": "modified", "D": "removed", "A": "added"}
_CHANGE = re.compile(r"(?P<kind>[MDA])    (?P<path>\S.*)")
_REFSPEC = re.compile(r"(?P<remote>[A-Za-z0-9_][\w.-]*):(?P<ref>[\w.][\w./-]*)")

Tool = Literal["rpm-ostree", "ostree"]
Role = Literal["booted", "staged", "locked", "pending", "rollback", "pinned"]


class Deployment(TypedDict):
    """One deployment; its place in the list is the index that `ostree admin` takes, until the next change.

    `base_checksum` is the commit as the repository has it: another than `checksum` where packages are layered.
    `origin` is `remote:ref`, a checksum, a container image, or None. `layered`, `removed` and `overridden` are the
    packages that are asked for, which only rpm-ostree knows.
    """

    stateroot: str
    checksum: str
    serial: int
    roles: list[Role]
    origin: str | None
    base_checksum: str
    version: str | None
    layered: list[str]
    removed: list[str]
    overridden: list[str]
    unlocked: str


class ImageHost(TypedDict):
    """`busy` is what rpm-ostree does at the moment; the first deployment is what the next boot starts."""

    tool: Tool
    busy: str | None
    deployments: list[Deployment]


class Commit(TypedDict):
    """One commit of a branch."""

    checksum: str
    parent: str | None
    version: str | None
    date: str
    subject: str


class Difference(TypedDict):
    """A file below /etc that is not as the image has it."""

    path: str
    change: str


def framed(run: str, seconds: int = TIME_LIMIT, *, again: bool = False) -> str:
    """A shell command that runs `run` with a time limit and prints stderr, a mark with the status, stdout.

    With `again` a failure is tried once more: rpm-ostree's daemon can be met while it ends from idleness.
    """
    one = f"LC_ALL=C.UTF-8 timeout -k 10 {seconds} {run} 2>&3 </dev/null"
    both = f"out=$({one}) || {{ sleep 2; out=$({one}); }}" if again else f"out=$({one})"
    return f'{{ {both}; rc=$?; }} 3>&1; printf \'\\n{MARK}%s\\n%s\\n\' "$rc" "$out"'


def answer(lines: list[str]) -> Answer:
    """What `framed` printed.

    Raises:
        AnswerError: the mark is missing, so the shell did not get to the end.
    """
    return _answer.answer(lines, "ostree", MARK)


def split_refspec(origin: str | None) -> tuple[str, str] | None:
    """Remote and ref of an origin; None for one that follows no branch of a remote."""
    match = _REFSPEC.fullmatch(origin or "")
    return (match["remote"], match["ref"]) if match else None


def text_deployments(text: str) -> list[Deployment]:
    """The deployments that `ostree admin status` lists.

    Raises:
        AnswerError: a line of another form, or none at all.
    """
    found: list[Deployment] = []
    booted = None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("Waiting for sysroot lock")]
    if lines == ["No deployments."]:
        return []
    for line in lines:
        if match := _HEADER.fullmatch(line):
            found.append(_blank(match["stateroot"], match["checksum"], int(match["serial"])))
            booted = len(found) - 1 if match["booted"] == "*" else booted
            if (match["is"] or "").startswith("staged"):
                found[-1]["roles"].append("staged")
        elif found and (match := _DETAIL.fullmatch(line)):
            _add_detail(found[-1], match["key"], match["value"])
        elif not found or not line.startswith(("    `- ", "    GPG: ", "GPG: ")):
            message = f"ostree admin status printed {line!r}"
            raise AnswerError(message)
    if not found:
        message = "ostree admin status printed nothing"
        raise AnswerError(message)
    return with_roles(found, booted)


def _blank(stateroot: str, checksum: str, serial: int) -> Deployment:
    return {
        "stateroot": stateroot, "checksum": checksum, "serial": serial, "roles": [], "origin": None,
        "base_checksum": checksum, "version": None, "layered": [], "removed": [], "overridden": [], "unlocked": "none",
    }  # fmt: skip


def _add_detail(deployment: Deployment, key: str, value: str) -> None:
    if key == "Version":
        deployment["version"] = value
    elif key == "Unlocked":
        deployment["unlocked"] = value
    elif key == "Pinned" and value == "yes":
        deployment["roles"].append("pinned")
    elif key == "origin refspec":
        deployment["origin"] = value


def with_roles(deployments: list[Deployment], booted: int | None) -> list[Deployment]:
    """The same deployments with the roles that follow from their order.

    Pending is the first before the booted one, and rollback the first after it, of the booted one's stateroot: what
    ostree's own query says. Where nothing is booted (a disk that is looked at from outside) there is neither.
    """
    own = [] if booted is None else [
        index for index, each in enumerate(deployments) if each["stateroot"] == deployments[booted]["stateroot"]
    ]  # fmt: skip
    for index, deployment in enumerate(deployments):
        roles: set[Role] = set(deployment["roles"])
        if index == booted:
            roles.add("booted")
        elif booted is not None and index in own:
            if index < booted and index == own[0]:
                roles.add("pending")
            if index > booted and own.index(index) == own.index(booted) + 1:
                roles.add("rollback")
        order: tuple[Role, ...] = ("booted", "staged", "locked", "pending", "rollback", "pinned")
        deployment["roles"] = [role for role in order if role in roles]
    return deployments


def json_status(text: str) -> tuple[list[Deployment], str | None]:
    """The deployments of `rpm-ostree status --json`, and what its daemon does at the moment.

    Raises:
        AnswerError: it is no such document.
    """
    try:
        document = json.loads(text)
        listed = document["deployments"]
        found = [_from_json(each) for each in listed]
        booted = [index for index, each in enumerate(listed) if each["booted"] is True]
        transaction = document.get("transaction")
        busy = None if transaction is None else str(transaction[0])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        message = f"rpm-ostree status --json printed no such document: {type(error).__name__}: {error}"
        raise AnswerError(message) from error
    return with_roles(found, booted[0] if booted else None), busy


def _from_json(given: dict[str, Any]) -> Deployment:
    found = _blank(str(given["osname"]), str(given["checksum"]), int(given["serial"]))
    origin = given.get("origin", given.get("container-image-reference"))
    if origin is not None:
        found["origin"] = str(origin).removeprefix("ostree://")
    found["base_checksum"] = str(given.get("base-checksum", found["checksum"]))
    found["version"] = None if given.get("version") is None else str(given["version"])
    found["unlocked"] = str(given.get("unlocked", "none"))
    found["layered"] = _names(given, "requested-packages", "requested-local-packages")
    found["removed"] = _names(given, "requested-base-removals")
    remote = [name for _, names in given.get("requested-base-remote-replacements") or [] for name in names]
    found["overridden"] = sorted({*_names(given, "requested-base-local-replacements"), *map(str, remote)})
    # Before 2021 the key `staged` is there only when it is true.
    if given.get("staged") is True:
        found["roles"].append("staged")
    if given.get("finalization-locked") is True:
        found["roles"].append("locked")
    if given.get("pinned") is True:
        found["roles"].append("pinned")
    return found


def _names(given: dict[str, Any], *keys: str) -> list[str]:
    return sorted({str(name) for key in keys for name in given.get(key) or []})


def log(text: str) -> list[Commit]:
    """The commits that `ostree log` prints, newest first.

    Raises:
        AnswerError: there is none.
    """
    found: list[Commit] = []
    in_header = False
    for line in text.splitlines():
        if match := _COMMIT.fullmatch(line):
            found.append({"checksum": match["checksum"], "parent": None, "version": None, "date": "", "subject": ""})
            in_header = True
        elif not found:
            continue
        elif in_header and (match := _FIELD.fullmatch(line)):
            key: Literal["parent", "date", "version"] = match["key"].lower()  # type: ignore[assignment]
            found[-1][key] = match["value"]
        elif not line.strip():
            in_header = False
        elif not in_header and line.startswith("    ") and not found[-1]["subject"]:
            found[-1]["subject"] = line.strip()
    if not found:
        message = "ostree log named no commit"
        raise AnswerError(message)
    return found


def differences(text: str) -> list[Difference]:
    """The lines of `ostree admin config-diff`.

    Raises:
        AnswerError: a line of another form.
    """
    found: list[Difference] = []
    for line in text.splitlines():
        if match := _CHANGE.fullmatch(line):
            found.append({"path": f"/etc/{match['path']}", "change": _CHANGES[match["kind"]]})
        elif line.strip():
            message = f"ostree admin config-diff printed {line!r}"
            raise AnswerError(message)
    return sorted(found, key=lambda each: each["path"])


def having(deployments: Iterable[Deployment], role: Role) -> Deployment | None:
    """The first deployment with a role."""
    return next((each for each in deployments if role in each["roles"]), None)
