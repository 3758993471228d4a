"""Host keys that are pinned before anybody logs in: lines of the fleet's known_hosts file that belong to us.

A line is `NAME,ADDRESS ssh-ed25519 BASE64 photon-fleet:INSTANCE`; the comment tells the machine that it was made with,
so that a host that was made anew gets a new line, and no other change of a key is ever taken.
Source of the format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploys.errors import InputError
from deploys.vsphere.errors import VSphereError

_OURS = "photon-fleet:"


@dataclass(frozen=True)
class Pin:
    """What is pinned for a host. `instance` is empty for a line that somebody else wrote."""

    name: str
    address: str
    key: str
    instance: str = ""

    def line(self) -> str:
        """The line of the known_hosts file."""
        return f"{self.name},{self.address} {self.key} {_OURS}{self.instance}"


def pinned(path: Path, name: str) -> list[Pin]:
    """The lines that name a host.

    Raises:
        InputError: the file cannot be read.
    """
    return [pin for pin in map(_pin, _lines(path)) if pin is not None and pin.name == name]


def holds(path: Path, wanted: Pin) -> bool:
    """Whether a host is pinned as wanted, whoever wrote the line."""
    return any((pin.address, pin.key) == (wanted.address, wanted.key) for pin in pinned(path, wanted.name))


def pin(path: Path, wanted: Pin) -> None:
    """Pin a host's key, or its new address.

    Raises:
        VSphereError: another key is pinned for the same machine, or by a person.
        InputError: the file cannot be read or written.
    """
    with _changing(path):
        _refuse_another_key(path, wanted)
        kept = [line for line in _lines(path) if (found := _pin(line)) is None or found.name != wanted.name]
        _replace(path, [*kept, wanted.line()])


def unpin(path: Path, name: str) -> None:
    """Forget the key of a host that is no more; a line that a person wrote stays.

    Raises:
        InputError: the file cannot be read or written.
    """
    with _changing(path):
        lines = _lines(path)
        kept = [line for line in lines if (found := _pin(line)) is None or found.name != name or not found.instance]
        if kept != lines:
            _replace(path, kept)


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise InputError(message) from error


def _refuse_another_key(path: Path, wanted: Pin) -> None:
    for found in pinned(path, wanted.name):
        if found.key != wanted.key and (not found.instance or found.instance == wanted.instance):
            message = (
                f"the guest of {wanted.name} says that its host key is {wanted.key}, and {path} has another one "
                "for it. Compare them on its console; if the new one is right, remove the old line"
            )
            raise VSphereError(message)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}"
        raise InputError(message) from error


def _pin(line: str) -> Pin | None:
    """A line of plain names and one key; None for comments, patterns, hashed names and markers."""
    words = line.split()
    if len(words) < 3 or words[0].startswith(("#", "@", "|")):  # noqa: PLR2004 - names, type, key
        return None
    name, _, address = words[0].partition(",")
    comment = words[3] if len(words) > 3 else ""  # noqa: PLR2004 - the comment
    instance = comment.removeprefix(_OURS) if comment.startswith(_OURS) else ""
    return Pin(name, address, f"{words[1]} {words[2]}", instance)


def _replace(path: Path, lines: list[str]) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    with new.open("w") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
