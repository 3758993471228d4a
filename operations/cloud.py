"""A host's machine in a cloud: made, kept as it is to be, started and stopped, and its host key pinned.

Only over the @cloud connector. A machine that does not bear the host's mark is never touched.
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

from facts.cloud import CloudMachine, Machine, Volume
from operations._contain import Commands, fail, operation, read


@runtime_checkable
class OfCloud(Protocol):
    """A connector whose host is a machine in a cloud, as @cloud's is."""

    @property
    def crew(self) -> Any:  # noqa: ANN401 - deploys.clouds.crew.Crew
        """The machines of the run in that cloud."""

    @property
    def guests(self) -> Any:  # noqa: ANN401 - deploys.clouds.ready.Waiting
        """Their guests."""


def _connector() -> OfCloud:
    connector = ctx_host.get().connector
    if not isinstance(connector, OfCloud):
        message = "machines of a cloud are changed by deploys/vm.py only (the @cloud connector)"
        raise OperationError(message)
    return connector


def _seen() -> Machine | None:
    _connector()
    return read(CloudMachine, host=host.name)


def _do(state: State, host: Host, do: Callable[[Any], None]) -> bool:
    """Carry out a change; its refusal is this host's."""
    crew = host.connector.crew  # type: ignore[attr-defined]
    crew.touched.add(host.name)
    try:
        do(crew)
    except PyinfraError as error:
        return fail(state, host, str(error))
    finally:
        crew.changed()
    return True


def _changing(do: Callable[[Any], None]) -> FunctionCommand:
    return FunctionCommand(_do, (do,), {})


def _later() -> FunctionCommand:
    """For a machine that is not there while the changes are listed: what is to be done is seen when it is."""
    return FunctionCommand(fail, ("there is no machine: it could not be made",), {})


@operation()
def present(order: Callable[[str], Any]) -> Commands:
    """
    Make the machine when there is none; the cloud starts it.

    + order: gives what it is made from (`deploys.clouds.machine.Order`), with the token that makes it one machine
    """
    if _seen() is not None:
        host.noop("the machine is there")
        return
    name = host.name
    yield _changing(lambda crew: crew.make(name, order))


@operation()
def written_down(record: str, place: str) -> Commands:
    """
    Write down which machine the host is, and where it was last seen.

    + record: path of the file
    + place: the cloud and the region in it
    """
    seen = _seen()
    from deploys.vsphere.record import Known, known, note  # noqa: PLC0415 - layers: operations come first

    if seen is None:
        yield _later()
        return
    before = known(Path(record)).get(host.name)
    same = before is not None and (before.vcenter, before.uuid) == (place, seen["id"])
    entry = Known(place, seen["id"], seen["address"] or (before.address if before is not None and same else ""))
    if before == entry:
        host.noop("it is written down")
        return
    name = host.name
    yield _changing(lambda _: note(Path(record), name, entry))


@operation()
def labelled(tags: Mapping[str, str]) -> Commands:
    """
    Have tags (labels on GCE); others are left alone.

    + tags: key -> value
    """
    seen = _seen()
    if seen is None:
        yield _later()
        return
    missing = {key: value for key, value in tags.items() if seen["tags"].get(key) != value}
    if missing:
        yield _changing(lambda crew: crew.cloud.tag(seen["id"], missing))


@operation()
def in_groups(groups: Sequence[str]) -> Commands:
    """
    Be in these security groups (have these network tags on GCE), and no others.

    + groups: their ids; none: left as they are
    """
    seen = _seen()
    if seen is None:
        yield _later()
        return
    if groups and sorted(groups) != seen["groups"]:
        yield _changing(lambda crew: crew.cloud.regroup(seen["id"], groups))


@operation()
def disks_grown(disks: Mapping[str, int]) -> Commands:
    """
    Have disks of these sizes at least; one that is not there was not made with the machine, and is an error.

    + disks: device -> GiB
    """
    seen = _seen()
    if seen is None:
        yield _later()
        return
    there = {volume["device"]: volume for volume in seen["volumes"]}
    missing = sorted(set(disks) - set(there))
    if missing:
        message = (
            f"the machine has no disk {', '.join(missing)}; it has {', '.join(sorted(there)) or 'none'}. Disks come "
            "with the machine when it is made: attach this one by hand, or have the machine made anew"
        )
        raise OperationError(message)
    for device, gib in disks.items():
        if 0 < there[device]["gib"] < gib:
            yield _changing(_growing(there[device], gib))


def _growing(volume: Volume, gib: int) -> Callable[[Any], None]:
    from deploys.clouds.machine import Volume as Known  # noqa: PLC0415 - layers: operations come first

    return lambda crew: crew.cloud.grow(Known(**volume), gib)


@operation()
def sized(size: str, *, may_cycle_power: bool = False) -> Commands:
    """
    Be of a size, such as t3.small; that changes only while the machine is stopped.

    + size: the cloud's name for it
    + may_cycle_power: stop the machine for that; otherwise it is refused
    """
    seen = _seen()
    if seen is None:
        yield _later()
        return
    if seen["size"] == size:
        host.noop(f"it is a {size}")
        return
    if seen["state"] != "stopped":
        if not may_cycle_power:
            message = (
                f"{seen['size']} to {size}: that cannot be changed while the machine runs. Say may_cycle_power=True in "
                "its policy, and it is stopped for that"
            )
            raise OperationError(message)
        yield _stopping()
    yield _changing(lambda crew: crew.cloud.resize(seen["id"], size))


def _stopping() -> FunctionCommand:
    name = host.name
    return _changing(lambda crew: crew.stop(name))


@operation()
def power(state: str) -> Commands:
    """
    Have the machine running or stopped.

    + state: on or off; off is a shutdown of the guest
    """
    seen = _seen()
    if seen is None:
        yield _later()
        return
    if state == "on" and seen["state"] == "stopping":
        yield _stopping()
    if state == "on" and seen["state"] in {"stopped", "stopping"}:
        yield _changing(lambda crew: crew.cloud.start(seen["id"]))
    elif state == "off" and seen["state"] != "stopped":
        yield _stopping()


@operation()
def ready(seconds: float, known_hosts: str) -> Commands:
    """
    Wait until the guest can be logged in to, and pin its host key before anybody does.

    + seconds: how long at most
    + known_hosts: path of the file where the key is pinned
    """
    guests = _connector().guests
    seen = _seen()
    if seen is None or seen["state"] not in {"running", "pending"}:
        yield _later()
        return
    if guests.is_settled(host.name, Path(known_hosts)):
        host.noop("it can be logged in to, and its key is pinned")
        return
    name = host.name
    yield _changing(lambda _: guests.wait_and_pin(name, Path(known_hosts), seconds))


@operation()
def proved(prove: Callable[[Any], Sequence[str]]) -> Commands:
    """
    Prove that a machine at which this run has changed something is as it is to be; changes nothing.

    + prove: called with the machines of the run, gives a sentence for each thing that is not so
    """
    crew = _connector().crew
    if not state.is_executing or host.name not in crew.touched:
        return
    wrong = list(prove(crew))
    if wrong:
        yield FunctionCommand(fail, ("\n".join(wrong),), {})
    else:
        host.noop("it is as its policy says")


@operation()
def removed(record: str, place: str) -> Commands:
    """
    Remove the machine, with the disks that it was made with: only the one that is written down and bears the mark.

    + record: path of the file in which it is written down
    + place: the cloud and the region in it
    """
    seen = _seen()
    if seen is None:
        host.noop("there is no machine")
        return
    name = host.name

    def remove(crew: Any) -> None:  # noqa: ANN401 - see OfCloud
        from deploys.vsphere.record import Known, note  # noqa: PLC0415 - layers: operations come first

        crew.terminate(name)
        # Its id stays: the next machine of the host is asked for as the one that comes after it.
        note(Path(record), name, Known(place, seen["id"]))

    yield _changing(remove)
