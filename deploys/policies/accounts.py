"""Users, groups, keys, sudo and the root account.

Accounts that the policy does not name are left alone. Nothing it does lets a password expire under a key: sshd asks PAM
about the account even when a key has let the user in, and an expired password refuses every command then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from pyinfra import host
from typing_extensions import override

from deploys.policies.accounts_models import Account, Group, Root, Sudo, User
from deploys.policies.base import Check, Contains, Policy, Risk, Undo, file_check
from deploys.policies.render import render
from deploys.policies.secret import Secret
from facts.ssh import Connection
from operations import accounts, file, keys, tdnf
from operations.keys import identity_of_key

if TYPE_CHECKING:
    from testinfra.host import Host

SUDOERS = "/etc/sudoers.d/photon-fleet"
FILES = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid")


class Accounts(Policy):
    """Who is known to the host, and what they may do."""

    name: ClassVar[str] = "accounts"
    risk: ClassVar[Risk] = Risk.CONNECTIVITY

    root: Root = Field(default_factory=Root)
    groups: tuple[Group, ...] = ()
    users: tuple[User, ...] = ()
    absent_users: tuple[Account, ...] = ()
    """Removed; their homes and files stay."""
    sudo: tuple[Sudo, ...] = ()

    unproved: ClassVar[Mapping[str, str]] = {
        "groups.system": "it only chooses the number of a group that is new",
        "users.system": "it only chooses the number of a user that is new",
    }

    @override
    def problems(self) -> Iterable[str]:
        names = {user.name for user in self.users}
        for name in self.absent_users:
            if name == "root" or name in names:
                yield f"absent_users: {name} is wanted as well"
        for rule in self.sudo:
            for who in rule.who:
                if who in self.absent_users:
                    yield f"sudo[{rule.name}].who: {who} is among absent_users"

    @override
    def prepare(self) -> None:
        if self.sudo:
            tdnf.packages(name="Install sudo", present=["sudo"])

    @override
    def undo(self) -> Undo:
        homes = ["root", *(user.name for user in self.users)]
        return Undo(paths=(*FILES, SUDOERS, *(f"~{name}/.ssh/authorized_keys" for name in homes)))

    def locks_out(self, connection: Connection | None) -> str | None:
        """Why a removal would take the login of this run, or None. Fails closed."""
        if connection is None:
            return "the host does not tell as whom this run is logged in" if self.absent_users else None
        if connection["user"] in self.absent_users:
            return f"absent_users: this run is logged in as {connection['user']}"
        return None

    def sudoers(self) -> str:
        """The text of the file that the policy owns."""
        return render("accounts/sudoers", lines=[line for rule in self.sudo for line in rule.lines()])

    @override
    def apply(self) -> None:
        for group in host.loop(self.groups):
            accounts.group(name=f"Group {group.name}", group=group.name, gid=group.gid, system=group.system)
        accounts.password(
            name="The password of root", user="root", password_hash=_hash(self.root.password),
            max_days=None, inactive_days=None, expires=None,
        )  # fmt: skip
        for user in host.loop(self.users):
            accounts.user(
                name=f"User {user.name}", user=user.name, uid=user.uid, group=user.group or "", groups=user.groups,
                home=user.home or "", shell=user.shell, comment=user.comment, system=user.system,
            )  # fmt: skip
            accounts.password(
                name=f"The password of {user.name}", user=user.name, password_hash=_hash(user.password or "locked"),
                min_days=user.min_days, max_days=user.max_days, warn_days=user.warn_days,
                inactive_days=user.inactive_days, expires=user.expiry_day(),
            )  # fmt: skip
        for login, owner in host.loop([pair for pair in self._logins() if pair[1].keys or pair[1].only_keys]):
            keys.authorized_keys(name=f"Keys of {login}", user=login, keys=owner.keys, only=owner.only_keys)
        if self.sudo:
            file.text(
                name="Rules of sudo", path=SUDOERS, content=self.sudoers(), mode="440", check='visudo -cqf "$new"',
            )  # fmt: skip
        else:
            file.absent(name="No rules of sudo", path=SUDOERS)
        for name in host.loop(self.absent_users):
            accounts.removed_user(name=f"No user {name}", user=name, refuse=self.locks_out)

    def _logins(self) -> list[tuple[str, Root | User]]:
        return [("root", self.root), *((user.name, user) for user in self.users)]

    @override
    def checks(self) -> Iterable[Check]:
        for group in self.groups:
            yield Check(
                id=f"accounts.group[{group.name}]", field=f"groups[{group.name}]",
                proves=f"group {group.name} is there" + ("" if group.gid is None else f", with number {group.gid}"),
                read=partial(group_number, group.name, any_number=group.gid is None),
                expect="any number" if group.gid is None else str(group.gid),
            )  # fmt: skip
        yield Check(
            id="accounts.root.ageing", field="", proves="the password of root never expires, so its keys always let in",
            read=partial(ageing, "root", "5,7-8"), expect="never:never:never",
        )  # fmt: skip
        yield Check(
            id="accounts.root.usable", field="", proves="the password of root need not be changed at the next login",
            read=lambda host: ageing("root", "3", host) != "0", expect=True,
        )  # fmt: skip
        if self.root.password != "kept":  # noqa: S105 - a word for what is done with it
            yield _password_check("root", "root.password", self.root.password)
        for user in self.users:
            yield from _user_checks(user)
        for login, owner in self._logins():
            field = "root" if login == "root" else f"users[{login}]"
            if owner.keys:
                yield Check(
                    id=f"accounts.keys[{login}]", field=f"{field}.keys",
                    proves=f"{len(owner.keys)} key(s) let {login} in",
                    read=partial(missing_keys, login, [identity_of_key(key) for key in owner.keys]), expect=[],
                )  # fmt: skip
            if owner.only_keys:
                yield Check(
                    id=f"accounts.only-keys[{login}]", field=f"{field}.only_keys",
                    proves=f"no other key lets {login} in",
                    read=partial(other_keys, login, [identity_of_key(key) for key in owner.keys]), expect=[],
                )  # fmt: skip
        yield from self._sudo_checks()
        for name in self.absent_users:
            yield Check(
                id=f"accounts.absent[{name}]", field=f"absent_users[{name}]", proves=f"there is no user {name}",
                read=partial(exists, name), expect=False,
            )  # fmt: skip

    def _sudo_checks(self) -> Iterable[Check]:
        if not self.sudo:
            yield Check(
                id="accounts.no-sudo", field="sudo", proves="the policy gives nobody sudo",
                read=lambda host: host.file(SUDOERS).exists, expect=False,
            )  # fmt: skip
            return
        for rule in self.sudo:
            yield Check(
                id=f"accounts.sudo[{rule.name}]", field=f"sudo[{rule.name}]",
                proves=f"the rule {rule.name} of sudo holds",
                read=lambda host: host.check_output("cat %s", SUDOERS).splitlines(),
                expect=Contains(tuple(rule.lines())),
            )  # fmt: skip
        yield Check(
            id="accounts.sudo.no-other", field="sudo", proves="the policy's file has no other rules",
            read=lambda host: host.check_output("cat %s", SUDOERS), expect=self.sudoers().rstrip("\n"),
        )  # fmt: skip
        yield Check(
            id="accounts.sudo.understood", field="sudo", proves="sudo understands all its files",
            read=lambda host: host.run("visudo -cq").rc, expect=0,
        )  # fmt: skip
        yield file_check("accounts.sudo.file", "sudo", SUDOERS, "440")


def _hash(password: Secret | str) -> str | None:
    """What the operation is told: a hash, "" to lock the password, None to leave it."""
    if isinstance(password, Secret):
        return password.resolve()
    return None if password == "kept" else ""  # noqa: S105 - a word for what is done with it


def _password_check(user: str, field: str, wanted: Secret | str) -> Check:
    expect = f"the hash of {wanted}" if isinstance(wanted, Secret) else "locked"
    return Check(
        id=f"accounts.password[{user}]", field=field, proves=f"the password of {user} is {expect}",
        read=partial(password_state, user, wanted), expect=expect,
    )  # fmt: skip


def _user_checks(user: User) -> Iterable[Check]:
    def check(field: str, proves: str, read: Callable[[Host], object], expect: object) -> Check:
        there = f"accounts.user[{user.name}]"
        return Check(
            id=f"{there}.{field}", field=f"users[{user.name}].{field}", proves=f"{user.name} {proves}",
            read=read, expect=expect, needs=there,
        )  # fmt: skip

    yield Check(
        id=f"accounts.user[{user.name}]", field=f"users[{user.name}]", proves=f"there is a user {user.name}",
        read=partial(exists, user.name), expect=True,
    )  # fmt: skip
    if user.uid is not None:
        yield check("uid", f"has the number {user.uid}", partial(passwd, user.name, 2), str(user.uid))
    yield check("comment", "has its full name", partial(passwd, user.name, 4), user.comment)
    yield check("home", "has its home", partial(passwd, user.name, 5), user.home or f"/home/{user.name}")
    yield check("shell", f"has the shell {user.shell}", partial(passwd, user.name, 6), user.shell)
    group = user.group or user.name
    yield check("group", f"has the primary group {group}", partial(primary_group, user.name), group)
    if user.groups:
        yield check("groups", "is in its groups", partial(groups_of, user.name), Contains(tuple(user.groups)))
    yield _password_check(user.name, f"users[{user.name}].password", user.password or "locked")
    columns = {"min_days": (4, user.min_days), "max_days": (5, user.max_days), "warn_days": (6, user.warn_days),
               "inactive_days": (7, user.inactive_days), "expires": (8, user.expiry_day())}  # fmt: skip
    for field, (column, days) in columns.items():
        expect = "never" if days is None else str(days)
        yield check(field, f"has {field.replace('_', ' ')}: {expect}", partial(ageing, user.name, str(column)), expect)


def exists(user: str, host: Host) -> bool:
    """Whether there is a user of that name."""
    return bool(host.run("getent passwd %s", user).rc == 0)


def passwd(user: str, field: int, host: Host) -> str:
    """A field of the user's line, counted from 0."""
    return str(host.check_output("getent passwd %s", user).split(":")[field])


def primary_group(user: str, host: Host) -> str:
    """The name of the user's primary group."""
    return str(host.check_output("id -gn %s", user))


def groups_of(user: str, host: Host) -> list[str]:
    """The names of all groups that the user is in."""
    return sorted(host.check_output("id -Gn %s", user).split())


def group_number(group: str, host: Host, *, any_number: bool) -> str:
    """The number of a group."""
    number = host.check_output("getent group %s", group).split(":")[2]
    return "any number" if any_number else str(number)


def ageing(user: str, columns: str, host: Host) -> str:
    """Columns of shadow(5), counted from 1 and joined by colons; never the hash."""
    text = host.check_output("getent shadow %s | cut -d: -f%s", user, columns)
    return ":".join("never" if value in {"", "-1", "99999"} else value for value in text.split(":"))


def password_state(user: str, wanted: Secret | str, host: Host) -> str:
    """Locked, not needed, or whose hash it is; the hash stays on the host."""
    script = "getent shadow %s | cut -d: -f2 | tr -d '\\n' | sha256sum; getent shadow %s | cut -d: -f2 | cut -c1"
    digest, _, first = host.check_output(script, user, user).partition("\n")
    if first in {"*", "!"}:
        return "locked"
    if not first:
        return "not needed"
    if isinstance(wanted, Secret) and digest.split()[0] == sha256(wanted.resolve().encode()).hexdigest():
        return f"the hash of {wanted}"
    return "another one"


def _keys(user: str, host: Host) -> list[str]:
    home = host.check_output("getent passwd %s", user).split(":")[5]
    lines = host.run("cat %s", f"{home}/.ssh/authorized_keys").stdout.splitlines()
    return [identity_of_key(line) or line for line in lines if line.strip() and not line.startswith("#")]


def missing_keys(user: str, keys: Sequence[str], host: Host) -> list[str]:
    """Those keys that the user's authorized_keys does not have."""
    found = _keys(user, host)
    return [key for key in keys if key not in found]


def other_keys(user: str, keys: Sequence[str], host: Host) -> list[str]:
    """Those lines of the user's authorized_keys that are no key of the policy."""
    return [key for key in _keys(user, host) if key not in keys]
