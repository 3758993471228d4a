"""What every fix of a machine on a vCenter begins with: a reason, and the host's vm policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyinfra import host, state
from pyinfra.context import ctx_host

from deploys._run import known_to_inspect, owner_of_run
from deploys.errors import InputError
from deploys.fixes._fix import require_reason
from deploys.guard import Owner
from deploys.policies.vm import Vm
from deploys.vsphere.bring_up import known_hosts_of, summarise_at_exit
from inventories._vm import record_of, vm_policy


@dataclass(frozen=True)
class VmFix:
    """The current host, as a fix of its machine needs it."""

    name: str
    policy: Vm
    owner: Owner
    record: Path
    known_hosts: str

    @property
    def mark(self) -> str:
        """What its machine bears."""
        return self.policy.mark_of(self.name)


def begin_vm_fix(deploy_file: str) -> VmFix:
    """Begin a fix of the current host's machine.

    Raises:
        InputError: no reason was given, or the host has no vm policy.
    """
    known_to_inspect(deploy_file)
    summarise_at_exit()
    require_reason()
    member = ctx_host.get()
    policy = vm_policy(member)
    if policy is None:
        message = f"{member.name} has no vm policy"
        raise InputError(message)
    owner = owner_of_run(str(host.data.get("why", default="")))
    return VmFix(member.name, policy, owner, record_of(member), known_hosts_of(member))


def require_count(count: int) -> None:
    """Refuse a run that is about another number of hosts than was said.

    Raises:
        InputError: it is.
    """
    asked = [member.name for member in state.inventory if state.is_host_in_limit(member)]
    if len(asked) != count:
        some = ", ".join(sorted(asked)[:5]) + (", ..." if len(asked) > 5 else "")  # noqa: PLR2004 - enough to see
        message = f"this is about {len(asked)} hosts ({some}): say --data count={len(asked)}"
        raise InputError(message)
