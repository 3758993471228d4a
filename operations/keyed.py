"""Keys and their values in files that packages bring: every other line stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pyinfra import host
from pyinfra.api import OperationError

from facts.keyed import KeyedFile
from operations._contain import Commands, operation, read
from operations.file import require_path, write

STYLES = {"space": ("{} {}", r"\s+"), "equals": ("{} = {}", r"\s*=\s*"), "tight": ("{}={}", r"\s*=\s*")}
"""How a key and its value are written, and the pattern of what is between them."""
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def value_of(lines: list[str], key: str, style: str) -> str | None:
    """The value that a file gives a key: the last line counts. "" for a key that has no value, None for none."""
    values = [found for line in lines if (found := _match(line, key, style)) is not None]
    return values[-1] if values else None


def _match(line: str, key: str, style: str) -> str | None:
    between = STYLES[style][1]
    found = re.fullmatch(rf"\s*{re.escape(key)}(?:{between}(.*?))?\s*", line)
    return None if found is None else found[1] or ""


def changed(lines: list[str], values: Mapping[str, str], style: str) -> list[str]:
    """The lines with these values: in the place of the key's first line, or at the end. No key is given twice."""
    missing, result = dict(values), []
    for line in lines:
        key = next((key for key in values if _match(line, key, style) is not None), None)
        if key is None:
            result.append(line)
        elif key in missing:
            value = missing.pop(key)
            result.append(line if _match(line, key, style) == value else _line(key, value, style))
    return [*result, *(_line(key, value, style) for key, value in missing.items())]


def _line(key: str, value: str, style: str) -> str:
    return STYLES[style][0].format(key, value) if value else key


@operation()
def values(
    path: str, values: Mapping[str, str], style: str = "space", package: str = "", after: str = "true"
) -> Commands:
    """
    Make sure that a file that is there gives keys these values. Its other lines, mode and owner are left alone.

    + path: absolute path. A file that is not there is refused: its other defaults would be missing
    + values: key to value; "" for a key that stands alone
    + style: what is between them: "space" (login.defs), "equals" (`key = value`) or "tight" (`key=value`)
    + package: what brings the file, for the refusal
    + after: a shell command that makes a change hold

    **Example:**

    .. code:: python

        keyed.values(name="New homes are private", path="/etc/login.defs", values={"UMASK": "077"})
    """
    require_path(path)
    if style not in STYLES:
        message = f"{style!r} is none of {', '.join(STYLES)}"
        raise OperationError(message)
    for key, value in values.items():
        if not _KEY.fullmatch(key) or value != value.strip() or re.search(r"[\n\r\0#]", value):
            message = f"{key!r}, {value!r}: no key and value of such a file"
            raise OperationError(message)
    if not values:
        host.noop(f"nothing is wanted of {path}")
        return
    found = read(KeyedFile, path=path)
    if found is None:
        message = f"this host has no {path}" + (f": install {package}" if package else "")
        raise OperationError(message)
    if (lines := changed(found["lines"], values, style)) == found["lines"]:
        host.noop(f"{path} has its {len(values)} value(s)")
        return
    text = "\n".join(lines)
    yield write(path, text, mode=found["mode"], user=found["user"], group=found["group"], after=after)
