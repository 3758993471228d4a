"""Links, directories, and paths where nothing is to be. What is something else than was expected is never replaced."""

from __future__ import annotations

import shlex

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.file import Entry, PathEntry
from operations._contain import Commands, operation, read
from operations.file import require_path, require_writable


def _refuse(path: str, found: Entry, wanted: str) -> OperationError:
    article = "something else" if found["kind"] == "other" else f"a {found['kind']}"
    return OperationError(f"{path}: {article} is there, which is not replaced by {wanted}: move it away first")


@operation()
def link(path: str, target: str) -> Commands:
    """
    Make sure that a path is a symbolic link.

    + path: absolute path; its directory is made (0755) when missing
    + target: what it points to, as given; it need not exist

    A link is changed in one step; a file or directory at the path is refused.

    **Example:**

    .. code:: python

        path.link(name="Choose the release", path="/srv/app/current", target="releases/7")
    """
    require_path(path)
    if not target or "\n" in target or "\0" in target:
        message = f"{target!r} is no target of a link"
        raise OperationError(message)
    found = read(PathEntry, path=path)
    if found is not None and found["kind"] != "link":
        raise _refuse(path, found, "a link")
    if found is not None and found["target"] == target:
        host.noop(f"{path} points to {target}")
        return
    directory, _, name = path.rpartition("/")
    where, new = shlex.quote(directory or "/"), shlex.quote(f"{directory}/.{name}.photon-fleet")
    yield StringCommand(
        f"umask 022 && mkdir -p {where} && ln -sfnT -- {shlex.quote(target)} {new} && mv -fT {new} {shlex.quote(path)}"
    )


@operation()
def directory(path: str, mode: str = "755", user: str = "root", group: str = "root") -> Commands:
    """
    Make sure that a directory is there, with this mode and owner. What is in it is left alone.

    + path: absolute path; its parents are made (0755) when missing
    + mode: octal, such as "755" or "1777"; always set, as Photon's umask would leave 750
    + user: owner
    + group: group

    **Example:**

    .. code:: python

        path.directory(name="Make a place for uploads", path="/srv/uploads", mode="750", group="web")
    """
    require_path(path)
    require_writable("", mode, user, group)
    found = read(PathEntry, path=path)
    if found is not None and found["kind"] != "directory":
        raise _refuse(path, found, "a directory")
    if found is not None and (found["mode"], found["user"], found["group"]) == (int(mode), user, group):
        host.noop(f"{path} is as wanted")
        return
    # Five digits: with fewer, chmod keeps the setuid and setgid bits of a directory.
    quoted = shlex.quote(path)
    commands = [f"umask 022 && mkdir -p {quoted}"] if found is None else []
    commands += [f"chown {shlex.quote(f'{user}:{group}')} {quoted}", f"chmod {mode.zfill(5)} {quoted}"]
    yield StringCommand(" && ".join(commands))


@operation()
def gone(path: str) -> Commands:
    """
    Make sure that nothing is at a path: a file, a link (not what it points to) or an empty directory is removed.

    + path: absolute path; a directory with anything in it fails the host, and stays as it is

    **Example:**

    .. code:: python

        path.gone(name="Remove the default site", path="/etc/nginx/conf.d/default.conf")
    """
    require_path(path)
    found = read(PathEntry, path=path)
    if found is None:
        host.noop(f"nothing is at {path}")
        return
    yield StringCommand("rmdir --" if found["kind"] == "directory" else "rm -f --", shlex.quote(path))
