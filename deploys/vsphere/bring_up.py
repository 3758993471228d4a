"""What deploys/vm.py does for one host, in order, and what it says at the end."""

from __future__ import annotations

import atexit
import os
import sys
import uuid
from functools import cache
from typing import TYPE_CHECKING

from pyinfra.api.host import Host
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_host, ctx_state

from deploys.errors import InputError
from deploys.policies.vm import Vm
from deploys.rollout import RESULT
from deploys.vsphere.hands import Clone
from deploys.vsphere.proof import failed, findings
from deploys.vsphere.ready import INSTANCE
from deploys.vsphere.rows import shown
from deploys.vsphere.seed.cloud_init import HOST_KEY, seed
from deploys.vsphere.seed.host_keys import HostKey
from deploys.vsphere.seed.inventory import new_host
from deploys.vsphere.templates import Origin
from inventories._vm import record_of, vm_policy
from operations import vm, vm_snapshots
from operations._contain import FAILURES
from operations._vm_plan import Wanted, WantedAdapter, WantedDisk

if TYPE_CHECKING:
    from deploys.rollout.store.rows import HostResult

READY_SECONDS = 600


def bring_up(host: Host) -> None:
    """Call the operations that make the current host's machine follow its policy.

    Raises:
        InputError: the host has no vm policy, or could never be logged in to.
    """
    member = ctx_host.get()
    policy = vm_policy(member)
    if policy is None:
        message = f"{member.name} has no vm policy"
        raise InputError(message)
    record, name = str(record_of(member)), member.name
    vm.present(name="Make the machine", clone=lambda: _clone(member, policy))
    vm.written_down(name="Write down which machine it is", record=record, vcenter=policy.vcenter.place)
    vm.in_place(
        name="Have it in its folder", folder=policy.folder_coded(), label=policy.label_of(name),
    )  # fmt: skip
    vm.hardware(name="Have it made of what it is to be", wanted=_wanted(policy), may_cycle_power=policy.may_cycle_power)
    vm.attributes(name="Have its attributes", values=policy.attributes)
    vm.tagged(name="Have its tags", tags=policy.tags)
    if policy.apart is not None:
        vm.apart(name="Keep it apart from the others", rule=policy.apart, cluster=cluster_of(policy)[0])
    vm_snapshots.within_their_age(
        name="Look at the age of its snapshots", mark=policy.mark_of(name), remove=_flag(host, "expired")
    )
    switch(member, policy)
    vm.proved(
        name="Prove what was changed", prove=lambda crew, moid: failed(findings(crew, moid, name, policy)),
    )  # fmt: skip


def switch(member: Host, policy: Vm) -> None:
    """Call the operations that switch the current host's machine as its policy says, and wait for its guest."""
    vm.power(name=f"Switch it {policy.power}", state=policy.power)
    if policy.power == "on":
        seconds, record = float(member.data.get("seconds", default=READY_SECONDS)), str(record_of(member))
        vm.ready(name="Wait for its guest, and pin its host key", seconds=seconds, known_hosts=known_hosts_of(member))
        vm.written_down(name="Write down where it is", record=record, vcenter=policy.vcenter.place)


def _flag(member: Host, name: str) -> bool:
    text = str(member.data.get(name, default="false")).lower()
    if text not in {"true", "false"}:
        message = f"--data {name}={text}: true or false"
        raise InputError(message)
    return text == "true"


def known_hosts_of(member: Host) -> str:
    """The file in which a host's key is pinned."""
    from inventories._ssh import KNOWN_HOSTS  # noqa: PLC0415

    return str(member.data.get("ssh_known_hosts_file") or KNOWN_HOSTS)


def cluster_of(policy: Vm) -> tuple[str, tuple[str, ...]]:
    """The cluster or host that a machine is placed in, and the steps to a pool below its root pool."""
    if policy.cluster is not None:
        return policy.cluster, ()
    first, *rest = (policy.pool or "").split("/")
    return shown(first), tuple(shown(step) for step in rest)


def _wanted(policy: Vm) -> Wanted:
    adapters = sorted(policy.adapters, key=lambda each: each.index)
    return Wanted(
        cpus=policy.cpus, cores_per_socket=policy.cores_per_socket, memory_mib=policy.memory_mib,
        disks=[WantedDisk(disk.unit, disk.gib, disk.datastore, disk.thin) for disk in policy.disks],
        adapters=[WantedAdapter(each.network, each.mac) for each in adapters],
        annotation=policy.annotation,
    )  # fmt: skip


def _clone(member: Host, policy: Vm) -> Clone:
    """What the machine is made from and with; a new instance each time, so that a copy never counts as ready."""
    instance = str(uuid.uuid4())
    new = new_host(member)
    key = HostKey.make() if new.first_boot.host_keys == "controller" else None
    given = seed(new, instance, key).guest_info()
    cluster, pool = cluster_of(policy)
    public = {HOST_KEY: key.public} if key is not None else {}
    return Clone(
        folder=policy.folder_coded(), label=policy.label_of(member.name), template=policy.template_path(),
        mark=policy.mark_of(member.name), cluster=cluster, pool=pool, datastore=policy.datastore, cpus=policy.cpus,
        cores_per_socket=policy.cores_per_socket, memory_mib=policy.memory_mib, annotation=policy.annotation,
        more={**given.keys, **public, INSTANCE: instance}, origin=_origin(policy),
    )  # fmt: skip


def _origin(policy: Vm) -> Origin | None:
    source = policy.source()
    if source is None:
        return None
    cluster, pool = cluster_of(policy)
    return Origin(
        source=source, mark=f"{policy.fleet}/@template/{source.label.rpartition('-')[2]}", cluster=cluster, pool=pool,
        datastore=policy.datastore or "", network=min(policy.adapters, key=lambda each: each.index).network,
    )  # fmt: skip


@cache
def summarise_at_exit() -> None:
    """Print, after everything else, what is now true of which machine."""
    # The context is gone at exit: keep what it stands for now.
    atexit.register(_summarise, ctx_state.get())


def _summarise(run: State) -> None:
    if not run.initialised or run.current_stage < StateStage.Connect:
        return
    members = [member for member in run.inventory if run.is_host_in_limit(member)]
    if os.environ.get(RESULT) and run.is_executing:
        # For who has started this run, and goes on by what came of each host.
        from deploys.rollout.results import write_results  # noqa: PLC0415 - a person's run needs none of it

        write_results({member.name: _result(run, member) for member in members})
    lines = []
    for member in members:
        told = vm_snapshots.TOLD.get(member.name, [])
        lines += [_line(run, member)] if run.is_executing else [f"{member.name}:"] if told else []
        lines += [f"    {sentence}" for sentence in told]
    for line in ["", *lines] if lines else []:
        print(line, file=sys.stderr)


def _result(run: State, member: Host) -> HostResult:
    from deploys.rollout.model import Verdict  # noqa: PLC0415 - see _summarise
    from deploys.rollout.store.rows import HostResult  # noqa: PLC0415 - see _summarise

    words = "\n".join([_line(run, member).partition(": ")[2], *FAILURES.get(member.name, [])])
    return HostResult(Verdict.OK if _is_good(run, member) else Verdict.FAILED, _changes(run, member), words)


def _line(run: State, member: Host) -> str:
    if member not in run.activated_hosts:
        return f"{member.name}: it has no vm or cloud_vm policy; nothing was done"
    changes = _changes(run, member)
    counted = f"{changes} change{'' if changes == 1 else 's'}"
    return f"{member.name}: {'ok' if _is_good(run, member) else 'FAILED'}; {counted}"


def _changes(run: State, member: Host) -> int:
    operations = [data.operation_meta for data in run.ops[member].values()]
    return sum(each.is_complete() and each.did_change() for each in operations)


def _is_good(run: State, member: Host) -> bool:
    operations = [data.operation_meta for data in run.ops[member].values()]
    carried_out = all(each.is_complete() and each.did_succeed() for each in operations)
    return member in run.activated_hosts and member not in run.failed_hosts and bool(operations) and carried_out
