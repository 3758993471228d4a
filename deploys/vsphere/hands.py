"""What is changed on a vCenter: each call is made once, and where its answer is lost it is looked at what came of it.

Nothing here decides what is to be done: see machine plans in `operations.vm`. A machine is only ever touched after it
was seen to bear our mark, and a change of its configuration names the version that it was planned for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from deploys.vsphere import looks
from deploys.vsphere.errors import UnansweredError, VSphereError, said
from deploys.vsphere.looks import LOOKS, comes_true
from deploys.vsphere.machine import MARK
from deploys.vsphere.places import Places
from deploys.vsphere.reads import of_these
from deploys.vsphere.rows import coded, shown
from deploys.vsphere.session import Session
from deploys.vsphere.tasks import TaskError, Tasks

if TYPE_CHECKING:
    from deploys.vsphere.templates import Origin

OFF_SECONDS = 180
"""A guest that does not shut down within this is switched off."""


@dataclass(frozen=True)
class Clone:
    """A machine that is to be made from a template.

    Args:
        folder, label: where it is, from the datacenter down, and its name; both as the API writes names.
        template: path of a template.
        mark: what tells it as ours, from its first moment.
        more: further extraConfig keys it is made with, such as the data of its first boot.
        origin: what the template is made from when it is not there; None for one of somebody else's.
    """

    folder: str
    label: str
    template: str
    mark: str
    cluster: str
    pool: tuple[str, ...] = ()
    datastore: str | None = None
    cpus: int = 1
    cores_per_socket: int = 1
    memory_mib: int = 1024
    annotation: str = ""
    more: Mapping[str, str] = field(default_factory=dict, repr=False)
    origin: Origin | None = None

    @property
    def datacenter(self) -> str:
        """The first step of its path."""
        return self.folder.partition("/")[0]


class Hands:
    """The changes of a run on one vCenter."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.tasks = Tasks(session)

    def child_folder(self, place: Any, name: str) -> Any:  # noqa: ANN401 - pyvmomi's objects
        """Make a folder in another; one that somebody makes at the same time is as good.

        Raises:
            VSphereError: the vCenter refuses, or the name is taken by something else.
        """
        for _ in range(LOOKS):
            try:
                return self._session.write(lambda _: place.CreateFolder(coded(shown(name))))
            except vim.fault.DuplicateName as fault:
                if isinstance(fault.object, vim.Folder):
                    return self._session.managed(fault.object._moId, vim.Folder)  # noqa: SLF001 - its only name
                message = f"{shown(name)!r} is no folder of machines, and its name is taken"
                raise self._error(message) from fault
            except UnansweredError:
                # If it was made, the next try is told so.
                time.sleep(looks.LOOK_SECONDS)
            except vmodl.MethodFault as fault:
                message = f"the folder {shown(name)!r} cannot be made: {said(fault)}"
                raise self._error(message) from fault
        message = f"the folder {shown(name)!r} cannot be made: no answer"
        raise self._error(message)

    def clone(self, places: Places, into: Any, wanted: Clone) -> str:  # noqa: ANN401 - pyvmomi's objects
        """Make a machine, switched off; the moid.

        One of its name that bears its mark is taken for what an earlier try has made.

        Raises:
            VSphereError: the name is another machine's, a place is not there, or the vCenter refuses.
        """
        template = self._template(places, wanted)
        spec = self._clone_spec(places, wanted)
        what = f"the clone {wanted.folder}/{wanted.label}"
        for _ in range(2):
            try:
                with self.tasks.slot():
                    task = self._session.write(
                        lambda _: template.CloneVM_Task(folder=into, name=wanted.label, spec=spec)
                    )
                    return str(self.tasks.result(task, what)._moId)  # noqa: SLF001 - its only name
            except (TaskError, vim.fault.DuplicateName) as error:
                fault = error.fault if isinstance(error, TaskError) else error
                if isinstance(fault, vim.fault.DuplicateName):
                    return self._adopted(fault.object, wanted)
                raise
            except vmodl.MethodFault as fault:
                message = f"{what}: {said(fault)}"
                raise self._error(message) from fault
            except UnansweredError:
                made = self._made_meanwhile(into, wanted)
                if made is not None:
                    return made
        message = f"{what}: no answer, twice"
        raise self._error(message)

    def _made_meanwhile(self, into: Any, wanted: Clone) -> str | None:  # noqa: ANN401 - pyvmomi's objects
        """The machine that a clone whose answer was lost has made, if it was begun at all."""
        for _ in range(LOOKS):
            found = self._session.read(lambda content: content.searchIndex.FindChild(into, wanted.label))
            if found is not None:
                return self._adopted(found, wanted)
            time.sleep(looks.LOOK_SECONDS)
        return None

    def _adopted(self, found: Any, wanted: Clone) -> str:  # noqa: ANN401 - pyvmomi's objects
        """The machine of that name, once it is whole, if it bears the mark."""
        path = f"{wanted.folder}/{wanted.label}"
        moid = str(found._moId) if isinstance(found, vim.VirtualMachine) else ""  # noqa: SLF001 - its only name
        for _ in range(LOOKS if moid else 0):
            row = self._session.read(lambda content: of_these(content, [found], ["config.extraConfig"])).get(moid)
            # While it is being made it has no configuration yet.
            if row is not None and "config.extraConfig" in row[1]:
                marks = {each.key: each.value for each in row[1]["config.extraConfig"]}
                if marks.get(MARK) == wanted.mark:
                    return moid
                break
            time.sleep(looks.LOOK_SECONDS)
        message = f"{path} is there already, and is not ours: nothing was done to it"
        raise self._error(message)

    def _template(self, places: Places, wanted: Clone) -> Any:  # noqa: ANN401 - pyvmomi's objects
        folder, _, name = wanted.template.rpartition("/")
        inside = places.folder(folder)
        found = inside and self._session.read(lambda content: content.searchIndex.FindChild(inside, coded(shown(name))))
        if not isinstance(found, vim.VirtualMachine):
            message = f"there is no template {wanted.template!r} that the user may see"
            raise self._error(message)
        return found

    def _clone_spec(self, places: Places, wanted: Clone) -> Any:  # noqa: ANN401 - pyvmomi's objects
        where = vim.vm.RelocateSpec(pool=places.pool(wanted.datacenter, wanted.cluster, wanted.pool))
        if wanted.datastore is not None:
            where.datastore = places.datastore(wanted.datacenter, wanted.datastore)
        config = vim.vm.ConfigSpec(
            numCPUs=wanted.cpus, numCoresPerSocket=wanted.cores_per_socket, memoryMB=wanted.memory_mib,
            annotation=wanted.annotation, extraConfig=_options({MARK: wanted.mark, **wanted.more}),
        )  # fmt: skip
        return vim.vm.CloneSpec(location=where, config=config, powerOn=False, template=False)

    def reconfigure(self, moid: str, what: str, **spec: Any) -> None:  # noqa: ANN401 - fields of a ConfigSpec
        """Change a machine's configuration.

        Args:
            moid: which machine.
            what: for the error: "the CPUs of web-1".
            spec: fields of a ConfigSpec; `changeVersion` lets a change that was planned for another one be refused.

        Raises:
            VSphereError: the vCenter refuses, or its answer was lost: what there is then is for the next look.
        """
        vm = self._session.managed(moid, vim.VirtualMachine)
        self.task(lambda _: vm.ReconfigVM_Task(vim.vm.ConfigSpec(**spec)), what)

    def power_on(self, moid: str, what: str) -> None:
        """Switch a machine on; one that runs stays as it is."""
        vm = self._session.managed(moid, vim.VirtualMachine)
        self._until_power(lambda _: vm.PowerOnVM_Task(), vm, "poweredOn", what)

    def power_off(self, moid: str, what: str) -> None:
        """Cut a machine's power; one that is off stays so."""
        vm = self._session.managed(moid, vim.VirtualMachine)
        self._until_power(lambda _: vm.PowerOffVM_Task(), vm, "poweredOff", what)

    def shut_down(self, moid: str, what: str, seconds: float = OFF_SECONDS) -> None:
        """Let a guest shut itself down; after so many seconds, or without VMware Tools, its power is cut."""
        vm = self._session.managed(moid, vim.VirtualMachine)
        if not self._asked_to_shut_down(vm, what):
            seconds = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._power_of(vm) == "poweredOff":
                return
            time.sleep(looks.LOOK_SECONDS)
        self.power_off(moid, what)

    def _asked_to_shut_down(self, vm: Any, what: str) -> bool:  # noqa: ANN401 - pyvmomi's objects
        for _ in range(2):
            try:
                self._session.write(lambda _: vm.ShutdownGuest())
            except UnansweredError:
                # Asked twice it shuts down once; and to cut its power now could hit it in the middle of that.
                continue
            except (vim.fault.ToolsUnavailable, vim.fault.InvalidPowerState, vmodl.fault.NotSupported):
                return False
            except vmodl.MethodFault as fault:
                message = f"{what}: {said(fault)}"
                raise self._error(message) from fault
            break
        return True

    def _power_of(self, vm: Any) -> str:  # noqa: ANN401 - pyvmomi's objects
        rows = self._session.read(lambda content: of_these(content, [vm], ["runtime.powerState"]))
        return str(rows[vm._moId][1].get("runtime.powerState", "")) if vm._moId in rows else ""  # noqa: SLF001

    def _until_power(self, call: Any, vm: Any, state: str, what: str) -> None:  # noqa: ANN401 - pyvmomi's objects
        try:
            self.task(call, what)
        except UnansweredError:
            # If it was begun, it takes its time.
            if not comes_true(lambda: self._power_of(vm) == state):
                raise
        except VSphereError:
            # Refused because it is so already: what counts is what it is.
            if self._power_of(vm) != state:
                raise

    def task(self, call: Any, what: str) -> Any:  # noqa: ANN401 - pyvmomi's objects
        """Begin a task and wait for what it comes to.

        Raises:
            VSphereError: it is refused, ends with a fault, or its answer was lost.
        """
        with self.tasks.slot():
            try:
                task = self._session.write(call)
            except UnansweredError as error:
                message = f"{what}: {error}. Run this again: it looks first whether that was done"
                raise UnansweredError(message) from error
            except vmodl.MethodFault as fault:
                message = f"{what}: {said(fault)}"
                raise self._error(message) from fault
            return self.tasks.result(task, what)

    def rename(self, moid: str, label: str, what: str) -> None:
        """Give a machine another name."""
        vm = self._session.managed(moid, vim.VirtualMachine)
        self.task(lambda _: vm.Rename_Task(coded(label)), what)

    def move(self, moid: str, into: Any, what: str) -> None:  # noqa: ANN401 - pyvmomi's objects
        """Put a machine into another folder."""
        vm = self._session.managed(moid, vim.VirtualMachine)
        self.task(lambda _: into.MoveIntoFolder_Task([vm]), what)

    def destroy(self, moid: str, what: str) -> None:
        """Remove a machine and its disks; one that is gone is as good."""
        vm = self._session.managed(moid, vim.VirtualMachine)
        try:
            self.task(lambda _: vm.Destroy_Task(), what)
        except UnansweredError as error:
            if not comes_true(lambda: not self._power_of(vm)):
                message = f"{what}: no answer, and it is still there: run this again"
                raise self._error(message) from error
        except VSphereError:
            if self._power_of(vm):
                raise

    def _error(self, words: str) -> VSphereError:
        return VSphereError(f"vCenter {self._session.vcenter.place}: {words}")


def _options(values: Mapping[str, str]) -> Sequence[Any]:
    return [vim.option.OptionValue(key=key, value=value) for key, value in sorted(values.items())]
