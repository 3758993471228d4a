"""systemd's names for paths, and the text of a unit. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

DIRECTORY = "/etc/systemd/system"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")


def escaped(path: str) -> str:
    """What `systemd-escape --path` makes of an absolute path; see systemd.unit(5)."""
    trimmed = posixpath.normpath(path).strip("/")
    if not trimmed:
        return "-"
    return "".join(
        letter if letter in _PLAIN and (letter, index) != (".", 0) else _replaced(letter)
        for index, letter in enumerate(trimmed)
    )


def _replaced(letter: str) -> str:
    return "-" if letter == "/" else "".join(f"\\x{byte:02x}" for byte in letter.encode())


def unit_of(path: str, kind: str) -> str:
    """The unit of a path, such as `data.mount` for `/data`."""
    return f"{escaped(path)}.{kind}"


def text(policy: str, sections: Mapping[str, Mapping[str, object]]) -> str:
    """A unit file. A value that is a tuple gives a line for each of its items, None gives none."""
    blocks = [f"# Photon Fleet (policy: {policy})"]
    for section, settings in sections.items():
        lines = [f"[{section}]"]
        for key, value in settings.items():
            each = value if isinstance(value, tuple) else () if value is None else (value,)
            lines += [f"{key}={_unspecified(str(item))}" for item in each]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _unspecified(value: str) -> str:
    # systemd replaces % and a letter by what it stands for.
    return value.replace("%", "%%")
