"""Text files, written whole: content, mode and owner change at once or not at all.

One command for one file or several: the contents travel on standard input (never in argv), are written next to their
targets with the target's mode from the first byte, and are renamed into place. pyinfra's `files.put` sends the content
before the mode, which on Photon (umask 027 over SSH) leaves a moment in which others cannot read it, or can.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.command import QuoteString

from facts.file import File, TextFile
from operations._contain import Commands, operation, read

_MODE = re.compile(r"[0-7]{3,4}")
_OWNER = re.compile(r"[a-z_][a-z0-9_-]*")


def require_path(path: str) -> None:
    """Refuse what is no absolute path to a file.

    Raises:
        OperationError: relative, a directory, or with a line break.
    """
    if not path.startswith("/") or path.endswith("/") or "\n" in path or "\0" in path:
        message = f"{path!r} is no absolute path to a file"
        raise OperationError(message)


def require_writable(content: str, mode: str, user: str, group: str) -> None:
    """Refuse what cannot be written as asked.

    Raises:
        OperationError: a mode that is not octal, an owner that is no name, text that is no UTF-8.
    """
    if not _MODE.fullmatch(mode):
        message = f"mode {mode!r}: three or four octal digits, such as '644'"
        raise OperationError(message)
    for owner in (user, group):
        if not _OWNER.fullmatch(owner):
            message = f"{owner!r} is no name of a user or group"
            raise OperationError(message)
    try:
        content.encode()
    except UnicodeEncodeError as error:
        message = f"the content is no valid text: {error}"
        raise OperationError(message) from error


def is_as_wanted(found: File | None, content: str, *, mode: str, user: str = "root", group: str = "root") -> bool:
    """Whether what the fact found is this content with this mode and owner."""
    checksum = hashlib.sha256(_whole_lines(content).encode()).hexdigest()
    return found == {"sha256": checksum, "mode": int(mode), "user": user, "group": group}


def _whole_lines(content: str) -> str:
    return content if content.endswith("\n") else f"{content}\n"


def write(
    path: str,
    content: str,
    *,
    mode: str,
    user: str = "root",
    group: str = "root",
    check: str = "",
    after: str = "",
) -> StringCommand:
    """The command that puts `content` in place, with the mode, user and group from its first byte.

    A connection that drops in the middle of the content leaves the old file: the length is compared first.

    Args:
        path: absolute path; its directory is made when missing.
        content: sent on standard input.
        mode: octal.
        user: owner.
        group: group.
        check: a shell command that must succeed before the file is put in place; `$new` is the file to look at.
        after: a shell command that makes it hold, run by the host even when the controller is gone by then.
    """
    require_writable(content, mode, user, group)
    content = _whole_lines(content)
    directory, _, name = path.rpartition("/")
    quoted = shlex.quote(directory or "/")
    steps = [
        'cat > "$new"',
        f'[ "$(wc -c < "$new")" -eq {len(content.encode())} ]',
        f'chmod {shlex.quote(mode)} "$new"',
        f'chown {shlex.quote(f"{user}:{group}")} "$new"',
        # On lines of its own, in a shell of its own: a check can end neither the script nor its line.
        *([f"(\n{check}\n)"] if check else []),
        f'mv -fT "$new" {shlex.quote(path)}',
    ]
    script = (
        f"umask 022 && mkdir -p {quoted} && umask 077 && new=$(mktemp {quoted}/.{shlex.quote(name)}.XXXXXX) && "
        f'{{ {{ {" && ".join(steps)}; }} || {{ rm -f "$new"; exit 1; }}; }}'
    )
    return StringCommand(f"{script} && {{ {after}; }}" if after else script, _stdin=content)


@dataclass(frozen=True)
class Text:
    """A text file as it is to be."""

    path: str
    content: str
    mode: str = "644"
    user: str = "root"
    group: str = "root"


def write_all(files: Sequence[Text], *, after: str = "") -> StringCommand:
    """The command that puts several files in place in one transfer: when one cannot be written, none is replaced.

    A target that cannot be replaced (immutable, or a mount point) fails the command; those before it are replaced then,
    and `after` is run for them.

    Args:
        files: each with an absolute path; directories are made when missing.
        after: a shell command that makes them hold.
    """
    names, steps, moves = [], [], []
    for number, each in enumerate(files):
        require_path(each.path)
        require_writable(each.content, each.mode, each.user, each.group)
        directory, _, name = each.path.rpartition("/")
        quoted, size = shlex.quote(directory or "/"), len(_whole_lines(each.content).encode())
        new = f'"$new{number}"'
        names.append(new)
        steps += [
            f"mkdir -p {quoted}",
            f"new{number}=$(umask 077; mktemp {quoted}/.{shlex.quote(name)}.XXXXXX)",
            f"head -c {size} > {new}",
            f'[ "$(wc -c < {new})" -eq {size} ]',
            f"chmod {shlex.quote(each.mode)} {new}",
            f"chown {shlex.quote(f'{each.user}:{each.group}')} {new}",
        ]
        moves.append(f"mv -fT {new} {shlex.quote(each.path)} && moved=1")
    unset = " ".join(f"new{number}=" for number in range(len(files)))
    then = f'if [ -n "$moved" ]; then {{ {after}; }} || done=; fi; ' if after else ""
    script = (
        f"umask 022; moved= done= {unset}; {{ {' && '.join([*steps, *moves])}; }} && done=1; rm -f {' '.join(names)}; "
        f'{then}[ -n "$done" ]'
    )
    contents = "".join(_whole_lines(each.content) for each in files)
    return StringCommand(script, _stdin=contents)


@operation()
def text(
    path: str,
    content: str,
    mode: str = "644",
    user: str = "root",
    group: str = "root",
    check: str = "",
    after: str = "",
) -> Commands:
    """
    Make sure that a text file has exactly this content, mode and owner.

    + path: absolute path; its directory is made (0755) when missing
    + content: the whole text; a final line end is added when missing
    + mode: octal, such as "644"; always set, as Photon's umask would leave 640
    + user: owner
    + group: group
    + check: shell command that must succeed for `$new` before it is put in place
    + after: shell command that makes a new content hold, such as `systemctl daemon-reload`

    **Example:**

    .. code:: python

        file.text(name="Write the message of the day", path="/etc/motd", content="Welcome")
    """
    require_path(path)
    require_writable(content, mode, user, group)
    if is_as_wanted(read(TextFile, path=path), content, mode=mode, user=user, group=group):
        host.noop(f"{path} is as wanted")
        return
    yield write(path, content, mode=mode, user=user, group=group, check=check, after=after)


@operation()
def texts(
    files: Mapping[str, str], mode: str = "644", user: str = "root", group: str = "root", after: str = ""
) -> Commands:
    """
    Make sure that several text files have exactly these contents; those that differ go over in one transfer.

    + files: absolute path -> the whole text; directories are made (0755) when missing
    + mode: octal, of all of them
    + user: owner
    + group: group
    + after: shell command that makes new contents hold, run once

    **Example:**

    .. code:: python

        file.texts(name="Write the sites", files={"/etc/web/a.conf": a, "/etc/web/b.conf": b}, after="web -t")
    """
    wanted = [Text(path, content, mode, user, group) for path, content in files.items()]
    for each in wanted:
        require_path(each.path)
        require_writable(each.content, mode, user, group)
    differing = [
        each
        for each in wanted
        if not is_as_wanted(read(TextFile, path=each.path), each.content, mode=mode, user=user, group=group)
    ]
    if not differing:
        host.noop(f"{len(wanted)} files are as wanted")
        return
    yield write_all(differing, after=after)


@operation()
def absent(path: str, after: str = "") -> Commands:
    """
    Make sure that a file is not there.

    + path: absolute path of a regular file
    + after: shell command that makes its absence hold; run by the host right after the removal
    """
    require_path(path)
    if read(TextFile, path=path) is None:
        host.noop(f"{path} is not there")
        return
    removal = StringCommand("rm -f --", QuoteString(path))
    yield StringCommand(removal, "&& {", after, "; }") if after else removal
