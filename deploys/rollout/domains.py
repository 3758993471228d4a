"""Failure domains of hosts: what goes down together is not rolled out together.

`rule` is the vm policy's `apart`; `esxi` and `datastore` are what the vCenter says of a host's machine when the rollout
begins (a machine that moves afterwards stays in its wave).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyinfra.api.host import Host

from deploys.errors import InputError
from deploys.policies.vm import Vm
from inventories._merge import Effective

READ_SECONDS = 600
"""What was read of a vCenter this recently serves without asking it again."""
_MOST_NAMES = 5


@dataclass(frozen=True)
class _Machine:
    """Where a host's machine is."""

    esxi: str
    datastores: tuple[str, ...]


def domains_of(members: Sequence[Host], asked: Iterable[str]) -> dict[str, frozenset[str]]:
    """Host -> its failure domains, such as "esxi:esx-3".

    Args:
        members: the hosts of the rollout.
        asked: of `rule`, `esxi` and `datastore` those that count.

    Raises:
        InputError: the machine of a host is not known, so that nobody can say what it goes down with.
    """
    kinds = set(asked)
    machines = _machines(members) if kinds & {"esxi", "datastore"} else {}
    return {member.name: frozenset(_of(member, kinds, machines)) for member in members}


def _of(member: Host, kinds: set[str], machines: Mapping[str, _Machine]) -> Iterable[str]:
    policy = _policy(member)
    if "rule" in kinds and policy is not None and policy.apart:
        yield f"rule:{policy.apart}"
    if "esxi" in kinds:
        yield f"esxi:{machines[member.name].esxi}"
    if "datastore" in kinds:
        yield from (f"datastore:{name}" for name in machines[member.name].datastores)


def _policy(member: Host) -> Vm | None:
    effective = member.data.get("policies")
    policy = effective.get(Vm.name) if isinstance(effective, Effective) else None
    return policy if isinstance(policy, Vm) else None


def _machines(members: Sequence[Host]) -> dict[str, _Machine]:
    from deploys.vsphere.inventory import read  # noqa: PLC0415 - pyvmomi's import is for those that have a vCenter
    from deploys.vsphere.record import DEFAULT, known  # noqa: PLC0415 - likewise

    found: dict[str, _Machine] = {}
    lost = []
    for member in members:
        policy = _policy(member)
        esxi = member.data.get("vm_esxi")
        if esxi:
            found[member.name] = _Machine(esxi, tuple(member.data.get("vm_datastores") or ()))
        elif policy is not None and policy.vcenter is not None:
            written = known(Path(member.data.get("vm_record") or DEFAULT)).get(member.name)
            rows = {row.uuid: row for row in read(policy.vcenter, max_age=READ_SECONDS).vms}
            if written is not None and written.uuid in rows:
                row = rows[written.uuid]
                found[member.name] = _Machine(row.host, row.datastores)
        if member.name not in found:
            lost.append(member.name)
    if lost:
        names = f"{', '.join(lost[:_MOST_NAMES])}{' and others' if len(lost) > _MOST_NAMES else ''}"
        message = (
            f"{names}: no machine of a vCenter is known for it, and so neither its ESXi host nor its datastores: leave "
            "both out of `domains`, or have machines made by deploys/vm.py or listed by an inventory of the vCenter"
        )
        raise InputError(message)
    return found
