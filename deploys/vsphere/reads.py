"""The one bulk read: every machine, folder and host of a vCenter in a handful of calls, whatever their number.

Properties are asked for by dotted paths: whole `config` objects cost six times as much. A vCenter may answer in pages
at any time, whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim, vmodl

from deploys.vsphere.rows import Nic, Vm, shown
from deploys.vsphere.session import Content, Session

Properties = Mapping[str, Any]
Found = dict[str, tuple[Any, Properties]]
"""moid -> (the object, its properties). A property that is unset, or that we may not read, is missing."""

PAGE = 2000
"""Objects in one answer."""

VM_PATHS = (
    "name", "parent", "config.template", "config.uuid", "config.instanceUuid", "config.annotation",
    "runtime.powerState", "runtime.connectionState", "runtime.host", "runtime.question", "datastore",
    "guest.net", "guest.hostName", "guest.toolsRunningStatus", "customValue",
)  # fmt: skip
_PLACES: tuple[tuple[type[Any], tuple[str, ...]], ...] = (
    (vim.Folder, ("name", "parent")),
    (vim.Datacenter, ("name", "parent")),
    (vim.ComputeResource, ("name",)),
    (vim.HostSystem, ("name", "parent")),
    (vim.Datastore, ("name",)),
)
_POWER = {"poweredOn": "on", "poweredOff": "off", "suspended": "suspended"}


def under_root(content: Content, kinds: Sequence[tuple[type[Any], Sequence[str]]]) -> Found:
    """Properties of all objects of some kinds. The view that it takes is gone afterwards."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind for kind, _ in kinds], recursive=True)
    try:
        return _through(content, view, kinds)
    finally:
        view.DestroyView()


def of_these(content: Content, objects: Sequence[Any], paths: Sequence[str]) -> Found:
    """Properties of objects of one kind; those that are gone meanwhile are missing."""
    query = vmodl.query.PropertyCollector
    left = list(objects)
    while left:
        wanted = query.FilterSpec(
            objectSet=[query.ObjectSpec(obj=each, skip=False) for each in left],
            propSet=[query.PropertySpec(type=type(left[0]), all=False, pathSet=list(paths))],
        )
        try:
            return _rows(_pages(content.propertyCollector, wanted))
        except vmodl.fault.ManagedObjectNotFound as fault:
            # One that is gone refuses the call for all.
            there = [each for each in left if fault.obj is None or each._moId != fault.obj._moId]  # noqa: SLF001
            if len(there) == len(left):
                raise
            left = there
    return {}


def _through(content: Content, view: vim.view.View, kinds: Sequence[tuple[type[Any], Sequence[str]]]) -> Found:
    query = vmodl.query.PropertyCollector
    step = query.TraversalSpec(name="all", path="view", skip=False, type=type(view))
    wanted = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=view, skip=True, selectSet=[step])],
        propSet=[query.PropertySpec(type=kind, all=False, pathSet=list(paths)) for kind, paths in kinds],
    )
    return _rows(_pages(content.propertyCollector, wanted))


def _rows(objects: Iterable[Any]) -> Found:
    return {each.obj._moId: (each.obj, {item.name: item.val for item in each.propSet}) for each in objects}  # noqa: SLF001


def _pages(collector: Any, wanted: Any) -> Iterator[Any]:  # noqa: ANN401 - pyvmomi's objects
    answer = collector.RetrievePropertiesEx([wanted], vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=PAGE))
    while answer is not None:
        yield from answer.objects
        if not answer.token:
            return
        answer = collector.ContinueRetrievePropertiesEx(answer.token)


@dataclass(frozen=True)
class Everything:
    """One bulk read.

    Args:
        found: all objects of the kinds that were asked for.
        fields: key of a custom attribute -> its name.
    """

    found: Found
    fields: dict[int, str]

    def vms(self, moids: Iterable[str] | None = None) -> list[Vm]:
        """Machines and templates, all or those of some ids, by path; without tags, which another service has."""
        places = {moid: row for moid, row in self.found.items() if not isinstance(row[0], vim.VirtualMachine)}
        chosen = self.found if moids is None else {moid: self.found[moid] for moid in moids if moid in self.found}
        rows = [
            _row(moid, properties, places, self.fields)
            for moid, (kind, properties) in chosen.items()
            # One that was made this moment may have no name yet, and one that goes has none any more.
            if isinstance(kind, vim.VirtualMachine) and "name" in properties
        ]
        return sorted(rows, key=lambda row: (row.folder, row.name, row.moid))


def everything(session: Session, *more: tuple[type[Any], Sequence[str]]) -> Everything:
    """Every machine and template that the user may see, with what they are in; and objects of `more` kinds.

    Raises:
        VSphereError: the vCenter refuses or does not answer.
    """
    kinds = {kind: tuple(dict.fromkeys([*dict(_PLACES).get(kind, ()), *dict(more).get(kind, ())]))
             for kind in (*dict(_PLACES), *dict(more))}  # fmt: skip
    return session.read(
        lambda content: Everything(
            under_root(content, [(vim.VirtualMachine, VM_PATHS), *kinds.items()]),
            {each.key: each.name for each in content.customFieldsManager.field or ()},
        )
    )


def all_vms(session: Session) -> list[Vm]:
    """Every machine and template that the user may see, by path.

    Raises:
        VSphereError: the vCenter refuses or does not answer.
    """
    return everything(session).vms()


def _row(moid: str, properties: Properties, places: Found, fields: Mapping[int, str]) -> Vm:
    get = properties.get
    host: Any = get("runtime.host")
    question = get("runtime.question")
    return Vm(
        moid=moid,
        name=shown(properties["name"]),
        folder=folder(get("parent"), places),
        uuid=get("config.instanceUuid") or "",
        bios_uuid=get("config.uuid") or "",
        template=bool(get("config.template")),
        power=_POWER.get(str(get("runtime.powerState")), "off"),
        tools=get("guest.toolsRunningStatus") == "guestToolsRunning",
        question=question.text if question is not None else "",
        host=_name(host, places),
        cluster=_name(places[host._moId][1].get("parent"), places) if _known(host, places) else "",  # noqa: SLF001
        datastores=tuple(sorted(filter(None, (_name(each, places) for each in get("datastore") or ())))),
        reachable=str(get("runtime.connectionState", "connected")) == "connected",
        guest_name=get("guest.hostName") or "",
        annotation=get("config.annotation") or "",
        nics=tuple(_nics(get("guest.net") or ())),
        attributes={fields[each.key]: each.value for each in get("customValue") or () if each.key in fields},
    )


def folder(parent: Any, places: Found) -> tuple[str, ...]:  # noqa: ANN401 - pyvmomi's objects
    """Names from the datacenter down; the datacenter's own folder of machines and the root are no part of it."""
    names: list[str] = []
    while _known(parent, places):
        above = places[parent._moId][1]  # noqa: SLF001 - its only name
        over = above.get("parent")
        hidden = isinstance(parent, vim.Folder) and (over is None or isinstance(over, vim.Datacenter))
        if not hidden:
            names.append(shown(above.get("name", "")))
        parent = over
    return tuple(reversed(names))


def _known(obj: Any, places: Found) -> bool:  # noqa: ANN401 - pyvmomi's objects
    return obj is not None and obj._moId in places  # noqa: SLF001 - its only name


def _name(obj: Any, places: Found) -> str:  # noqa: ANN401 - pyvmomi's objects
    return shown(places[obj._moId][1].get("name", "")) if _known(obj, places) else ""  # noqa: SLF001 - its only name


def _nics(net: Iterable[Any]) -> Iterator[Nic]:
    for nic in net:
        config = nic.ipConfig
        detailed = [
            each.ipAddress for each in (config.ipAddress if config is not None else ())
            # A duplicate or an address that is being given up is none to connect to.
            if each.state in {None, "preferred", "unknown"}
        ]  # fmt: skip
        addresses = detailed if config is not None else list(nic.ipAddress or ())
        yield Nic(
            key=nic.deviceConfigId, network=shown(nic.network or ""), mac=(nic.macAddress or "").lower(),
            addresses=tuple(addresses), connected=bool(nic.connected),
        )  # fmt: skip
