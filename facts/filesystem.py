"""File systems and swap files, as their own tools tell them."""

from __future__ import annotations

import re
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

_SIZES = {
    "ext4": 'LC_ALL=C dumpe2fs -h "$2" 2>/dev/null',
    "xfs": 'LC_ALL=C xfs_info "$1"',
    "btrfs": 'LC_ALL=C btrfs filesystem show --raw "$1"',
}
_NUMBERS = {
    "ext4": (r"^Block count:\s+(\d{1,18})$", r"^Block size:\s+(\d{1,9})$"),
    "xfs": (r"^data\s.*blocks=(\d{1,18}),", r"^data\s.*bsize=(\d{1,9})\s"),
    "btrfs": (r"^\s*devid\s.*\ssize (\d{1,18})\s",),
}


class FilesystemSize(FactBase[int]):
    """
    Returns how many bytes of its device a mounted file system takes, as its own tool tells it:

    .. code:: python

        21474836480

    Source of the format: dumpe2fs(8), xfs_info(8), btrfs-filesystem(8).
    """

    @override
    def command(self, kind: str, path: str, node: str) -> StringCommand:
        return StringCommand("sh -c", QuoteString(_SIZES[kind]), kind, QuoteString(path), QuoteString(node))

    @override
    def process(self, output: list[str]) -> int:
        text = "\n".join(output)
        for patterns in _NUMBERS.values():
            found = [re.search(pattern, text, re.MULTILINE) for pattern in patterns]
            if all(found):
                numbers = [int(match[1]) for match in found if match]
                return numbers[0] * (numbers[1] if len(numbers) > 1 else 1)
        message = f"no size in {text[:300]!r}"
        raise FactProcessError(message)


class Subvolumes(FactBase[dict[str, bool]]):
    """
    Returns the subvolumes of a mounted btrfs, by their path in it, and whether each is read-only:

    .. code:: python

        {"logs": False, ".snapshots/logs@before-update": True}

    Source of the format: btrfs-subvolume(8), `list` and `list -r`.
    """

    @override
    def command(self, path: str) -> StringCommand:
        quoted = QuoteString(path)
        return StringCommand("btrfs subvolume list", quoted, "&& echo read-only && btrfs subvolume list -r", quoted)

    @staticmethod
    @override
    def default() -> dict[str, bool]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, bool]:
        if "read-only" not in output:
            message = f"btrfs answered {output!r}"
            raise FactProcessError(message)
        middle = output.index("read-only")
        paths = [_path_of(line) for line in output[:middle]]
        frozen = {_path_of(line) for line in output[middle + 1 :]}
        return {path: path in frozen for path in paths}


def _path_of(line: str) -> str:
    _, found, path = line.partition(" path ")
    if not found:
        message = f"btrfs listed {line!r}"
        raise FactProcessError(message)
    return path.removeprefix("<FS_TREE>/")


class SwapFile(TypedDict):
    """`holder` is the kind of the file system it is on; `kind` what is in it, "" when that is no signature."""

    size: int
    kind: str
    holder: str


class SwapFileState(FactBase[SwapFile]):
    """
    Returns a swap file's size (-1 when it is not there), its content, and the kind of file system it is on:

    .. code:: python

        {"size": 1073741824, "kind": "swap", "holder": "ext2/ext3"}

    Source of the format: GNU coreutils `stat` and `stat -f`, blkid(8).
    """

    @override
    def command(self, path: str) -> StringCommand:
        script = (
            'stat -f -c %T -- "${1%/*}/" || exit 1; if [ ! -e "$1" ] && [ ! -L "$1" ]; then echo -1; exit; fi; '
            '[ -f "$1" ] && [ ! -L "$1" ] || { echo other; exit; }; '
            'stat -c %s -- "$1" && blkid -p -o udev "$1" | sed -n "s/^ID_FS_TYPE=//p"'
        )
        return StringCommand("sh -c", QuoteString(script), "sh", QuoteString(path))

    @override
    def process(self, output: list[str]) -> SwapFile:
        try:
            holder, size, *kind = output
            return {"size": int(size), "kind": kind[0] if kind else "", "holder": holder}
        except ValueError as error:
            message = f"the swap file was described as {output!r}"
            raise FactProcessError(message) from error


class Snapshots(FactBase[dict[str, int]]):
    """
    Returns the read-only snapshots that are kept in `.snapshots` of a btrfs, and the age of each in seconds:

    .. code:: python

        {"logs@before-update": 86400}

    Source of the format: btrfs-subvolume(8), `show`; btrfs-property(8).
    """

    @override
    def command(self, path: str) -> StringCommand:
        script = (
            'now=$(date +%s); for each in "$1"/.snapshots/*@*; do [ -d "$each" ] || continue; '
            '[ "$(btrfs property get -ts "$each" ro)" = ro=true ] || continue; '
            'made=$(LC_ALL=C btrfs subvolume show "$each" | sed -n "s/^[[:space:]]*Creation time:[[:space:]]*//p"); '
            'made=$(date -d "$made" +%s) || exit 1; echo "$((now - made)) ${each##*/}"; done'
        )
        return StringCommand("sh -c", QuoteString(script), "sh", QuoteString(path))

    @staticmethod
    @override
    def default() -> dict[str, int]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, int]:
        try:
            return {name: int(age) for age, name in (line.split(" ", 1) for line in output)}
        except ValueError as error:
            message = f"the snapshots were listed as {output!r}"
            raise FactProcessError(message) from error
