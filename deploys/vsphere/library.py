"""Content libraries: an item of one is deployed as a machine.

Formats: vSphere Automation API, `content/library`, `content/library/item` and `vcenter/ovf/library-item`, in both
dialects (see rest.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from deploys.vsphere.errors import VSphereError
from deploys.vsphere.package import LibraryEntry
from deploys.vsphere.rest import Rest

DEPLOY_SECONDS = 3600
"""The end of a deployment that is not answered: it copies the item's disks first."""


def item_id(rest: Rest, item: LibraryEntry) -> str:
    """The id of an item.

    Raises:
        VSphereError: there is none of that name, or several, or the vCenter refuses.
    """
    libraries = rest.find("content", "library", {"name": item.library})
    library = _one(libraries, f"content library {item.library!r}")
    items = rest.find("content", "library/item", {"name": item.name, "library_id": library})
    return _one(items, f"item {item.name!r} of the content library {item.library!r}")


def _one(found: list[str], what: str) -> str:
    if len(found) != 1:
        number = f"there are {len(found)} of the" if found else "there is no"
        message = f"{number} {what} that the user may see"
        raise VSphereError(message)
    return found[0]


@dataclass(frozen=True)
class Deployment:
    """A machine that is to be made of an item, by ids of the vCenter's objects."""

    name: str
    annotation: str
    folder: str
    pool: str
    datastore: str


def deploy(rest: Rest, ident: str, wanted: Deployment) -> str:
    """Make a machine of an item; its moid.

    Raises:
        UnansweredError: no answer; look whether it was made.
        VSphereError: the vCenter refuses.
    """
    body = {
        "target": {"resource_pool_id": wanted.pool, "folder_id": wanted.folder},
        "deployment_spec": {
            "name": wanted.name, "annotation": wanted.annotation, "accept_all_EULA": True,
            "storage_provisioning": "thin", "default_datastore_id": wanted.datastore,
        },
    }  # fmt: skip
    answer = rest.once("vcenter/ovf", ("library-item", ident), "deploy", body, DEPLOY_SECONDS) or {}
    made = answer.get("resource_id") or {}
    if not answer.get("succeeded") or not made.get("id"):
        raise VSphereError(_words(answer.get("error") or {}))
    return str(made["id"])


def _words(error: dict[str, object]) -> str:
    """The sentences of a deployment's error, wherever it has them."""
    found: list[str] = []

    def gather(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("default_message"), str):
                found.append(value["default_message"])
            for each in value.values():
                gather(each)
        elif isinstance(value, list):
            for each in value:
                gather(each)

    gather(error)
    return "; ".join(dict.fromkeys(found)) or "it failed without a reason"
