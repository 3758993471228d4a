"""What is mounted where, what is to be, and what a directory is that something is to be mounted on."""

from __future__ import annotations

import re
from typing import Literal, TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override


class Mount(TypedDict):
    """`root` is the directory of the file system that is seen there, such as a btrfs subvolume."""

    source: str
    root: str
    kind: str
    options: list[str]


class Mounts(FactBase[dict[str, Mount]]):
    """
    Returns what is mounted where; of several mounts at one place the one that is seen:

    .. code:: python

        {"/data": {"source": "/dev/sdb", "root": "/", "kind": "ext4", "options": ["rw", "noatime"]}}

    Asks the kernel's list and no file system, so a server that is gone does not hold it up. Source of the format:
    proc(5), /proc/[pid]/mountinfo.
    """

    @override
    def command(self) -> StringCommand:
        return StringCommand("cat /proc/self/mountinfo")

    @staticmethod
    @override
    def default() -> dict[str, Mount]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, Mount]:
        found: dict[str, Mount] = {}
        for line in output:
            before, dash, after = line.partition(" - ")
            left, right = before.split(" "), after.split(" ")
            if not dash or len(left) < 6 or len(right) < 3:  # noqa: PLR2004 - the columns of the format
                message = f"mountinfo has the line {line!r}"
                raise FactProcessError(message)
            options = [*left[5].split(","), *right[2].split(",")]
            found[_plain(left[4])] = {
                "source": _plain(right[1]), "root": _plain(left[3]), "kind": right[0],
                "options": list(dict.fromkeys(options)),
            }  # fmt: skip
        return found


def _plain(value: str) -> str:
    """Undo the kernel's encoding of blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), value)


class Place(TypedDict):
    """`real` is the path without symbolic links; mode, user and group are "" when nothing is there.

    `remote`: it is on a network file system or an automount, and was not looked at.
    """

    real: str
    kind: Literal["absent", "directory", "other", "remote"]
    empty: bool
    mode: str
    user: str
    group: str


class Directory(FactBase[Place]):
    """
    Returns what a directory is, whether something is in it, and where its path leads without symbolic links:

    .. code:: python

        {"real": "/data", "kind": "directory", "empty": False, "mode": "755", "user": "root", "group": "root"}

    What is on a network file system or an automount is not touched: its server may be gone. Source of the format: GNU
    coreutils `readlink`, `stat`.
    """

    @override
    def command(self, path: str) -> StringCommand:
        script = (
            'while read -r _ _ _ _ at _ rest; do case $rest in *" - nfs"*|*" - autofs "*|*" - cifs "*) '
            'case $1/ in "$at"/*) echo "$1"; echo remote; exit;; esac;; esac; done < /proc/self/mountinfo; '
            'readlink -m -- "$1" || exit 1; if [ -d "$1" ]; then '
            '[ -n "$(find -H "$1" -mindepth 1 -maxdepth 1 -print -quit)" ] && echo full || echo empty; '
            'stat -Lc "%a %U %G" -- "$1"; elif [ -e "$1" ] || [ -L "$1" ]; then echo other; else echo absent; fi'
        )
        return StringCommand("sh -c", QuoteString(script), "sh", QuoteString(path))

    @override
    def process(self, output: list[str]) -> Place:
        match output:
            case [real, "absent" | "other" | "remote" as kind]:
                return {"real": real, "kind": kind, "empty": True, "mode": "", "user": "", "group": ""}
            case [real, "full" | "empty" as content, owner] if len(owner.split()) == 3:  # noqa: PLR2004 - as stat was told
                mode, user, group = owner.split()
                return {
                    "real": real, "kind": "directory", "empty": content == "empty", "mode": mode, "user": user,
                    "group": group,
                }  # fmt: skip
        message = f"the directory was described as {output!r}"
        raise FactProcessError(message)


class RootState(TypedDict):
    """`writable` is about /usr, which is read-only on a host whose system cannot be changed in place."""

    ostree: bool
    kind: str
    writable: bool


class RootFilesystem(FactBase[RootState]):
    """
    Returns what the root file system is, and whether /usr can be written:

    .. code:: python

        {"ostree": False, "kind": "ext4", "writable": True}

    Source of the format: /run/ostree-booted (ostree(1)), findmnt(8).
    """

    @override
    def command(self) -> StringCommand:
        script = (
            "if [ -e /run/ostree-booted ]; then echo ostree; else echo plain; fi; findmnt -nro FSTYPE / | tail -n 1; "
            "if [ -w /usr ]; then echo writable; else echo read-only; fi"
        )
        return StringCommand("sh -c", QuoteString(script))

    @override
    def process(self, output: list[str]) -> RootState:
        match output:
            case ["ostree" | "plain" as system, kind, "writable" | "read-only" as usr]:
                return {"ostree": system == "ostree", "kind": kind, "writable": usr == "writable"}
        message = f"the root file system was described as {output!r}"
        raise FactProcessError(message)


class Fstab(FactBase[list[str]]):
    """
    Returns the lines of /etc/fstab; none when there is no such file:

    .. code:: python

        ["UUID=1b2c / ext4 defaults 1 1"]

    Source of the format: fstab(5).
    """

    @override
    def command(self) -> StringCommand:
        return StringCommand("! test -e /etc/fstab || cat /etc/fstab")

    @staticmethod
    @override
    def default() -> list[str]:
        return []

    @override
    def process(self, output: list[str]) -> list[str]:
        return list(output)
