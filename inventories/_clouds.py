"""The machines of a cloud as hosts of an inventory, and the connectors @cloud, @ec2 and @gce.

    _found = cloud_vms(
        Ec2(region="eu-central-1"), base, where=Where(tags={"env": "prod"}),
        groups=[(Where(tags={"role": "web"}), web)], address=AddressRule(network="public"), ssh_user="root",
    )
    hosts = fleet(*_found)

    pyinfra '@ec2/eu-central-1?tag=role:web&network=public' exec -- uptime
    pyinfra '@gce/acme-prod/europe-west3-a?power=on' exec -- uptime

A user that may only describe machines is enough. `fleet()` takes @cloud for the hosts of a run of deploys/vm.py that
have a cloud_vm policy: nothing is said to the host itself then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State
from typing_extensions import override

from deploys.errors import InputError
from deploys.policies.base import Policy
from deploys.policies.cloud_vm import CloudVm
from deploys.policies.clouds import Ec2, Gce
from facts.cloud import ASK
from inventories._fleet import Group, Host
from inventories._machine import MachineConnector
from inventories._merge import Effective
from inventories._ssh import PhotonConnector
from inventories._vm import record_of
from inventories._vsphere import Where, asked_for, automatic_groups, hosts_of

if TYPE_CHECKING:
    from deploys.vsphere.rows import AddressRule, Vm

_CREWS: WeakKeyDictionary[State, dict[Any, Any]] = WeakKeyDictionary()
_LOCK = threading.Lock()
NO_SFTP = {"ssh_file_transfer_protocol": "scp"}
"""Images for clouds have an sshd_config without the subsystem of SFTP; scp is on all of them."""


def cloud_policy(host: PyinfraHost) -> CloudVm | None:
    """The policy of a host's machine in a cloud."""
    effective = host.data.get("policies")
    policy = effective.get(CloudVm.name) if isinstance(effective, Effective) else None
    return policy if isinstance(policy, CloudVm) else None


def cloud_vms(
    provider: Ec2 | Gce,
    *given: Group | Policy,
    where: Where | None = None,
    groups: Sequence[tuple[Where, Group]] = (),
    address: AddressRule | None = None,
    **data: Any,  # noqa: ANN401 - pyinfra's host data
) -> list[Host]:
    """The hosts that a cloud has, for `fleet()`; see `inventories._vsphere.vms`, whose arguments these are.

    The folder of a machine is its region (project and zone) and its zone; its networks are "private" and "public".

    Raises:
        InputError: the cloud refuses or does not answer.
    """
    data = {**NO_SFTP, **data}
    return hosts_of(rows(provider), *given, where=where, groups=groups, address=address, **data)


def rows(provider: Ec2 | Gce) -> list[Vm]:
    """The machines of a cloud that are not gone.

    Raises:
        InputError: the cloud refuses or does not answer.
    """
    from deploys.clouds.machine import GONE  # noqa: PLC0415 - pyinfra loads each connector for each inventory
    from deploys.clouds.opened import opened  # noqa: PLC0415 - the same

    return [found.row() for found in opened(provider).all() if found.state != GONE]


class Ec2Connector(PhotonConnector):
    """The @photon connector to the machines of a region: `@ec2/REGION?QUESTIONS`."""

    where_from: ClassVar[str] = "@ec2"

    @classmethod
    def provider(cls, place: str) -> Ec2 | Gce:
        """What the words before the questions name."""
        return Ec2(region=place)

    @staticmethod
    @override
    def make_names_data(name: str | None = None) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield from _named(Ec2Connector, name)


class GceConnector(Ec2Connector):
    """The @photon connector to the machines of a zone: `@gce/PROJECT/ZONE?QUESTIONS`."""

    where_from: ClassVar[str] = "@gce"

    @classmethod
    @override
    def provider(cls, place: str) -> Ec2 | Gce:
        project, _, zone = place.partition("/")
        return Gce(project=project, zone=zone)

    @staticmethod
    @override
    def make_names_data(name: str | None = None) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield from _named(GceConnector, name)


def _named(kind: type[Ec2Connector], name: str | None) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    place, _, questions = (name or "").partition("?")
    where, rule = asked_for(f"?{questions}", kind.where_from)
    made = hosts_of(found := rows(kind.provider(place)), where=where, address=rule)
    if not made:
        message = f"{kind.where_from}/{name}: no machine is asked for by that"
        raise InputError(message)
    by_id = {row.uuid: row for row in found}
    for member in made:
        yield member.name, {**NO_SFTP, **member.data}, automatic_groups(by_id[member.data["vm_uuid"]])


class CloudConnector(MachineConnector):
    """What is known of a host's machine in its cloud, and the hands that change it; see the module's docstring."""

    ask = ASK
    no_policy = "the host has no cloud_vm policy: no machine in a cloud is meant by it"
    no_shell = "a machine in a cloud has no shell here, its host has"

    @override
    def is_meant(self) -> bool:
        return cloud_policy(self.host) is not None

    @property
    def crew(self) -> Any:  # noqa: ANN401 - deploys.clouds.crew.Crew, whose import is for those that have a cloud
        """The machines of this run in the host's cloud."""
        return self._of_cloud()[0]

    @property
    def guests(self) -> Any:  # noqa: ANN401 - deploys.clouds.ready.Waiting
        """The guests of these machines."""
        return self._of_cloud()[1]

    def _of_cloud(self) -> tuple[Any, Any]:
        policy = cloud_policy(self.host)
        assert policy is not None, "connect() has looked"  # noqa: S101 - for the type checker
        with _LOCK:
            crews = _CREWS.setdefault(self.state, {})
            if policy.provider not in crews:
                crews[policy.provider] = self._made(policy.provider)
            found: tuple[Any, Any] = crews[policy.provider]
            return found

    def _made(self, provider: Ec2 | Gce) -> tuple[Any, Any]:
        from deploys.clouds.crew import Crew, Identity  # noqa: PLC0415 - pyinfra loads each connector for each inventory
        from deploys.clouds.opened import opened  # noqa: PLC0415 - the same
        from deploys.clouds.ready import Waiting  # noqa: PLC0415 - the same
        from deploys.vsphere.record import known  # noqa: PLC0415 - the same

        identities, rules = {}, {}
        for member in self.state.inventory:
            own = cloud_policy(member)
            if own is None or own.provider != provider or not self.state.is_host_in_limit(member):
                continue
            written = known(record_of(member)).get(member.name)
            id_there = written.uuid if written is not None and written.vcenter == provider.place else ""
            identities[member.name] = Identity(own.mark_of(member.name), id_there)
            rules[member.name] = own.address_rule()
        crew = Crew(opened(provider), identities)
        return crew, Waiting(crew, rules)

    @override
    def answer(self, name: str) -> dict[str, Any] | None:
        from deploys.clouds.machine import facts_of  # noqa: PLC0415 - see _made

        policy = cloud_policy(self.host)
        assert policy is not None, "connect() has looked"  # noqa: S101 - for the type checker
        seen = self.crew.seen(name)
        if seen is None:
            return None
        place = policy.address_rule().of(seen.row()) if seen.state == "running" else None
        return {**facts_of(seen), "address": place or ""}
