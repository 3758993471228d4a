"""What a package host has noted before its last update, as values. Pure, as _tdnf.py."""

from __future__ import annotations

from typing import TypedDict

from facts._answer import AnswerError


class Point(TypedDict):
    """`at`: when it was noted; what was there then and is not now, and the other way round, as (name, e:v-r).

    `of` is the rollout that has updated, "" for none; `over` are others whose updates were still there then. `undone`:
    it was gone back to. `unproved`: no proof has passed since. `boot` is the one in which it was noted, `failing` what
    failed before.
    """

    at: str
    boot: str
    of: str
    over: list[str]
    undone: bool
    unproved: bool
    failing: list[str]
    gone: list[tuple[str, str]]
    arrived: list[tuple[str, str]]


def point(lines: list[str]) -> Point | None:
    """What `UpdatePoint` printed.

    Raises:
        AnswerError: something else.
    """
    if lines == ["none"]:
        return None
    values = {"at": "", "boot": "", "of": ""}
    listed: dict[str, list[str]] = {"failing": [], "over": []}
    changed: dict[str, list[tuple[str, str]]] = {"gone": [], "arrived": []}
    for line in lines:
        word, _, rest = line.partition(" ")
        if word in values:
            values[word] = rest
        elif word in listed:
            listed[word].append(rest)
        elif word in changed and rest:
            name, version, *_ = rest.split()
            changed[word].append((name, version))
    if not values["at"] or lines[-1:] != ["end"]:
        message = f"the point that the host could go back to cannot be read: {lines[-1:]!r}"
        raise AnswerError(message)
    return {
        "at": values["at"], "boot": values["boot"], "of": values["of"], "over": listed["over"],
        "undone": "undone" in lines, "unproved": "unproved" in lines, "failing": listed["failing"],
        "gone": changed["gone"], "arrived": changed["arrived"],
    }  # fmt: skip
