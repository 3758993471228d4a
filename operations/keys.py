"""The public keys that let users in: authorized_keys, written as the user."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import StringCommand

from facts.accounts import AuthorizedKeys
from operations._contain import Commands, comes_first, operation, read
from operations.accounts import require_name

# As the user itself: nothing in a home, whatever it links to, makes root write elsewhere. Without PAM, whose files for
# runuser some images lack.
_WRITE_KEYS = """
user=$1 group=$(id -gn -- "$1") home=$2 size=$3
exec chroot --userspec="$user:$group" / /bin/sh -c '
  umask 077; cd "$1" && mkdir -p .ssh && chmod 700 .ssh && new=$(mktemp .ssh/.authorized_keys.XXXXXX) &&
  { { cat > "$new" && [ "$(wc -c < "$new")" -eq "$2" ] && mv -fT "$new" .ssh/authorized_keys; } ||
    { rm -f "$new"; exit 1; }; }' sh "$home" "$size"
"""


_KEY = re.compile(
    r'(?:(?:[^\s"]|"(?:[^"\\]|\\.)*")+\s+)?((?:sk-)?(?:ssh|ecdsa-sha2)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/]{8,}=*)(?:\s.*)?'
)


def identity_of_key(line: str) -> str:
    """Type and key of a line of authorized_keys, without options and comment; "" for another line.

    Options come first, and may hold quoted text that looks like a key: sshd(8), AUTHORIZED_KEYS FILE FORMAT.
    """
    found = _KEY.fullmatch(line.strip())
    return f"{found[1]} {found[2]}" if found and not line.lstrip().startswith("#") else ""


@operation()
def authorized_keys(user: str, keys: Sequence[str], *, only: bool = False) -> Commands:
    """
    Make sure that keys let a user in.

    + user: who must be there, with a home
    + keys: public keys, each a line as in authorized_keys(5)
    + only: remove all other lines
    """
    require_name(user)
    found = read(AuthorizedKeys, user=user)
    if not found["home"]:
        comes_first(f"there is no user {user} on this host")
    have = {identity_of_key(line) for line in found["lines"]}
    missing = [key for key in keys if identity_of_key(key) not in have]
    if only:
        lines = list(keys)
        wanted = [line.strip() for line in found["lines"] if line.strip()] == lines
    else:
        lines = [*found["lines"], *missing]
        wanted = not missing
    if wanted and found["mode"] in {600, 400, 644} and found["owner"] in {user, "root"}:
        host.noop(f"the keys of {user} are as wanted")
        return
    yield _written(user, found["home"], lines)


def _written(user: str, home: str, lines: Sequence[str]) -> StringCommand:
    text = "".join(f"{line}\n" for line in lines)
    words = [shlex.quote(word) for word in (_WRITE_KEYS, "sh", user, home, str(len(text.encode())))]
    return StringCommand(f"sh -c {' '.join(words)}", _stdin=text)


@operation()
def replaced_key(user: str, old: str, new: str) -> Commands:
    """
    Make sure that a user has a new key wherever it has an old one, with the old one's options.

    + user: whose authorized_keys is looked at
    + old: the public key that goes, in whatever line
    + new: the public key that comes in its place
    """
    require_name(user)
    found = read(AuthorizedKeys, user=user)
    lines = with_key_replaced(found["lines"], old, new)
    if lines == found["lines"]:
        host.noop(f"{user} does not have the old key")
        return
    yield _written(user, found["home"], lines)


def with_key_replaced(lines: Sequence[str], old: str, new: str) -> list[str]:
    """Lines of authorized_keys with the old key's replaced by the new one, options kept, and no key twice."""
    result: list[str] = []
    wanted = identity_of_key(new)
    for line in lines:
        replaced = line
        if identity_of_key(line) == identity_of_key(old):
            kind, blob = identity_of_key(old).split()
            before = line[: line.rindex(blob)].rstrip()
            replaced = f"{before.removesuffix(kind)}{new}"
        if identity_of_key(replaced) == wanted and any(identity_of_key(other) == wanted for other in result):
            continue
        result.append(replaced)
    return result
