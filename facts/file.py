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
            "if [ -f", quoted, "]; then stat -Lc '%F|%a|%U|%G' --", quoted, "&& sha256sum <", quoted,
            "; elif [ -e", quoted, "] || [ -L", quoted, "]; then stat -Lc '%F|%a|%U|%G' --", quoted,
            "; else echo absent; fi",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> File | None:
        if output == ["absent"]:
            return None
        if len(output) == 1 and output[0].count("|") == 3:  # noqa: PLR2004 - a whole status, and no checksum
            message = f"expected a regular file, found a {output[0].partition('|')[0]}"
            raise FactProcessError(message)
        try:
            status, checksum = output
            kind, mode, user, group = status.split("|")
            found: File = {"sha256": checksum.split()[0], "mode": int(mode), "user": user, "group": group}
        except (ValueError, IndexError) as error:
            message = f"stat answered {output!r}"
            raise FactProcessError(message) from error
        if kind not in {"regular file", "regular empty file"}:
            message = f"expected a regular file, found a {kind}"
            raise FactProcessError(message)
        return found


class IsOlderThan(FactBase[bool]):
    """
    Returns whether a running unit was started before a file was last changed, so that it cannot know the change:

    .. code:: python

        True

    A unit that does not run, or a file that is not there, is False. `marker` is a file that is touched when the unit
    reads its configuration again without a restart; with it, the later of both counts. Compared in whole seconds.
    Source of the format: systemctl(1), property ActiveEnterTimestamp; stat and date of GNU coreutils.
    """

    @override
    def command(self, unit: str, path: str, marker: str = "") -> StringCommand:
        script = (
            'if ! systemctl is-active --quiet "$1" || [ ! -e "$2" ]; then echo current; exit; fi; '
            'started=$(date -d "$(systemctl show --property=ActiveEnterTimestamp --value "$1")" +%s) && '
            'changed=$(stat -Lc %Y -- "$2") || exit 1; '
            'if [ -n "$3" ] && [ -e "$3" ]; then read=$(stat -Lc %Y -- "$3") || exit 1; else read=0; fi; '
            'if [ "$started" -lt "$changed" ] && [ "$read" -lt "$changed" ]; then echo older; else echo current; fi'
        )
        words = [QuoteString(word) for word in (script, "sh", unit, path, marker)]
        return StringCommand("sh -c", *words)

    @override
    def process(self, output: list[str]) -> bool:
        if output not in (["older"], ["current"]):
            message = f"expected 'older' or 'current', found {output!r}"
            raise FactProcessError(message)
        return output == ["older"]


class FileNames(FactBase[list[str]]):
    """
    Returns the names of the regular files in a directory, sorted; none when there is no such directory:

    .. code:: python

        ["cache", "web"]

    Source of the format: find(1). Names with a line break are not told from two names.
    """

    @override
    def command(self, directory: str) -> StringCommand:
        quoted = QuoteString(directory)
        return StringCommand("[ ! -d", quoted, "] || find", quoted, "-maxdepth 1 -type f -printf '%f\\n'")

    @staticmethod
    @override
    def default() -> list[str]:
        return []

    @override
    def process(self, output: list[str]) -> list[str]:
        return sorted(output)


class Entry(TypedDict):
    """What is at a path itself: `kind` is file, directory, link or other; `target` is where a link points to, or ""."""

    kind: str
    mode: int
    user: str
    group: str
    target: str


class PathEntry(FactBase[Entry | None]):
    """
    Returns what is at a path, without following a link, or None when nothing is there:

    .. code:: python

        {"kind": "link", "mode": 777, "user": "root", "group": "root", "target": "/usr/share/zoneinfo/UTC"}

    Source of the format: GNU coreutils `stat -c` and `readlink`.
    """

    @override
    def command(self, path: str) -> StringCommand:
        quoted = QuoteString(path)
        return StringCommand(
            "if [ -L", quoted, "]; then stat -c '%F|%a|%U|%G' --", quoted, "&& readlink --", quoted,
            "; elif [ -e", quoted, "]; then stat -c '%F|%a|%U|%G' --", quoted, "; else echo absent; fi",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> Entry | None:
        if output == ["absent"]:
            return None
        kinds = {
            "regular file": "file",
            "regular empty file": "file",
            "directory": "directory",
            "symbolic link": "link",
        }
        try:
            status, *target = output
            kind, mode, user, group = status.split("|")
            found: Entry = {
                "kind": kinds.get(kind, "other"), "mode": int(mode), "user": user, "group": group,
                "target": "\n".join(target),
            }  # fmt: skip
        except ValueError as error:
            message = f"stat answered {output!r}"
            raise FactProcessError(message) from error
        return found
