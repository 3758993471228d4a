"""What a run has read, kept for the next run of the same kind: files below the user's cache directory.

A profile is a hint. Only commands are kept, never answers, and never one with a masked value. A file that is not the
user's own, may be written by others, is too long, cannot be read or was written for something else is ignored.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
MAX_BYTES = 512 * 1024
"""A longer profile is neither written nor read."""
MAX_FILES = 256
OLD_AFTER_DAYS = 60

Phases = Mapping[str, Sequence[str]]
"""Phase -> command lines in the order in which they were read, repeated where they were repeated."""


@dataclass(frozen=True)
class Key:
    """Everything that changes what a run reads on a host.

    `family` names the kind of run (deploy, options, versions, groups of the host), `exact` the policies as well. A run
    after a change of a policy finds the newest profile of its family.
    """

    family: str
    exact: str

    @classmethod
    def of(cls, run: Mapping[str, object], policies: object) -> Key:
        """A key for a kind of run and the policies of a host, both as values for JSON."""
        return cls(_digest(run), _digest(policies))

    @property
    def filename(self) -> str:
        return f"{self.family}-{self.exact}.json"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]


def directory() -> Path:
    """Where profiles are kept (XDG Base Directory Specification; a relative path there is to be ignored)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "photon-fleet" / "reads"


def load(key: Key) -> dict[str, list[str]] | None:
    """The profile of exactly this key."""
    with contextlib.suppress(OSError, RuntimeError):
        _require_private(directory().stat(), stat.S_ISDIR)
        return _read(directory() / key.filename, key.family)
    return None


def newest(family: str) -> dict[str, list[str]]:
    """The newest profile of a family, or none."""
    with contextlib.suppress(OSError, RuntimeError):
        _require_private(directory().stat(), stat.S_ISDIR)
        for path in sorted(directory().glob(f"{family}-*.json"), key=lambda path: -path.stat().st_mtime):
            if (found := _read(path, family)) is not None:
                return found
    return {}


def _require_private(status: os.stat_result, kind: Any) -> None:  # noqa: ANN401 - a function of the stat module
    if not kind(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        message = "others could have written it"
        raise PermissionError(message)


def _read(path: Path, family: str) -> dict[str, list[str]] | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            _require_private(status, stat.S_ISREG)
            if status.st_size > MAX_BYTES:
                return None
            return _parse(json.loads(file.read(MAX_BYTES)), family)
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def encodes(command: str) -> bool:
    """Whether a command can be sent: a path that is no UTF-8 cannot, as text."""
    try:
        command.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse(document: Any, family: str) -> dict[str, list[str]] | None:  # noqa: ANN401 - what JSON gives
    if document["format"] != FORMAT or document["family"] != family:
        return None
    commands = document["commands"]
    if not all(isinstance(command, str) and encodes(command) for command in commands):
        return None
    return {str(phase): [commands[index] for index in order] for phase, order in document["phases"].items()}


def save(key: Key, phases: Phases) -> None:
    """Keep a profile. A cache that cannot be written is no trouble of the run."""
    index = {command: at for at, command in enumerate(dict.fromkeys(_all(phases)))}
    document = {
        "format": FORMAT,
        "family": key.family,
        "commands": list(index),
        "phases": {phase: [index[command] for command in order] for phase, order in phases.items()},
    }
    text = json.dumps(document, indent=0)
    if len(text) > MAX_BYTES:
        return
    with contextlib.suppress(OSError, RuntimeError):
        directory().mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_private(directory().stat(), stat.S_ISDIR)
        _replace(directory() / key.filename, text)
        _prune()


def _all(phases: Phases) -> Iterator[str]:
    for order in phases.values():
        yield from order


def _replace(path: Path, text: str) -> None:
    # mkstemp makes files of mode 0600.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _prune() -> None:
    files = sorted(directory().glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    oldest = time.time() - OLD_AFTER_DAYS * 86400
    for number, path in enumerate(files):
        if number >= MAX_FILES or path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
    for path in directory().glob(".new-*"):
        # Of a run that was killed; one that is being written is younger.
        if path.stat().st_mtime < time.time() - 3600:
            path.unlink(missing_ok=True)


@dataclass
class Recorder:
    """The profiles of one run: each read once, each written once, however many hosts share it."""

    _known: dict[Key, dict[str, list[str]]] = field(default_factory=dict)
    _families: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _learned: dict[Key, list[Phases]] = field(default_factory=dict)
    _open: int = 0

    def __post_init__(self) -> None:
        # A host that is connected but never disconnected would keep the count from getting to zero.
        atexit.register(self._flush)

    def opened(self, key: Key) -> dict[str, list[str]]:
        """A host is connected: what is known of its reads."""
        self._open += 1
        if key not in self._known and (own := load(key)) is not None:
            self._known[key] = own
        return self._known.get(key) or self._of_family(key.family)

    def _of_family(self, family: str) -> dict[str, list[str]]:
        if family not in self._families:
            self._families[family] = newest(family)
        return self._families[family]

    def closed(self, key: Key, phases: Phases) -> None:
        """A host is disconnected: what it read, nothing when its run did not come to its end."""
        learned = self._learned.setdefault(key, [])
        if phases and phases not in learned:
            learned.append(phases)
        self._open -= 1
        if self._open == 0:
            self._flush()

    def _flush(self) -> None:
        """Write what differs from what was known; of one family at most a few, as the newest serves all."""
        written: dict[str, int] = {}
        for key, several in self._learned.items():
            # A phase that this run did not reach (a dry run has no proof) keeps what was known of it.
            joined = {**self._known.get(key, {}), **_joined(several)}
            if joined and written.setdefault(key.family, 0) < MAX_FILES // 4:
                written[key.family] += 1
                keep(key, joined, changed=joined != self._known.get(key))
                self._known[key] = joined
        self._learned.clear()


def keep(key: Key, phases: Phases, *, changed: bool) -> None:
    """Save a profile, or note that it was used: the oldest ones go first."""
    if changed:
        save(key, phases)
        return
    with contextlib.suppress(OSError, RuntimeError):
        os.utime(directory() / key.filename)


def _joined(several: Sequence[Phases]) -> dict[str, list[str]]:
    """The longest order of each phase, with what only other hosts read behind it."""
    joined: dict[str, list[str]] = {}
    for phase in dict.fromkeys(phase for phases in several for phase in phases):
        orders = sorted((list(phases.get(phase, ())) for phases in several), key=len, reverse=True)
        rest = dict.fromkeys(command for order in orders[1:] for command in order)
        joined[phase] = [*orders[0], *(command for command in rest if command not in orders[0])]
    return joined
