"""Digests of policies: the same at two commits when hosts would become the same by them.

The files of a commit that a policy names belong to it: a text, a template, a signing key, a file that sops decrypts.
The checkout's own path does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

_MOST_LETTERS = 1024
"""A longer text is no path."""


def digest_of(said: Any, trees: Sequence[Path]) -> str:  # noqa: ANN401 - plain values of JSON
    """A digest of what a policy says, and of the files in its checkout that it names.

    Args:
        said: the policy, as plain values.
        trees: the paths of the checkout that files may be named by; the first one is where relative ones begin.
    """
    found = hashlib.sha256(_without(json.dumps(said, sort_keys=True, default=str), trees).encode())
    for path in sorted({text for text in _texts(said) if len(text) < _MOST_LETTERS}):
        found.update(_content(path, tuple(trees)))
    return found.hexdigest()[:16]


def _without(text: str, trees: Sequence[Path]) -> str:
    for tree in trees:
        text = text.replace(f"{json.dumps(str(tree))[1:-1]}/", "")
    return text


def _texts(said: Any) -> Iterator[str]:  # noqa: ANN401 - plain values of JSON
    if isinstance(said, str):
        yield said
    elif isinstance(said, dict):
        for value in said.values():
            yield from _texts(value)
    elif isinstance(said, list):
        for value in said:
            yield from _texts(value)


@lru_cache(maxsize=100_000)
def _content(text: str, trees: tuple[Path, ...]) -> bytes:
    """A digest of a file in the checkout; nothing when the text names none. Most hosts say the same: it is kept."""
    try:
        path = (trees[0] / text).resolve()
        if not any(path.is_relative_to(tree.resolve()) for tree in trees) or not path.is_file():
            return b""
        return hashlib.sha256(path.read_bytes()).digest()
    except (OSError, ValueError):
        return b""
