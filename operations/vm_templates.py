"""A host's virtual machine as a template, and back: how a template is patched. Only one that bears the host's mark."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import OperationError

from operations._contain import Commands, operation
from operations._vm_calls import changing, crew


@operation()
def to_template() -> Commands:
    """Have the machine as a template, from which others are cloned; it is shut down for that."""
    seen = crew().seen(host.name, template=True)
    if seen is None:
        message = "there is no machine: deploys/vm.py makes it"
        raise OperationError(message)
    moid, label = seen.vm.moid, seen.vm.name
    if seen.vm.template:
        host.noop("it is a template")
        return
    if seen.vm.question:
        message = f"the machine waits for an answer, on its console in the vCenter: {seen.vm.question}"
        raise OperationError(message)
    if seen.vm.power != "off":
        yield changing(lambda crew: crew.hands.shut_down(moid, f"the shutdown of {label}"))
    yield changing(lambda crew: crew.templates.mark(moid, f"making {label} a template"))


@operation()
def to_machine(cluster: str, pool: Sequence[str] = ()) -> Commands:
    """
    Have the template as a machine again, switched off.

    + cluster: the cluster, or host, that it is placed in, as templates are in none
    + pool: the pool below its root pool
    """
    here = crew()
    seen = here.seen(host.name, template=True)
    if seen is None:
        message = "there is neither a machine nor a template: deploys/vm.py makes one"
        raise OperationError(message)
    moid, label, datacenter = seen.vm.moid, seen.vm.name, seen.vm.folder[0]
    if not seen.vm.template:
        host.noop("it is a machine")
        return
    place = here.places.pool(datacenter, cluster, pool)
    yield changing(lambda crew: crew.templates.unmark(moid, place, f"making {label} a machine again"))
