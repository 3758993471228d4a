"""The end of a machine: what goes with it when it is removed, and what must not.

Formats: VirtualMachineFileInfo, VirtualDisk and its backings, VirtualMachineSnapshot of the vSphere Web Services API.
`Destroy_Task` deletes the files of all disks that are attached, whosever they are.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from deploys.vsphere.crew import Crew
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.machine import MARK, machine_of
from deploys.vsphere.reads import of_these
from deploys.vsphere.rows import coded, shown
from deploys.vsphere.session import Session

_PATHS = (
    "name", "config.template", "config.instanceUuid", "config.extraConfig", "config.hardware.device",
    "config.files.vmPathName", "config.changeVersion", "runtime.powerState", "runtime.question", "snapshot",
)  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """A disk that must outlive its machine.

    Args:
        file: "[datastore] folder/name.vmdk"
        why: "it is not in the machine's own directory [datastore] web-1"
        snapshot: the name of the snapshot that holds it; empty when it is attached.
    """

    key: int
    file: str
    why: str
    snapshot: str = ""


@dataclass(frozen=True)
class Doomed:
    """A machine that is to be removed, as it is now."""

    moid: str
    label: str
    uuid: str
    template: bool
    mark: str
    version: str
    power: str
    question: str
    kept: tuple[Kept, ...]

    def refusals(self, mark: str, detach: Collection[str]) -> Iterator[str]:
        """Why it is not removed.

        Args:
            mark: what it bears when it is ours.
            detach: files of disks that are to be detached before.
        """
        if self.mark != mark:
            whose = f"it bears the mark {self.mark!r}" if self.mark else "it bears no mark of ours"
            yield f"{self.label} is not the host's machine: {whose}"
            return
        if self.template:
            yield f"{self.label} is a template now, and templates are not removed here"
        if self.question:
            yield f"{self.label} waits for an answer, on its console in the vCenter: {self.question}"
        for disk in self.kept:
            if disk.snapshot:
                yield f"its snapshot {disk.snapshot!r} holds the disk {disk.file}: {disk.why}. Remove that snapshot"
            elif disk.file not in detach:
                yield (
                    f"the disk {disk.file} would be deleted with it: {disk.why}. If it is to be kept, detach it, by "
                    f'--data detach="{disk.file}"; if not, move it into that directory'
                )


def look(session: Session, uuid: str) -> Doomed | None:
    """The machine, or template, of an instance UUID; None when there is none that the user may see.

    Raises:
        VSphereError: the vCenter refuses or does not answer.
    """
    found = session.read(lambda content: content.searchIndex.FindByUuid(None, uuid, True, True))  # noqa: FBT003 - pyvmomi
    rows = session.read(lambda content: of_these(content, [found], _PATHS)) if found is not None else {}
    if found is None or found._moId not in rows:  # noqa: SLF001 - its only name
        return None
    row = rows[found._moId][1]  # noqa: SLF001 - its only name
    directory = posixpath.dirname(row.get("config.files.vmPathName") or "")
    machine = machine_of(found._moId, row, {})  # noqa: SLF001 - its only name
    question = row.get("runtime.question")
    kept = list(disks_to_keep(row.get("config.hardware.device") or (), directory))
    snapshots = {each.moid: each.name for each in machine.snapshots}
    objects = [session.managed(moid, vim.vm.Snapshot) for moid in snapshots]
    for moid, (_, held) in session.read(lambda content: of_these(content, objects, ["config"])).items():
        devices = held["config"].hardware.device if held.get("config") is not None else ()
        kept += disks_to_keep(devices, directory, snapshots[moid])
    return Doomed(
        moid=machine.moid, label=shown(row.get("name", "")), uuid=row.get("config.instanceUuid") or "",
        template=bool(row.get("config.template")), mark=machine.marks.get(MARK, ""), version=machine.version,
        power=str(row.get("runtime.powerState")), question=question.text if question is not None else "",
        kept=tuple(kept),
    )  # fmt: skip


def disks_to_keep(devices: Sequence[Any], directory: str, snapshot: str = "") -> Iterator[Kept]:
    """The disks among devices that are not a machine's alone.

    Args:
        devices: VirtualDevice objects.
        directory: of the machine's own files: "[datastore] web-1".
        snapshot: the name of the one that they are of.
    """
    controllers: Mapping[int, Any] = {each.key: each for each in devices}
    for each in devices:
        if isinstance(each, vim.vm.device.VirtualDisk):
            file = getattr(each.backing, "fileName", "") or ""
            why = _why_kept(each, file, controllers.get(each.controllerKey or 0), directory)
            if why:
                yield Kept(each.key, file, why, snapshot)


def _why_kept(disk: Any, file: str, controller: Any, directory: str) -> str:  # noqa: ANN401 - pyvmomi's objects
    backing = disk.backing
    if isinstance(backing, vim.vm.device.VirtualDisk.RawDiskMappingVer1BackingInfo):
        return "it is a LUN (RDM)"
    if getattr(disk, "vDiskId", None) is not None:
        return "it is a first class disk, which has a life of its own"
    if str(getattr(backing, "diskMode", "")).startswith("independent"):
        return "it is independent of snapshots, as disks are that are kept"
    sharing = str(getattr(backing, "sharing", None) or "sharingNone")
    if sharing != "sharingNone" or str(getattr(controller, "sharedBus", "noSharing")) != "noSharing":
        return "it is shared with other machines"
    if not directory or posixpath.dirname(file) != directory:
        return f"it is not in the machine's own directory {directory}"
    return ""


def remove(crew: Crew, uuid: str, mark: str, detach: Collection[str]) -> None:
    """Shut a machine down and remove it, after another look at whether it is the one that is meant.

    Raises:
        VSphereError: it is not to be removed, or the vCenter refuses or does not answer.
    """
    there = look(crew.session, uuid)
    if there is None:
        return
    wrong = list(there.refusals(mark, detach))
    if wrong:
        raise VSphereError("; ".join(wrong))
    if there.power != "poweredOff":
        what = f"the shutdown of {there.label}"
        if there.power == "poweredOn":
            crew.hands.shut_down(there.moid, what)
        else:
            crew.hands.power_off(there.moid, what)
    if there.kept:
        _detach(crew, there)
    again = look(crew.session, uuid)
    if again is not None:
        wrong = list(again.refusals(mark, ()))
        if wrong:
            raise VSphereError("; ".join(wrong))
        crew.hands.destroy(again.moid, f"the removal of {coded(there.label)}")


def _detach(crew: Crew, there: Doomed) -> None:
    """Take the disks off that are kept; their files stay, as nothing is said of them."""
    vm = crew.session.managed(there.moid, vim.VirtualMachine)
    found = crew.session.read(lambda content: of_these(content, [vm], ["config.hardware.device"]))
    keys = {disk.key for disk in there.kept}
    devices = [each for each in found[there.moid][1]["config.hardware.device"] if each.key in keys]
    changes = [vim.vm.device.VirtualDeviceSpec(operation="remove", device=each) for each in devices]
    crew.hands.reconfigure(there.moid, f"taking disks off {there.label}", deviceChange=changes)
