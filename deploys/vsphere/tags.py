"""Tags: read for a thousand objects a call, and only those tags looked up that something bears."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from deploys.vsphere.errors import VSphereError
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


class Given:
    """Tags that machines are given: categories and tags are made where they are not there."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._categories: dict[str, str] | None = None
        self._tags: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def give(self, moid: str, wanted: Mapping[str, str], before: Mapping[str, Sequence[str]]) -> None:
        """Let a machine bear one tag of each category, instead of those that it bears.

        Args:
            moid: which machine.
            wanted: category -> tag.
            before: category -> the tags that it bears of it.

        Raises:
            VSphereError: the tagging service refuses or does not answer.
        """
        body = {"object_ids": [vm_object(moid)]}
        with self._lock:
            for category, name in wanted.items():
                # Those that are wrong go first: a category may allow one only.
                for other in before.get(category, ()):
                    if other != name:
                        self._associate(self._tag(category, other), "detach-tag-from-multiple-objects", body)
                self._associate(self._tag(category, name), "attach-tag-to-multiple-objects", body)

    def bearers(self, wanted: Mapping[str, str]) -> dict[str, set[str]]:
        """Category -> the moids of all machines that bear the tag that is wanted of it."""
        with self._lock:
            tags = {self._tag(category, name): category for category, name in wanted.items()}
        if not tags:
            return {}
        body = {"tag_ids": list(tags)}
        rows = self._rest.post("tag-association", action="list-attached-objects-on-tags", body=body)
        return {tags[row["tag_id"]]: {each["id"] for each in row["object_ids"]} for row in rows}

    def _associate(self, tag: str, action: str, body: Mapping[str, Any]) -> None:
        answer = self._rest.post("tag-association", tag, action=action, body=body)
        # A batch is answered as done, whatever of it could not be.
        if isinstance(answer, dict) and not answer.get("success", True):
            words = [str(each.get("default_message") or each) for each in answer.get("error_messages") or ()]
            message = f"the tag cannot be {action.partition('-')[0]}ed: {'; '.join(words) or 'no words'}"
            raise VSphereError(message)

    def _tag(self, category: str, name: str) -> str:
        if (category, name) not in self._tags:
            self._look_up_tags(category)
        if (category, name) not in self._tags:
            body = {"name": name, "description": "", "category_id": self._category(category)}
            try:
                self._tags[category, name] = self._rest.post("tag", body=body, envelope="create_spec")
            except VSphereError:
                # Made at this moment by another run, or by this one, whose answer was lost.
                self._look_up_tags(category)
                if (category, name) not in self._tags:
                    raise
        return self._tags[category, name]

    def _look_up_tags(self, category: str) -> None:
        for tag in self._rest.tags_of_category(self._category(category)):
            found = self._rest.get("tag", tag)
            if found is not None:
                self._tags[category, found["name"]] = tag

    def _category(self, name: str) -> str:
        if self._categories is None:
            self._categories = self._all_categories()
        if name not in self._categories:
            body = {"name": name, "description": "Photon Fleet", "cardinality": "SINGLE",
                    "associable_types": ["VirtualMachine"]}  # fmt: skip
            try:
                self._categories[name] = self._rest.post("category", body=body, envelope="create_spec")
            except VSphereError:
                # As with tags.
                self._categories = self._all_categories()
                if name not in self._categories:
                    raise
        return self._categories[name]

    def _all_categories(self) -> dict[str, str]:
        found = {ident: self._rest.get("category", ident) for ident in self._rest.get("category")}
        return {each["name"]: ident for ident, each in found.items() if each is not None}
