"""A host's virtual machine on its vCenter: made, moved, changed, tagged, switched on and off.

Only over the @vm connector. A machine that does not bear the host's mark is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pyinfra import host, state
from pyinfra.api import FunctionCommand, OperationError
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from facts.vm import Machine, VirtualMachine
from operations._contain import Commands, fail, operation, read
from operations._vm_plan import Change, Wanted, change


@runtime_checkable
class OfVCenter(Protocol):
    """A connector whose host is a machine of a vCenter, as @vm's is."""

    @property
    def crew(self) -> Any:  # noqa: ANN401 - deploys.vsphere.crew.Crew
        """The machines of the run on that vCenter."""

    @property
    def guests(self) -> Any:  # noqa: ANN401 - deploys.vsphere.ready.Waiting
        """Their guests."""


def _connector() -> OfVCenter:
    connector = ctx_host.get().connector
    if not isinstance(connector, OfVCenter):
        message = "machines of a vCenter are changed by deploys/vm.py only (the @vm connector)"
        raise OperationError(message)
    return connector


def _crew() -> Any:  # noqa: ANN401 - see OfVCenter
    return _connector().crew


def _seen() -> Machine | None:
    return read(VirtualMachine, host=host.name)


def _do(state: State, host: Host, do: Callable[[Any], None]) -> bool:
    """Carry out a change; its refusal is this host's."""
    crew = host.connector.crew  # type: ignore[attr-defined]
    try:
        do(crew)
    except PyinfraError as error:
        return fail(state, host, str(error))
    finally:
        crew.changed(host.name)
    return True


def _changing(do: Callable[[Any], None]) -> FunctionCommand:
    return FunctionCommand(_do, (do,), {})


def _later() -> FunctionCommand:
    """For a machine that is not there while the changes are listed: what is to be done is seen when it is."""
    return FunctionCommand(fail, ("there is no machine: it could not be made",), {})


@operation()
def present(clone: Callable[[], Any]) -> Commands:
    """
    Make the machine when there is none, switched off.

    + clone: gives what it is made from and with (`deploys.vsphere.hands.Clone`); called when it is made
    """
    _crew()
    if _seen() is not None:
        host.noop("the machine is there")
        return
    name = host.name

    def make(crew: Any) -> None:  # noqa: ANN401 - see OfVCenter
        wanted = clone()
        crew.changed(name, crew.hands.clone(crew.places, crew.folder(wanted.folder), wanted))

    yield _changing(make)


@operation()
def written_down(record: str, vcenter: str) -> Commands:
    """
    Write down which machine the host is, and where it was last seen.

    + record: path of the file
    + vcenter: `host:port`
    """
    _crew()
    seen = _seen()
    from deploys.vsphere.record import Known, known, note  # noqa: PLC0415

    before = known(Path(record)).get(host.name)
    if seen is None:
        yield _later()
        return
    entry = Known(vcenter, seen["uuid"], seen["address"] or (before.address if before else ""))
    if before == entry:
        host.noop("it is written down")
        return
    name = host.name
    yield _changing(lambda _: note(Path(record), name, entry))


@operation()
def in_place(folder: str, label: str) -> Commands:
    """
    Have the machine in its folder, by its name.

    + folder: path from the datacenter down, as the API writes names
    + label: its name, likewise
    """
    _crew()
    seen = _seen()
    if seen is None:
        yield _later()
        return
    moid, what = seen["moid"], f"{seen['folder']}/{seen['label']}"
    if seen["label"] != label:
        yield _changing(lambda crew: crew.hands.rename(moid, label, f"the renaming of {what} to {label}"))
    if seen["folder"] != folder:
        yield _changing(lambda crew: crew.hands.move(moid, crew.folder(folder), f"the move of {what} to {folder}"))


@operation()
def hardware(wanted: Wanted, *, may_cycle_power: bool = False) -> Commands:
    """
    Have the machine made of what it is to be made of, by one reconfiguration.

    + wanted: CPUs, memory, disks, adapters, annotation
    + may_cycle_power: shut it down for what needs that; otherwise that is refused
    """
    _crew()
    seen = _seen()
    if seen is None:
        yield _later()
        return
    needed = change(seen, wanted)
    if needed is None:
        host.noop("it is as it is to be")
        return
    if seen["power"] != "off" and needed.needs_off:
        if not may_cycle_power:
            message = (
                f"{', '.join(needed.words)}: the {' and '.join(needed.needs_off)} cannot be changed while the machine "
                "runs. Say may_cycle_power=True in its policy, and it is shut down for that"
            )
            raise OperationError(message)
        yield _changing(_shutting_down(seen))
    yield _changing(_reconfiguring(seen, needed))


def _shutting_down(seen: Machine) -> Callable[[Any], None]:
    what = f"the shutdown of {seen['label']}"
    return lambda crew: crew.hands.shut_down(seen["moid"], what)


def _reconfiguring(seen: Machine, needed: Change) -> Callable[[Any], None]:
    return lambda crew: crew.reconfigure(seen["moid"], f"{', '.join(needed.words)}", needed, seen["version"])


@operation()
def attributes(values: Mapping[str, str]) -> Commands:
    """
    Have custom attributes of the machine; others are left alone.

    + values: name -> value
    """
    _crew()
    seen = _seen()
    if seen is None:
        yield _later()
        return
    moid = seen["moid"]
    missing = {name: value for name, value in values.items() if seen["attributes"].get(name, "") != value}
    if missing:
        yield _changing(lambda crew: crew.set_attributes(moid, missing))


@operation()
def tagged(tags: Mapping[str, str]) -> Commands:
    """
    Have the machine bear one tag of each of some categories; other categories are left alone.

    + tags: category -> tag; both are made where they are not there
    """
    _crew()
    seen = _seen()
    if seen is None:
        yield _later()
        return
    moid = seen["moid"]
    wrong = {category: tag for category, tag in tags.items() if seen["tags"].get(category, []) != [tag]}
    if wrong:
        before = {category: seen["tags"].get(category, []) for category in wrong}
        yield _changing(lambda crew: crew.tags.give(moid, wrong, before))


@operation()
def power(state: str) -> Commands:
    """
    Have the machine switched on or off.

    + state: on or off; off is a shutdown of the guest, and after some minutes a cut
    """
    _crew()
    seen = _seen()
    if seen is None:
        yield _later()
        return
    if seen["question"]:
        message = f"the machine waits for an answer, on its console in the vCenter: {seen['question']}"
        raise OperationError(message)
    moid, label = seen["moid"], seen["label"]
    if state == "on" and seen["power"] != "on":
        yield _changing(lambda crew: crew.hands.power_on(moid, f"switching {label} on"))
    elif state == "off" and seen["power"] != "off":
        yield _changing(_shutting_down(seen))


@operation()
def apart(rule: str, cluster: str) -> Commands:
    """
    Keep the machine on another ESXi host than all others of a rule.

    + rule: its name in the cluster; made with the first machine, in force from the second one on
    + cluster: where
    """
    crew = _crew()
    seen = _seen()
    if seen is None:
        yield _later()
        return
    moid, datacenter = seen["moid"], seen["folder"].partition("/")[0]
    if crew.rules.holds(crew.places, datacenter, cluster, rule, moid):
        host.noop(f"it is in the rule {rule}")
        return
    yield _changing(lambda crew: crew.rules.add(crew.places, datacenter, cluster, rule, moid))


@operation()
def ready(seconds: float, known_hosts: str) -> Commands:
    """
    Wait until the guest can be logged in to, and pin its host key before anybody does.

    + seconds: how long at most
    + known_hosts: path of the file where the key is pinned
    """
    guests = _connector().guests
    seen = _seen()
    if seen is None:
        yield _later()
        return
    if guests.is_settled(host.name, Path(known_hosts)):
        host.noop("it can be logged in to, and its key is pinned")
        return
    name = host.name
    yield _changing(lambda _: guests.wait_and_pin(name, Path(known_hosts), seconds))


@operation()
def proved(prove: Callable[[Any, str], Sequence[str]]) -> Commands:
    """
    Prove that a machine at which this run has changed something is as it is to be; changes nothing.

    + prove: called with the machines of the run and a moid, gives a sentence for each thing that is not so
    """
    crew = _crew()
    if not state.is_executing or host.name not in crew.touched:
        return
    seen = _seen()
    if seen is None:
        message = "there is no machine any more"
        raise OperationError(message)
    wrong = list(prove(crew, seen["moid"]))
    if wrong:
        yield FunctionCommand(fail, ("\n".join(wrong),), {})
    else:
        host.noop("it is as its policy says")
