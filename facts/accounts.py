"""Users and groups of the host's own files, and the keys that let a user in."""

from __future__ import annotations

import re
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

_MARK = "##photon-fleet"
NEVER = 99999
"""passwd(5) and chage(1) call a password of this age one that never expires."""


class UserEntry(TypedDict):
    """Days are since 1970; None is what shadow(5) leaves empty, and what never comes.

    `password`: "locked", "none" (no password is needed), or the SHA-256 of the password's hash.
    """

    uid: int
    gid: int
    comment: str
    home: str
    shell: str
    password: str
    changed: int | None
    min_days: int | None
    max_days: int | None
    warn_days: int | None
    inactive_days: int | None
    expires: int | None


class GroupEntry(TypedDict):
    """`members` are those of the group file: a user's primary group does not list the user."""

    gid: int
    members: list[str]


class AllAccounts(TypedDict):
    """By name."""

    users: dict[str, UserEntry]
    groups: dict[str, GroupEntry]


class Accounts(FactBase[AllAccounts]):
    """
    Returns all users and groups of /etc/passwd, /etc/group and /etc/shadow:

    .. code:: python

        {"users": {"ops": {"uid": 1000, "gid": 1000, "comment": "", "home": "/home/ops", "shell": "/bin/bash",
                           "password": "locked", "changed": 20000, "min_days": 0, "max_days": None, "warn_days": 7,
                           "inactive_days": None, "expires": None}},
         "groups": {"wheel": {"gid": 28, "members": ["ops"]}}}

    Hashes of passwords never leave the host: what is compared is their SHA-256. Source of the format: passwd(5),
    group(5), shadow(5).
    """

    @override
    def command(self) -> str:
        return (
            f"cat /etc/passwd && echo '{_MARK}' && cat /etc/group && echo '{_MARK}' && "
            "while IFS=: read -r name hash rest; do case $hash in '') word=none;; '*'*|'!'*) word=locked;; "
            "*) word=$(printf %s \"$hash\" | sha256sum | cut -d' ' -f1);; esac; "
            f'echo "$name:$word:$rest"; done < /etc/shadow && echo "{_MARK}"'
        )

    @override
    def process(self, output: list[str]) -> AllAccounts:
        parts: list[list[list[str]]] = [[]]
        for line in output:
            if line == _MARK:
                parts.append([])
            elif line:
                parts[-1].append(line.split(":"))
        try:
            passwd, group, shadow, _ = parts
            ages = {fields[0]: fields[1:] for fields in shadow}
            return {
                "users": {fields[0]: _user(fields, ages.get(fields[0])) for fields in passwd},
                "groups": {
                    name: {"gid": int(gid), "members": [member for member in members.split(",") if member]}
                    for name, _, gid, members in group
                },
            }
        except (ValueError, IndexError) as error:
            message = f"the account files are not as passwd(5), group(5) and shadow(5) say: {error}"
            raise FactProcessError(message) from error


def _user(fields: list[str], shadow: list[str] | None) -> UserEntry:
    _, _, uid, gid, comment, home, shell = fields
    password, changed, least, most, warn, inactive, expires = (shadow or ["locked", *[""] * 7])[:7]
    most_days = _days(most)
    return {
        "uid": int(uid), "gid": int(gid), "comment": comment, "home": home, "shell": shell, "password": password,
        "changed": _days(changed), "min_days": _days(least),
        "max_days": None if most_days is not None and most_days >= NEVER else most_days,
        "warn_days": _days(warn), "inactive_days": _days(inactive), "expires": _days(expires),
    }  # fmt: skip


def _days(text: str) -> int | None:
    return int(text) if text and int(text) >= 0 else None


class KeyFile(TypedDict):
    """`home` is "" for a user that is not there; `mode`, `owner` and `lines` are those of authorized_keys."""

    home: str
    mode: int | None
    owner: str
    lines: list[str]


class AuthorizedKeys(FactBase[KeyFile]):
    """
    Returns a user's ~/.ssh/authorized_keys:

    .. code:: python

        {"home": "/root", "mode": 600, "owner": "root", "lines": ["ssh-ed25519 AAAA... me"]}

    Without the file, `mode` is None. Source of the format: getent(1), GNU coreutils' `stat -Lc`, sshd(8).
    """

    @override
    def command(self, user: str) -> StringCommand:
        return StringCommand(
            "home=$(getent passwd", QuoteString(user), "| cut -d: -f6);", 'echo "$home";',
            'f=$home/.ssh/authorized_keys; if [ -n "$home" ] && [ -f "$f" ];',
            'then stat -Lc "%a %U" -- "$f" && cat -- "$f"; else echo none; fi',
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> KeyFile:
        if len(output) < 2:  # noqa: PLR2004 - the home, and what is there
            message = f"expected a home directory and its file, found {output!r}"
            raise FactProcessError(message)
        home, status, *lines = output
        if status == "none":
            return {"home": home, "mode": None, "owner": "", "lines": []}
        found = re.fullmatch(r"(\d+) (\S+)", status)
        if not found:
            message = f"stat answered {status!r}"
            raise FactProcessError(message)
        return {"home": home, "mode": int(found[1]), "owner": found[2], "lines": lines}
