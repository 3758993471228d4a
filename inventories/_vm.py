"""The @vm connector: a host is its virtual machine, which may not be there yet, and its vCenter answers for it.

`fleet()` takes it for the hosts of a run of deploys/vm.py. Nothing is said to the host itself: no shell command can be
run and no file can be put there.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra.api.host import Host
from pyinfra.api.state import State
from typing_extensions import override

from deploys.policies.vm import Vm
from facts.vm import ASK
from inventories._machine import MachineConnector
from inventories._merge import Effective

_CREWS: WeakKeyDictionary[State, dict[Any, Any]] = WeakKeyDictionary()
_GUESTS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_LOCK = threading.Lock()


def vm_policy(host: Host) -> Vm | None:
    """The policy of a host's machine."""
    effective = host.data.get("policies")
    policy = effective.get(Vm.name) if isinstance(effective, Effective) else None
    return policy if isinstance(policy, Vm) else None


def record_of(host: Host) -> Path:
    """Where it is written down which machine the host is."""
    from deploys.vsphere.record import DEFAULT  # noqa: PLC0415 - pyinfra loads each connector for each inventory

    return Path(host.data.get("vm_record") or DEFAULT)


class VmConnector(MachineConnector):
    """What is known of a host's machine, and the hands that change it; see the module's docstring."""

    ask = ASK
    no_policy = "the host has no vm policy: no machine of a vCenter is meant by it"
    no_shell = "a virtual machine has no shell here, its host has"

    @override
    def is_meant(self) -> bool:
        return vm_policy(self.host) is not None

    @property
    def crew(self) -> Any:  # noqa: ANN401 - deploys.vsphere.crew.Crew, whose import is for those that have a vCenter
        """The machines of this run on the host's vCenter."""
        policy = vm_policy(self.host)
        assert policy is not None, "connect() has looked"  # noqa: S101 - for the type checker
        with _LOCK:
            crews = _CREWS.setdefault(self.state, {})
            if policy.vcenter not in crews:
                crews[policy.vcenter] = self._crew(policy)
            return crews[policy.vcenter]

    @property
    def guests(self) -> Any:  # noqa: ANN401 - deploys.vsphere.ready.Waiting
        """The guests of these machines."""
        crew = self.crew
        with _LOCK:
            if crew not in _GUESTS:
                from deploys.vsphere.ready import Waiting  # noqa: PLC0415 - see crew

                policies = {member.name: vm_policy(member) for member in self.state.inventory}
                rules = {name: policy.address_rule() for name, policy in policies.items() if policy is not None}
                _GUESTS[crew] = Waiting(crew, rules)
            return _GUESTS[crew]

    def _crew(self, policy: Vm) -> Any:  # noqa: ANN401 - see crew
        from deploys.vsphere.crew import Crew, Identity  # noqa: PLC0415 - see crew
        from deploys.vsphere.record import known  # noqa: PLC0415 - see crew

        identities = {}
        for member in self.state.inventory:
            own = vm_policy(member)
            if own is None or own.vcenter != policy.vcenter or not self.state.is_host_in_limit(member):
                continue
            written = known(record_of(member)).get(member.name)
            identities[member.name] = Identity(
                path=own.path_of(member.name), uuid=written.uuid if written else "", mark=own.mark_of(member.name),
                tagged=bool(own.tags),
            )  # fmt: skip
        return Crew(policy.vcenter, identities)

    @override
    def answer(self, name: str) -> dict[str, Any] | None:
        policy = vm_policy(self.host)
        assert policy is not None, "connect() has looked"  # noqa: S101 - for the type checker
        seen = self.crew.seen(name)
        return None if seen is None else seen.to_fact(policy.address_rule())
