"""Users, groups and the keys that let users in."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.accounts import Accounts, AllAccounts, UserEntry
from operations._contain import Commands, comes_first, operation, read
from operations.sshd import Refusal, require_access

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
HASH = re.compile(r"\$(?:2[aby]|5|6|7|gy|y)\$[./A-Za-z0-9$,=]+")
"""A hash of crypt(5)."""


ANY = -2
"""A number of days that is left as it is; -1 is shadow(5)'s own word for never."""


def require_name(*names: str) -> None:
    """Refuse what useradd would refuse, or take for an option.

    Raises:
        OperationError: no name of a user or group.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            message = f"{name!r} is no name of a user or group: lower-case letters, digits, _ and -"
            raise OperationError(message)


def require_hash(password_hash: str) -> None:
    """Refuse what is no hash of crypt(5); it is not repeated.

    Raises:
        OperationError: a plain password, or something else.
    """
    if not HASH.fullmatch(password_hash):
        message = "the password is no hash of crypt(5) such as $6$...: make one with `openssl passwd -6`"
        raise OperationError(message)


def _has_password(entry: UserEntry, password_hash: str) -> bool:
    if not password_hash:
        return entry["password"] == "locked"  # noqa: S105 - what the fact calls it
    return entry["password"] == hashlib.sha256(password_hash.encode()).hexdigest()


@operation()
def group(group: str, gid: int | None = None, *, system: bool = False) -> Commands:
    """
    Make sure that a group is there.

    + group: its name
    + gid: its number; when the group has another one, the host is refused, as its files would be left behind
    + system: makes a new group with a number of the system's range
    """
    require_name(group)
    found = read(Accounts)["groups"].get(group)
    if found is not None:
        if gid is not None and found["gid"] != gid:
            message = f"group {group} has the number {found['gid']}, and not {gid}: files of the old one would be lost"
            raise OperationError(message)
        host.noop(f"group {group} is there")
        return
    options = [*(["-g", str(gid)] if gid is not None else []), *(["-r"] if system else [])]
    yield StringCommand(" ".join(["groupadd", *options, group]))


def _identity(entry: Mapping[str, object], wanted: dict[str, str]) -> list[str]:
    """Options of useradd and usermod for what differs."""
    flags = {"comment": "-c", "home": "-d", "shell": "-s"}
    return [f"{flags[field]} {shlex.quote(value)}" for field, value in wanted.items() if entry[field] != value]


def _ageing(entry: UserEntry | None, wanted: dict[str, int | None]) -> list[str]:
    """Options of chage for what differs; -1 is what never comes."""
    flags = {"min_days": "-m", "max_days": "-M", "warn_days": "-W", "inactive_days": "-I", "expires": "-E"}
    options = []
    for field, value in wanted.items():
        actual = entry[field] if entry else ...  # type: ignore[literal-required]
        # No minimum and no warning are the same as 0 days of them.
        if actual != value and not (field in {"min_days", "warn_days"} and {actual, value} == {None, 0}):
            options.append(f"{flags[field]} {-1 if value is None else value}")
    if entry and entry["changed"] == 0:
        # "To be changed at the next login" refuses logins by key, too.
        options.append('-d "$(date +%F)"')
    return options


def _new_user(user: str, group: str, groups: Sequence[str], identity: dict[str, str], numbers: list[str]) -> str:
    """The command that makes a user; Photon's useradd makes no group of its own unless it is told to."""
    options = [*numbers, f"-g {group}" if group else "-U", *([f"-G {','.join(groups)}"] if groups else [])]
    options += _identity(dict.fromkeys(identity, ...), identity)
    return f"useradd -m {' '.join(options)} {user}"


def _changed_user(
    user: str, group: str, groups: Sequence[str], identity: dict[str, str], known: AllAccounts
) -> list[str]:
    """The command that changes what differs of a user, when something does."""
    entry = known["users"][user]
    options = _identity(entry, identity)
    primary = known["groups"].get(group or user)
    if primary is None or entry["gid"] != primary["gid"]:
        options.append(f"-g {group or user}")
    joins = [name for name in groups if name not in known["groups"] or user not in known["groups"][name]["members"]]
    options += [f"-aG {','.join(joins)}"] if joins else []
    return [f"usermod {' '.join(options)} {user}"] if options else []


def _require_groups(user: str, group: str, groups: Sequence[str], known: AllAccounts) -> None:
    wanted = {*([group] if group else []), *groups, *([user] if user in known["users"] and not group else [])}
    missing = sorted(wanted - set(known["groups"]))
    if missing:
        comes_first(f"user {user}: there is no group {', '.join(missing)} on this host")


@operation()
def user(
    user: str,
    uid: int | None = None,
    group: str = "",
    groups: Sequence[str] = (),
    home: str = "",
    shell: str = "/bin/bash",
    comment: str = "",
    *,
    system: bool = False,
) -> Commands:
    """
    Make sure that a user is there, with this identity and in these groups. A new one has a locked password.

    + user: its name
    + uid: its number; when the user has another one, the host is refused, as its files would be left behind
    + group: its primary group, one of its own name when empty
    + groups: further groups; others that it is in are left alone
    + home: /home/NAME when empty; made for a new user, and not moved for one that is there
    + shell: its login shell
    + comment: its full name
    + system: makes a new user with a number of the system's range
    """
    require_name(user, *([group] if group else []), *groups)
    known = read(Accounts)
    entry = known["users"].get(user)
    if entry is not None and uid is not None and entry["uid"] != uid:
        message = f"user {user} has the number {entry['uid']}, and not {uid}: its files would be lost"
        raise OperationError(message)
    _require_groups(user, group, groups, known)
    identity = {"comment": comment, "home": home or f"/home/{user}", "shell": shell}
    if entry is None:
        numbers = [*([f"-u {uid}"] if uid is not None else []), *(["-r"] if system else [])]
        yield StringCommand(f"{_new_user(user, group, groups, identity, numbers)} && usermod -p '*' {user}")
        return
    steps = _changed_user(user, group, groups, identity, known)
    if not steps:
        host.noop(f"user {user} is as wanted")
    for step in steps:
        yield StringCommand(step)


@operation()
def password(
    user: str,
    password_hash: str | None = None,
    min_days: int | None = ANY,
    max_days: int | None = ANY,
    warn_days: int | None = ANY,
    inactive_days: int | None = ANY,
    expires: int | None = ANY,
) -> Commands:
    """
    Make sure that a user has this password, and how it ages. What is not given is left as it is.

    + user: who must be there
    + password_hash: a hash of crypt(5); "" locks the password (keys still let in)
    + min_days: days before it may be changed
    + max_days: days before it must be, None for never. An expired password refuses logins by key as well
    + warn_days: days of warning before that
    + inactive_days: days after that before the account is closed, None for never
    + expires: day (since 1970) at which the account ends, None for never

    A password that must be changed at the next login (of a fresh image) is set to have been changed today.
    """
    require_name(user)
    if password_hash:
        require_hash(password_hash)
    entry = read(Accounts)["users"].get(user)
    wanted = {"min_days": min_days, "max_days": max_days, "warn_days": warn_days, "inactive_days": inactive_days,
              "expires": expires}  # fmt: skip
    ageing = _ageing(entry, {field: value for field, value in wanted.items() if value is not ANY})
    steps = [f"chage {' '.join(ageing)} {user}"] if ageing else []
    new_password = password_hash is not None and not (entry and _has_password(entry, password_hash))
    if new_password and not password_hash:
        steps.append(f"usermod -p '*' {user}")
    if new_password and password_hash:
        # On standard input: arguments are seen by every user of the host.
        yield StringCommand(" && ".join(["chpasswd -e", *steps]), _stdin=f"{user}:{password_hash}\n")
    elif steps:
        yield StringCommand(" && ".join(steps))
    else:
        host.noop(f"the password of {user} is as wanted")


@operation()
def removed_user(user: str, refuse: Refusal) -> Commands:
    """
    Make sure that there is no user of a name. Its home and its files stay.

    + user: its name, not root
    + refuse: given the connection of this run (or None when it is not known), returns why the removal would take its
      login, or None. With a reason nothing is changed and the host fails
    """
    require_name(user)
    if user == "root":
        message = "root cannot be removed"
        raise OperationError(message)
    if user not in read(Accounts)["users"]:
        host.noop(f"there is no user {user}")
        return
    require_access(refuse)
    yield StringCommand(f"userdel {user}")
