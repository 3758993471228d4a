"""Places of a vCenter by name: folders, networks, pools, datastores, as one read gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyVmomi import vim

from deploys.errors import near
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.reads import Found, folder
from deploys.vsphere.rows import coded, shown
from deploys.vsphere.session import Session

KINDS: tuple[tuple[type[Any], tuple[str, ...]], ...] = (
    (vim.Datacenter, ("name", "parent", "vmFolder")),
    (vim.Folder, ("name", "parent", "childType")),
    (vim.ComputeResource, ("name", "parent", "resourcePool")),
    (vim.ResourcePool, ("name", "parent", "owner")),
    (vim.Datastore, ("name", "parent")),
    (vim.Network, ("name", "parent")),
)
"""What must have been read of a vCenter for its places to be known."""


class Places:
    """Everything that a machine is put into, looked up by the names that a person uses."""

    def __init__(self, session: Session, found: Found) -> None:
        self._found = found
        self._session = session

    def _of(self, kind: type[Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        return ((obj, row) for obj, row in self._found.values() if isinstance(obj, kind) and "name" in row)

    def _where(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        return folder(row.get("parent"), self._found)

    def datacenter(self, name: str) -> tuple[Any, Mapping[str, Any]]:
        """A datacenter, by the first step of a path (in folders of datacenters: the name alone)."""
        found = [(obj, row) for obj, row in self._of(vim.Datacenter) if shown(row["name"]) == shown(name)]
        return self._one(found, "datacenter", name, [row["name"] for _, row in self._of(vim.Datacenter)])

    def folder(self, path: str) -> Any | None:  # noqa: ANN401 - pyvmomi's objects
        """The folder of machines at a path such as DC0/prod/web; None when a step of it is not there."""
        first, *steps = path.split("/")
        place: Any = self.datacenter(first)[1]["vmFolder"]
        for step in steps:
            inside = [
                obj for obj, row in self._of(vim.Folder)
                if _same(row.get("parent"), place) and shown(row["name"]) == shown(step)
            ]  # fmt: skip
            if not inside:
                return None
            place = inside[0]
        return place

    def pool(self, datacenter: str, cluster: str, pool: Sequence[str] = ()) -> Any:  # noqa: ANN401 - pyvmomi's objects
        """The root pool of a cluster or host, or a pool below it."""
        place: Any = self._cluster(datacenter, cluster)[1]["resourcePool"]
        for step in pool:
            below = [(obj, row) for obj, row in self._of(vim.ResourcePool) if _same(row.get("parent"), place)]
            named = [each for each in below if shown(each[1]["name"]) == step]
            place = self._one(named, f"pool of {cluster}", step, [shown(row["name"]) for _, row in below])[0]
        return place

    def cluster(self, datacenter: str, name: str) -> Any:  # noqa: ANN401 - pyvmomi's objects
        """A cluster of a datacenter."""
        return self._cluster(datacenter, name)[0]

    def _cluster(self, datacenter: str, name: str) -> tuple[Any, Mapping[str, Any]]:
        inside = [(obj, row) for obj, row in self._of(vim.ComputeResource) if self._in(row, datacenter)]
        found = [each for each in inside if shown(each[1]["name"]) == name]
        return self._one(found, "cluster or host", name, [shown(row["name"]) for _, row in inside])

    def datastore(self, datacenter: str, name: str) -> Any:  # noqa: ANN401 - pyvmomi's objects
        """A datastore of a datacenter."""
        return self._named(vim.Datastore, "datastore", datacenter, name)

    def network(self, datacenter: str, name: str) -> Any:  # noqa: ANN401 - pyvmomi's objects
        """A network or distributed port group of a datacenter."""
        return self._named(vim.Network, "network", datacenter, name)

    def network_names(self) -> dict[str, str]:
        """Moid of a network -> its name. The key of a distributed port group is its moid on every vCenter."""
        return {obj._moId: shown(row["name"]) for obj, row in self._of(vim.Network)}  # noqa: SLF001 - its only name

    def switch_of(self, group: Any) -> str:  # noqa: ANN401 - pyvmomi's objects
        """The UUID of the switch of a distributed port group, which a new adapter must name."""
        return str(self._session.read(lambda _: group.config.distributedVirtualSwitch.uuid))

    def _named(self, kind: type[Any], what: str, datacenter: str, name: str) -> Any:  # noqa: ANN401
        inside = [(obj, row) for obj, row in self._of(kind) if self._in(row, datacenter)]
        found = [each for each in inside if shown(each[1]["name"]) == name]
        return self._one(found, what, name, [shown(row["name"]) for _, row in inside])[0]

    def _in(self, row: Mapping[str, Any], datacenter: str) -> bool:
        return self._where(row)[:1] == (shown(datacenter),)

    def _one(
        self, found: Sequence[tuple[Any, Mapping[str, Any]]], what: str, name: str, known: Sequence[str]
    ) -> tuple[Any, Mapping[str, Any]]:
        if len(found) == 1:
            return found[0]
        place = self._session.vcenter.place
        if found:
            message = f"vCenter {place}: there are {len(found)} of the name {coded(name)!r} as {what}: give them names"
        else:
            message = f"vCenter {place}: there is no {what} {name!r}{near(name, known)} that the user may see"
        raise VSphereError(message)


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - pyvmomi's objects
    return one is not None and one._moId == other._moId  # noqa: SLF001 - its only name
