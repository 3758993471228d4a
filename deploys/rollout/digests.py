"""Digests of policies: the same at two commits when hosts would become the same by them.

The files of a commit that a policy names belong to it: a text, a template, a signing key, a file that sops decrypts.
The checkout's own path does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from deploys.policies.secret import Kind

_MOST_LETTERS = 1024
"""A longer text is no path."""
_QUOTED = re.compile(r"[\"'`=]")
_WORDS = re.compile(r"[\s\"'`=:,;|&<>(){}\[\]$]+")


def digest_of(said: Any, trees: Sequence[Path]) -> str:  # noqa: ANN401 - plain values of JSON
    """A digest of what a policy says, and of the files in its checkout that it names.

    Args:
        said: the policy, as plain values.
        trees: the paths of the checkout that files may be named by; the first one is where relative ones begin.
    """
    tops = tuple(map(str, trees))
    found = hashlib.sha256(_without(json.dumps(said, sort_keys=True, default=str), tops).encode())
    for path in sorted({text for text in _texts(said) if len(text) < _MOST_LETTERS}):
        found.update(_content(path, tops))
    return found.hexdigest()[:16]


def _without(text: str, trees: tuple[str, ...]) -> str:
    for top, inside in map(_names_of, trees):
        text = top.sub(".", inside.sub("", text))
    return text


@lru_cache
def _names_of(tree: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The checkout itself, as JSON has it, and what is in it; its name may be the beginning of another one's."""
    name = re.escape(json.dumps(tree)[1:-1])
    return re.compile(rf"{name}(?![\w.+@%~-])"), re.compile(f"{name}/")


def _texts(said: Any) -> Iterator[str]:  # noqa: ANN401 - plain values of JSON
    if isinstance(said, str):
        yield said
    elif isinstance(said, dict):
        is_run_here = said.get("kind") == Kind.COMMAND and "reference" in said
        for value in said.values():
            yield from _parts(value) if is_run_here else _texts(value)
    elif isinstance(said, list):
        for value in said:
            yield from _texts(value)


def _parts(said: Any) -> Iterator[str]:  # noqa: ANN401 - plain values of JSON
    """Of a command that is run in the checkout also what stands within its words: options' values, scripts of a shell.

    Not of other texts: one that speaks of a file is no other one when the file is.
    """
    for text in _texts(said):
        yield text
        yield from (part.strip() for part in _QUOTED.split(text))
        yield from _WORDS.split(text)


@lru_cache(maxsize=100_000)
def _content(text: str, trees: tuple[str, ...]) -> bytes:
    """A digest of a file in the checkout; nothing when the text names none. Most hosts say the same: it is kept."""
    try:
        path = os.path.join(trees[0], text)  # noqa: PTH118 - a pathlib's costs more than all the rest, for each text
        # Asked first, as nearly all texts name no file: to find out where a path leads costs twenty times as much.
        if not os.path.isfile(path):  # noqa: PTH113 - see above
            return b""
        found = Path(path).resolve()
        if not any(found.is_relative_to(top) for top in _resolved(trees)):
            return b""
        return hashlib.sha256(found.read_bytes()).digest()
    except (OSError, ValueError):
        return b""


@lru_cache
def _resolved(trees: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(Path(tree).resolve() for tree in trees)
