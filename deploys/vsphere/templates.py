"""Templates that are made from a package or of an item of a content library, once, and cloned from then on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from deploys.vsphere.errors import UnansweredError, VSphereError, said
from deploys.vsphere.fetch import RemotePackage
from deploys.vsphere.lease import Lease
from deploys.vsphere.library import Deployment, deploy, item_id
from deploys.vsphere.looks import comes_true, is_busy
from deploys.vsphere.machine import MARK
from deploys.vsphere.package import LibraryEntry, Package
from deploys.vsphere.reads import of_these
from deploys.vsphere.rows import coded, shown

if TYPE_CHECKING:
    from deploys.vsphere.crew import Crew

BUSY_SECONDS = 1800
"""How long another run's import is waited for."""
UNFINISHED = "/unfinished"
"""Behind the mark until all disks are there: what tells the rest of an import that was cut off from a template that
somebody has made a machine of, to patch it."""


@dataclass(frozen=True)
class Origin:
    """What a template is made from, and where.

    Args:
        source: the files on the controller or a server, or the item of a library.
        mark: what the template bears from its first moment.
        cluster, pool, datastore: where it is made.
        network: the one that its adapters are plugged into; clones have their own.
    """

    source: Package | RemotePackage | LibraryEntry
    mark: str
    cluster: str
    pool: tuple[str, ...]
    datastore: str
    network: str


@dataclass(frozen=True)
class _State:
    mark: str
    is_template: bool
    is_on: bool


class Templates:
    """The templates of a run, each looked for once."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._there: set[str] = set()
        self._lock = threading.Lock()

    def provide(self, path: str, origin: Origin) -> None:
        """Have a template at a path, made if it is not there; by one host at a time.

        Raises:
            VSphereError: something else is there, or the vCenter refuses or does not answer.
            PackageError: the package cannot be read, or is not what its manifest says.
        """
        with self._lock:
            if path in self._there:
                return
            self._provide(path, origin)
            self._there.add(path)

    def mark(self, moid: str, what: str) -> None:
        """Make a machine that is off a template; one that is one is as good.

        Raises:
            VSphereError: the vCenter refuses, or does not answer.
        """
        self._until(lambda vm: vm.MarkAsTemplate(), moid, what, is_template=True)

    def unmark(self, moid: str, pool: Any, what: str) -> None:  # noqa: ANN401 - pyvmomi's objects
        """Make a template a machine of a pool; one that is one is as good.

        Raises:
            VSphereError: the vCenter refuses, or does not answer.
        """
        self._until(lambda vm: vm.MarkAsVirtualMachine(pool), moid, what, is_template=False)

    def _until(self, call: Callable[[Any], None], moid: str, what: str, *, is_template: bool) -> None:
        session = self._crew.session
        vm = session.managed(moid, vim.VirtualMachine)
        try:
            session.write(lambda _: call(vm))
        except (UnansweredError, vmodl.MethodFault) as error:
            if not comes_true(lambda: (state := self._state(vm)) is not None and state.is_template is is_template):
                words = said(error) if isinstance(error, vmodl.MethodFault) else f"{error}; run this again"
                message = f"{what}: {words}"
                raise VSphereError(message) from error

    def _provide(self, path: str, origin: Origin) -> None:
        above, _, name = path.rpartition("/")
        inside = self._crew.folder(above)
        for last in (False, True):
            if self._is_there(inside, path, name, origin.mark):
                return
            try:
                made = self._deployed if isinstance(origin.source, LibraryEntry) else self._imported
                moid = made(inside, above, name, origin)
            except vim.fault.DuplicateName as fault:
                # Another run has begun the same at this moment.
                if last:
                    message = f"the import of {path}: {said(fault)}"
                    raise VSphereError(message) from fault
            else:
                given = {"extraConfig": _bearing(origin.mark), "annotation": f"Made from {origin.source.label}"}
                self._crew.hands.reconfigure(moid, f"the mark of the template {path}", **given)
                self.mark(moid, f"the template {path}")
                return

    def _is_there(self, inside: Any, path: str, name: str, mark: str) -> bool:  # noqa: ANN401 - pyvmomi's objects
        """Whether the template is there; an import that was cut off is completed, or what it has left is removed."""
        session = self._crew.session
        found = session.read(lambda content: content.searchIndex.FindChild(inside, coded(shown(name))))
        if found is None:
            return False
        is_vm = isinstance(found, vim.VirtualMachine)
        if is_vm:
            # One that is made at this moment bears nothing yet.
            comes_true(lambda: (now := self._state(found)) is None or bool(now.mark))
        state = self._state(found) if is_vm else _State("", is_template=False, is_on=False)
        if state is None:
            return False
        if state.mark not in {mark, mark + UNFINISHED}:
            message = f"{path} is there, and is no template that we have made of that: nothing was done to it"
            raise VSphereError(message)
        if state.mark != mark:
            self._wait_for_others(found, path, mark)
            state = self._state(found)
            if state is not None and state.mark != mark:
                what = f"removing {path}, an import that was cut off"
                self._crew.hands.destroy(found._moId, what)  # noqa: SLF001 - its only name
                return False
        if state is not None and not state.is_template:
            if state.is_on:
                message = f"{path} is no template now, and on: somebody works on it. Make it a template again"
                raise VSphereError(message)
            self.mark(found._moId, f"the template {path}")  # noqa: SLF001 - its only name
        return state is not None

    def _wait_for_others(self, vm: Any, path: str, mark: str) -> None:  # noqa: ANN401 - pyvmomi's objects
        """Wait until another run has imported it, if there is one."""
        end = time.monotonic() + BUSY_SECONDS
        while not comes_true(lambda: (now := self._state(vm)) is None or now.mark == mark):
            if not is_busy(self._crew.session, vm):
                return
            if time.monotonic() > end:
                message = f"{path} is being imported by another run for more than {BUSY_SECONDS // 60} minutes"
                raise VSphereError(message)

    def _state(self, vm: Any) -> _State | None:  # noqa: ANN401 - pyvmomi's objects
        """What is there; None when it is gone."""
        paths = ["config.extraConfig", "config.annotation", "config.template", "runtime.powerState"]
        row = self._crew.session.read(lambda content: of_these(content, [vm], paths)).get(vm._moId)  # noqa: SLF001
        if row is None:
            return None
        marks = {each.key: str(each.value) for each in row[1].get("config.extraConfig") or ()}
        is_on = row[1].get("runtime.powerState") != "poweredOff"
        # What a library deploys can be told by its annotation alone until it is given its mark.
        said = str(row[1].get("config.annotation") or "")
        mark = marks.get(MARK) or (said if said.endswith(UNFINISHED) else "")
        return _State(mark, is_template=bool(row[1].get("config.template")), is_on=is_on)

    def _deployed(self, inside: Any, above: str, name: str, origin: Origin) -> str:  # noqa: ANN401 - pyvmomi's objects
        """The moid of the machine that the library makes of an item."""
        rest, places, item = self._crew.rest, self._crew.places, origin.source
        assert isinstance(item, LibraryEntry), "provide() has looked"  # noqa: S101 - for the type checker
        datacenter, path = above.partition("/")[0], f"{above}/{name}"
        pool = places.pool(datacenter, origin.cluster, origin.pool)
        datastore = places.datastore(datacenter, origin.datastore)
        wanted = Deployment(
            name=coded(shown(name)), annotation=origin.mark + UNFINISHED, folder=inside._moId, pool=pool._moId,  # noqa: SLF001
            datastore=datastore._moId,  # noqa: SLF001 - its only name
        )  # fmt: skip
        try:
            return deploy(rest, item_id(rest, item), wanted)
        except UnansweredError as error:
            message = f"the deployment of {path}: {error}; it may go on at the vCenter: run this again later"
            raise VSphereError(message) from error
        except VSphereError as error:
            message = f"the deployment of {path}: {error}"
            raise VSphereError(message) from error

    def _imported(self, inside: Any, above: str, name: str, origin: Origin) -> str:  # noqa: ANN401 - pyvmomi's objects
        """The moid of the machine that the package makes.

        Raises:
            vim.fault.DuplicateName: another run has begun to make it.
        """
        if isinstance(origin.source, RemotePackage):
            with origin.source.fetched() as fetched:
                return self._sent(fetched, inside, above, name, origin)
        assert isinstance(origin.source, Package), "provide() has looked"  # noqa: S101 - for the type checker
        return self._sent(origin.source, inside, above, name, origin)

    def _sent(self, package: Package, inside: Any, above: str, name: str, origin: Origin) -> str:  # noqa: ANN401
        session, places = self._crew.session, self._crew.places
        what = f"the import of {package.path} as {above}/{name}"
        # Before anything is sent: a disk that was cut off on its way here makes a template that does not boot.
        package.check()
        datacenter = above.partition("/")[0]
        pool = places.pool(datacenter, origin.cluster, origin.pool)
        datastore = places.datastore(datacenter, origin.datastore)
        network = places.network(datacenter, origin.network)
        mapping = [vim.OvfManager.NetworkMapping(name=each, network=network) for each in package.networks()]
        parameters = vim.OvfManager.CreateImportSpecParams(
            entityName=coded(shown(name)), networkMapping=mapping, diskProvisioning="thin"
        )
        spec = session.read(
            lambda content: content.ovfManager.CreateImportSpec(package.descriptor, pool, datastore, parameters)
        )
        if spec.error:
            message = f"{what}: {'; '.join(said(each) for each in spec.error)}"
            raise VSphereError(message)
        config = spec.importSpec.configSpec
        config.extraConfig = [*(config.extraConfig or ()), *_bearing(origin.mark + UNFINISHED)]
        try:
            lease = session.write(lambda _: pool.ImportVApp(spec.importSpec, inside))
        except UnansweredError as error:
            message = f"{what}: {error}; run this again"
            raise VSphereError(message) from error
        except vim.fault.DuplicateName:
            raise
        except vmodl.MethodFault as fault:
            message = f"{what}: {said(fault)}"
            raise VSphereError(message) from fault
        with Lease(session, lease, what) as held:
            return held.send(package, spec.fileItem)


def _bearing(mark: str) -> list[Any]:
    return [vim.option.OptionValue(key=MARK, value=mark)]
