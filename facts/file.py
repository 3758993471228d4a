"""What a text file on the host is: content hash, mode and owner, in one read."""

from __future__ import annotations

from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override


class File(TypedDict):
    """`mode` is octal without the file type, such as 644."""

    sha256: str
    mode: int
    user: str
    group: str


class TextFile(FactBase[File | None]):
    """
    Returns a regular file's hash, mode and owner, or None when nothing is there:

    .. code:: python

        {"sha256": "e3b0c4...", "mode": 644, "user": "root", "group": "root"}

    A path that is there but is no regular file is an error of this host. Source of the format: GNU coreutils
    `stat -Lc` and `sha256sum` (present on every Photon host and image).
    """

    @override
    def command(self, path: str) -> StringCommand:
        quoted = QuoteString(path)
        return StringCommand(
            "if [ -e", quoted, "] || [ -L", quoted, "]; then stat -Lc '%F|%a|%U|%G' --", quoted,
            "&& sha256sum <", quoted, "; else echo absent; fi",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> File | None:
        if output == ["absent"]:
            return None
        try:
            status, checksum = output
            kind, mode, user, group = status.split("|")
        except ValueError as error:
            message = f"stat answered {output!r}"
            raise FactProcessError(message) from error
        if kind not in {"regular file", "regular empty file"}:
            message = f"expected a regular file, found a {kind}"
            raise FactProcessError(message)
        return {"sha256": checksum.split()[0], "mode": int(mode), "user": user, "group": group}


class IsOlderThan(FactBase[bool]):
    """
    Returns whether a running unit was started before a file was last changed, so that it cannot know the change:

    .. code:: python

        True

    A unit that does not run, or a file that is not there, is False. Compared in whole seconds. Source of the format:
    systemctl(1), property ActiveEnterTimestamp.
    """

    @override
    def command(self, unit: str, path: str) -> StringCommand:
        return StringCommand(
            "started=$(systemctl show --property=ActiveEnterTimestamp --value", QuoteString(unit),
            "); changed=$(stat -Lc %Y --", QuoteString(path), "2>/dev/null);",
            "systemctl is-active --quiet", QuoteString(unit),
            '&& [ -n "$changed" ] && [ "$(date -d "$started" +%s)" -lt "$changed" ] && echo older || echo current',
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> bool:
        return output == ["older"]
