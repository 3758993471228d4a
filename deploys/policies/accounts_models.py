"""The parts of the accounts policy: users, groups, sudo rules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies.base import Item, Model
from deploys.policies.secret import Secret
from deploys.policies.types import AbsolutePath, Line, Word

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
              "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")  # fmt: skip
EPOCH = date(1970, 1, 1)


def _account(value: str) -> str:
    if not _NAME.fullmatch(value):
        message = f"{value!r}: lower-case letters, digits, _ and -, a letter or _ first, 32 at the most"
        raise ValueError(message)
    return value


def _public_key(value: str) -> str:
    words = value.split(maxsplit=2)
    if len(words) < 2 or words[0] not in _KEY_TYPES or "\n" in value:  # noqa: PLR2004 - type and key
        message = "a public key is one line: its type, the key in base64, and a comment"
        raise ValueError(message)
    return value.strip()


def _one_field(value: str) -> str:
    if ":" in value:
        message = "no colon: the account files are separated by them"
        raise ValueError(message)
    return value


def _who(value: str) -> str:
    _account(value.removeprefix("%"))
    return value


def _command(value: str) -> str:
    if value != "ALL" and not value.startswith("/"):
        message = f"{value!r} is no command by its absolute path, and not ALL"
        raise ValueError(message)
    if re.search(r"[,:=\\]", value):
        message = f"{value!r}: sudoers would take , : = and backslashes as its own; give a script of yours instead"
        raise ValueError(message)
    return value


Account = Annotated[str, AfterValidator(_account)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
Comment = Annotated[Line, AfterValidator(_one_field)]
PathField = Annotated[AbsolutePath, AfterValidator(_one_field)]
Days = Annotated[int, Field(ge=0, le=99998)]


class Group(Item):
    """A group. One that is there with another number is refused: its files would be left behind."""

    name: Account
    gid: int | None = Field(default=None, ge=1, le=60000)
    system: bool = False


class User(Item):
    """A user. Its keys let it in; a password is a hash, and locked when there is none."""

    name: Account
    uid: int | None = Field(default=None, ge=1, le=60000)
    group: Account | None = None
    """The primary group; one of the user's own name when None (Photon's useradd would take `users`)."""
    groups: tuple[Account, ...] = ()
    home: PathField | None = None
    shell: PathField = "/bin/bash"
    comment: Comment = ""
    system: bool = False
    password: Secret | None = None
    """The hash of crypt(5), such as `openssl passwd -6` makes."""
    keys: tuple[PublicKey, ...] = ()
    only_keys: bool = False
    """Remove all other keys of the user."""
    min_days: Days = 0
    max_days: Days | None = None
    warn_days: Days = 7
    inactive_days: Days | None = None
    expires: date | None = None

    @override
    def contradictions(self) -> Iterable[str]:
        if self.name == "root":
            yield "name: root is the policy's field `root`"
        if self.keys and self.max_days is not None:
            yield (
                "max_days: an expired password refuses logins by key as well, so this would lock the user out in "
                f"{self.max_days} days; give it to users without keys only"
            )
        if self.keys and self.shell.endswith(("/nologin", "/false")):
            yield f"shell: with {self.shell} no key lets the user in"

    def expiry_day(self) -> int | None:
        """The day at which the account ends, counted as shadow(5) does."""
        return None if self.expires is None else (self.expires - EPOCH).days


class Root(Model):
    """The root account. It always gets a password that never expires: an expired one refuses its keys, too."""

    password: Literal["kept", "locked"] | Secret = Field(default="kept", union_mode="left_to_right")
    keys: tuple[PublicKey, ...] = ()
    only_keys: bool = False

    @override
    def contradictions(self) -> Iterable[str]:
        if self.only_keys and not self.keys:
            yield "only_keys: without keys this would take all of root's keys away"


class Sudo(Item):
    """A rule of sudo: these users (or `%groups`) may run these commands."""

    name: Word
    who: tuple[Annotated[str, AfterValidator(_who)], ...] = Field(min_length=1)
    commands: tuple[Annotated[Line, AfterValidator(_command)], ...] = Field(default=("ALL",), min_length=1)
    run_as: Account | Literal["ALL"] = "ALL"
    password: bool = True
    """Ask for the user's own password. False for what runs unattended, such as our own runs."""

    def lines(self) -> list[str]:
        """The rule in sudoers(5)'s words."""
        tag = "" if self.password else "NOPASSWD: "
        return [f"# {self.name}", f"{', '.join(self.who)} ALL=({self.run_as}) {tag}{', '.join(self.commands)}"]
