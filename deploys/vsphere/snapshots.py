"""Calls that make, remove and go back to a machine's snapshots; whose they are is decided before."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from deploys.vsphere.errors import UnansweredError, VSphereError
from deploys.vsphere.hands import Hands
from deploys.vsphere.looks import comes_true, is_busy
from deploys.vsphere.machine import SnapshotSeen, machine_of
from deploys.vsphere.reads import of_these
from deploys.vsphere.session import Session


class Snapshots:
    """The snapshots of machines of a run."""

    def __init__(self, session: Session, hands: Hands) -> None:
        self._session = session
        self._hands = hands

    def take(self, moid: str, name: str, description: str) -> None:
        """Take one, without the machine's memory; `name` is no other's.

        Raises:
            VSphereError: the vCenter refuses, or its answer was lost and there is none.
        """
        vm = self._session.managed(moid, vim.VirtualMachine)
        what = f"the snapshot {name}"
        try:
            self._hands.task(
                lambda _: vm.CreateSnapshot_Task(name=name, description=description, memory=False, quiesce=False), what
            )
        except UnansweredError:
            if not comes_true(lambda: any(each.name == name for each in self._of(vm))):
                raise

    def remove(self, moid: str, snapshot: str, what: str) -> None:
        """Remove one and keep those that were taken after it; one that is gone is as good.

        Raises:
            VSphereError: the vCenter refuses, or its answer was lost and it is still there.
        """
        vm = self._session.managed(moid, vim.VirtualMachine)
        found = self._session.managed(snapshot, vim.vm.Snapshot)

        def is_gone() -> bool:
            return all(each.moid != snapshot for each in self._of(vm))

        try:
            self._hands.task(
                lambda _: found.RemoveSnapshot_Task(removeChildren=False, consolidate=True), f"removing {what}"
            )
        except UnansweredError:
            if not comes_true(is_gone):
                raise
        except VSphereError:
            if not is_gone():
                raise

    def revert(self, moid: str, snapshot: str, what: str) -> None:
        """Go back to one; the machine is off afterwards.

        Raises:
            VSphereError: the vCenter refuses, or does not answer.
        """
        vm = self._session.managed(moid, vim.VirtualMachine)
        found = self._session.managed(snapshot, vim.vm.Snapshot)
        what = f"going back to {what}"
        for last in (False, True):
            try:
                self._hands.task(lambda _: found.RevertToSnapshot_Task(suppressPowerOn=True), what)
            except UnansweredError:
                # Nothing runs in the machine since: once more comes to the same, when the first one is through.
                if last or not comes_true(lambda: not is_busy(self._session, vm)):
                    raise
            else:
                break
        self._hands.power_off(moid, f"{what}: switching it off")

    def _of(self, vm: Any) -> tuple[SnapshotSeen, ...]:  # noqa: ANN401 - pyvmomi's objects
        rows = self._session.read(lambda content: of_these(content, [vm], ["snapshot"]))
        return machine_of("", rows[vm._moId][1], {}).snapshots if vm._moId in rows else ()  # noqa: SLF001
