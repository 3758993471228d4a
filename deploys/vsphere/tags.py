"""Tags: read for a thousand objects a call, and only those tags looked up that something bears."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploys.vsphere.rest import Rest

BATCH = 1000
"""Objects in one request."""

Tags = dict[str, dict[str, tuple[str, ...]]]
"""moid -> category -> names of tags, sorted."""


def batches(values: Sequence[Any]) -> list[Sequence[Any]]:
    """Slices of at most `BATCH`."""
    return [values[start : start + BATCH] for start in range(0, len(values), BATCH)]


def vm_object(moid: str) -> dict[str, str]:
    """How the tagging service names a machine."""
    return {"id": moid, "type": "VirtualMachine"}


class Names:
    """The names of tags and categories, each asked for once."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._tags: dict[str, tuple[str, str] | None] = {}
        self._categories: dict[str, str | None] = {}

    def of(self, tag: str) -> tuple[str, str] | None:
        """Category and name of a tag; None for one that was removed since it was named."""
        if tag not in self._tags:
            found = self._rest.get("tag", tag)
            category = self._category(found["category_id"]) if found is not None else None
            self._tags[tag] = (category, found["name"]) if category is not None else None
        return self._tags[tag]

    def _category(self, ident: str) -> str | None:
        if ident not in self._categories:
            found = self._rest.get("category", ident)
            self._categories[ident] = found["name"] if found is not None else None
        return self._categories[ident]


def tags_of(rest: Rest, moids: Sequence[str]) -> Tags:
    """The tags of machines; one without tags is missing.

    Raises:
        VSphereError: the tagging service refuses or does not answer.
    """
    names = Names(rest)
    found: Tags = {}
    for batch in batches(moids):
        body = {"object_ids": [vm_object(moid) for moid in batch]}
        for row in rest.post("tag-association", action="list-attached-tags-on-objects", body=body):
            found[row["object_id"]["id"]] = _by_category([pair for tag in row["tag_ids"] if (pair := names.of(tag))])
    return found


def _by_category(pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    several: dict[str, list[str]] = {}
    for category, name in sorted(pairs):
        several.setdefault(category, []).append(name)
    return {category: tuple(names) for category, names in several.items()}
