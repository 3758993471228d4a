"""The machines of a run on one vCenter: all read together, and found by what is written down of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyVmomi import vim

from deploys.policies.vcenter import VCenter
from deploys.vsphere import attributes
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.hands import Hands
from deploys.vsphere.machine import MARK, PATHS, Machine, machine_of, machines
from deploys.vsphere.places import KINDS, Places
from deploys.vsphere.reads import VM_PATHS, Everything, everything, folder, of_these
from deploys.vsphere.rest import Rest
from deploys.vsphere.rows import AddressRule, Vm, coded
from deploys.vsphere.rules import Rules
from deploys.vsphere.session import session
from deploys.vsphere.snapshots import Snapshots
from deploys.vsphere.spec import fields
from deploys.vsphere.tags import Given, tags_of
from deploys.vsphere.templates import Templates
from operations._vm_plan import Change


@dataclass(frozen=True)
class Identity:
    """How a host's machine is found.

    Args:
        path: where it is to be, as `Vm.path` writes it.
        uuid: what is written down of it; empty when nothing is.
        mark: what it bears when it is ours.
        tagged: whether its tags are of interest.
    """

    path: str
    uuid: str
    mark: str
    tagged: bool = False


@dataclass(frozen=True)
class Seen:
    """A machine as it is now."""

    vm: Vm
    machine: Machine

    def to_fact(self, rule: AddressRule) -> dict[str, Any]:
        """The value of `facts.vm.VirtualMachine`; names as the API writes them."""
        vm, machine = self.vm, self.machine
        place = rule.of(vm) if vm.power == "on" else None
        return {
            "moid": vm.moid, "uuid": vm.uuid, "folder": "/".join(map(coded, vm.folder)), "label": coded(vm.name),
            "power": vm.power, "tools": vm.tools, "question": vm.question, "cpus": machine.cpus,
            "cores_per_socket": machine.cores_per_socket, "memory_mib": machine.memory_mib,
            "cpu_hot_add": machine.cpu_hot_add, "memory_hot_add": machine.memory_hot_add,
            "disks": [{"key": each.key, "unit": each.unit, "kib": each.kib} for each in machine.disks if each.bus == 0],
            "adapters": [asdict(each) for each in machine.adapters],
            "annotation": vm.annotation, "attributes": dict(vm.attributes),
            "tags": {category: list(names) for category, names in vm.tags.items()},
            "marks": dict(machine.marks), "version": machine.version,
            "snapshots": [{**asdict(each), "at": each.at.isoformat()} for each in machine.snapshots],
            "address": place or "", "why_not": "" if place else rule.reason(vm),
        }  # fmt: skip


class Crew:
    """What is known, in this run, of the machines of its hosts; read when it is first asked for."""

    def __init__(self, vcenter: VCenter, identities: Mapping[str, Identity]) -> None:
        self.session = session(vcenter)
        self.hands = Hands(self.session)
        self.rest = Rest(self.session)
        self.tags = Given(self.rest)
        self.rules = Rules(self.session, self.hands)
        self.snapshots = Snapshots(self.session, self.hands)
        self.templates = Templates(self)
        self._identities = dict(identities)
        self._lock = threading.Lock()
        self._read: tuple[Everything, Places] | None = None
        self._seen: dict[str, Seen] = {}
        self._known: dict[str, str] = {}
        self.touched: set[str] = set()
        """The hosts at whose machines this run has changed something."""

    def seen(self, host: str, *, template: bool = False) -> Seen | None:
        """The machine of a host; None when there is none.

        Args:
            host: whose.
            template: one that is a template now is as good.

        Raises:
            VSphereError: what is in its place is not ours, is a template, or the vCenter refuses or does not answer.
        """
        with self._lock:
            self._all()
            if host not in self._seen and host in self._known:
                self._read_some([host])
        found = self._seen.get(host)
        if found is not None and found.machine.marks.get(MARK) != self._identities[host].mark:
            bears = found.machine.marks.get(MARK)
            whose = f"it bears the mark {bears!r}" if bears else "it bears no mark of ours"
            message = f"{found.vm.path} is there and is not {host}'s: {whose}. Nothing is done to it"
            raise VSphereError(message)
        if found is not None and found.vm.template and not template:
            message = f"{found.vm.path} is a template now: deploys/fixes/vm_template.py makes it a machine again"
            raise VSphereError(message)
        return found

    @property
    def places(self) -> Places:
        """Where machines are put."""
        with self._lock:
            return self._all()[1]

    def changed(self, host: str, moid: str | None = None) -> None:
        """Read a host's machine anew when it is next asked for; `moid` when it has just been made."""
        with self._lock:
            self.touched.add(host)
            self._seen.pop(host, None)
            if moid is not None:
                self._known[host] = moid

    def gone(self, host: str) -> None:
        """The machine of a host was removed."""
        with self._lock:
            self._seen.pop(host, None)
            self._known.pop(host, None)

    def folder(self, path: str) -> Any:  # noqa: ANN401 - pyvmomi's objects
        """The folder of machines at a path, made with those above it where it is not there.

        Raises:
            VSphereError: the vCenter refuses, or there is no such datacenter.
        """
        with self._lock:
            found_all, places = self._all()
            first, *steps = path.split("/")
            place: Any = places.datacenter(first)[1]["vmFolder"]
            for depth, step in enumerate(steps):
                inside = places.folder("/".join([first, *steps[: depth + 1]]))
                if inside is None:
                    inside = self.hands.child_folder(place, step)
                    found_all.found[inside._moId] = (inside, {"name": step, "parent": place})  # noqa: SLF001
                place = inside
            return place

    def reconfigure(self, moid: str, what: str, needed: Change, version: str) -> None:
        """Carry out a planned change of a machine; one that was planned for another version of it is refused.

        Raises:
            VSphereError: the vCenter refuses, or a place is not there.
        """
        vm = self.session.managed(moid, vim.VirtualMachine)
        found = self.session.read(lambda content: of_these(content, [vm], ["config.hardware.device", "parent"]))
        if moid not in found:
            message = f"{what}: the machine is gone"
            raise VSphereError(message)
        row = found[moid][1]
        with self._lock:
            found_all, places = self._all()
        datacenter = coded((folder(row.get("parent"), found_all.found) or ("",))[0])
        given = fields(needed, row.get("config.hardware.device") or (), places, datacenter)
        self.hands.reconfigure(moid, what, **given, **({"changeVersion": version} if version else {}))

    def set_attributes(self, moid: str, values: Mapping[str, str]) -> None:
        """Give a machine custom attributes; those that the vCenter does not know are made.

        Raises:
            VSphereError: the vCenter refuses or does not answer.
        """
        vm = self.session.managed(moid, vim.VirtualMachine)
        with self._lock:
            found_all, _ = self._all()
            keys = {name: key for key, name in found_all.fields.items()}
            for name, value in values.items():
                if name not in keys:
                    keys[name] = attributes.defined(self.session, name)
                    found_all.fields[keys[name]] = name
                attributes.give(self.session, vm, keys[name], name, value)

    def attribute_keys(self) -> dict[str, int]:
        """Name of a custom attribute -> its key."""
        with self._lock:
            return {name: key for key, name in self._all()[0].fields.items()}

    def _all(self) -> tuple[Everything, Places]:
        if self._read is None:
            found = everything(self.session, *KINDS)
            self._read = found, Places(self.session, found.found)
            self._find(*self._read)
        return self._read

    def _find(self, found_all: Everything, places: Places) -> None:
        """The machine of each host: the one that is written down, else the one in its place."""
        rows = found_all.vms()
        by_uuid = {row.uuid: row for row in rows if row.uuid}
        by_path = {row.path: row for row in rows}
        chosen = {}
        for host, identity in self._identities.items():
            row = by_uuid.get(identity.uuid) or by_path.get(identity.path)
            if row is not None:
                chosen[host] = row
        found = machines(self.session, [row.moid for row in chosen.values()], places.network_names())
        tagged = [row.moid for host, row in chosen.items() if self._identities[host].tagged]
        tags = tags_of(self.rest, tagged) if tagged else {}
        for host, row in chosen.items():
            if row.moid in found:
                self._known[host] = row.moid
                self._seen[host] = Seen(replace(row, tags=tags.get(row.moid, {})), found[row.moid])

    def look_again(self, hosts: Sequence[str]) -> None:
        """Read the machines of some hosts anew, all together.

        Raises:
            VSphereError: the vCenter does not answer.
        """
        with self._lock:
            self._all()
            self._read_some([host for host in hosts if host in self._known])

    def _read_some(self, hosts: Sequence[str]) -> None:
        found_all, places = self._all()
        moids = {host: self._known[host] for host in hosts}
        vms = [self.session.managed(moid, vim.VirtualMachine) for moid in moids.values()]
        fresh = self.session.read(lambda content: of_these(content, vms, [*VM_PATHS, *PATHS]))
        found_all.found.update(fresh)
        rows = {row.moid: row for row in found_all.vms(fresh)}
        tagged = [moid for host, moid in moids.items() if self._identities[host].tagged and moid in rows]
        tags = tags_of(self.rest, tagged) if tagged else {}
        for host, moid in moids.items():
            self._seen.pop(host, None)
            if moid in rows:
                detail = machine_of(moid, fresh[moid][1], places.network_names())
                self._seen[host] = Seen(replace(rows[moid], tags=tags.get(moid, {})), detail)
            else:
                self._known.pop(host)
