"""A host's virtual machine at its end: removed, and what is known of it forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError

from operations._contain import Commands, operation
from operations._vm_calls import changing, crew, seen


@operation()
def removed(record: str, known_hosts: str, vcenter: str, mark: str, detach: Sequence[str] = ()) -> Commands:
    """
    Remove the machine and its disks, and forget it: only the one that is written down, and bears the host's mark.

    + record: path of the file in which it is written down
    + known_hosts: path of the file in which its key is pinned
    + vcenter: `host:port`
    + mark: what it bears
    + detach: files of disks that are taken off before, and kept: "[datastore] folder/name.vmdk"
    """
    from deploys.vsphere.record import known  # noqa: PLC0415 - for those that have a vCenter
    from deploys.vsphere.removal import look, remove  # noqa: PLC0415 - likewise

    crew_here, name = crew(), host.name
    written = known(Path(record)).get(name)
    if written is None:
        there = seen()
        if there is not None:
            message = (
                f"{there['folder']}/{there['label']} is there and not written down in {record}: only a machine whose "
                "UUID is written down is removed. deploys/vm.py writes it down, if it is the one"
            )
            raise OperationError(message)
        host.noop("there is no machine, and none is written down")
        return
    if written.vcenter != vcenter:
        message = f"{record} has its machine on {written.vcenter}, and its policy says {vcenter}: nothing is removed"
        raise OperationError(message)
    doomed = look(crew_here.session, written.uuid)
    if doomed is not None:
        wrong = list(doomed.refusals(mark, detach))
        if wrong:
            raise OperationError("; ".join(wrong))
        yield changing(lambda crew: remove(crew, written.uuid, mark, detach))
    yield changing(_forgetting(name, Path(record), Path(known_hosts)))


def _forgetting(name: str, record: Path, known_hosts: Path) -> Callable[[Any], None]:
    def forget(crew: Any) -> None:  # noqa: ANN401 - see _vm_calls
        from deploys.vsphere.pins import unpin  # noqa: PLC0415 - see removed()
        from deploys.vsphere.record import drop  # noqa: PLC0415 - see removed()

        crew.gone(name)
        # What is written down goes last: it is what a run that comes after a killed one carries on from.
        unpin(known_hosts, name)
        drop(record, name)

    return forget
