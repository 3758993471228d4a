"""What deploys/vm.py does for one host whose machine is in a cloud."""

from __future__ import annotations

from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from deploys.clouds.machine import Order
from deploys.clouds.proof import findings
from deploys.clouds.seed import user_data
from deploys.policies.cloud_vm import CloudVm
from deploys.vsphere.seed.inventory import new_host
from inventories._clouds import cloud_policy
from inventories._ssh import KNOWN_HOSTS
from inventories._vm import record_of
from operations import cloud

READY_SECONDS = 600


def bring_up(host: Host) -> None:
    """Call the operations that make the current host's machine follow its cloud_vm policy.

    Raises:
        InputError: the host could never be logged in to.
    """
    member = ctx_host.get()
    policy = cloud_policy(member)
    assert policy is not None, "the entry has looked"  # noqa: S101 - for the type checker
    record, place = str(record_of(member)), policy.provider.place
    # Whoever is refused is refused before anything is made, and in a dry run too.
    user_data(new_host(member), "")
    cloud.present(name="Make the machine", order=lambda token: _order(member, policy, token))
    cloud.written_down(name="Write down which machine it is", record=record, place=place)
    cloud.labelled(name="Have its tags", tags=policy.tags)
    cloud.in_groups(name="Be in its groups", groups=policy.groups)
    cloud.disks_grown(name="Have its disks", disks={disk.device: disk.gib for disk in policy.disks})
    cloud.sized(name="Be of its size", size=policy.size, may_cycle_power=policy.may_cycle_power)
    cloud.power(name=f"Have it {policy.power}", state=policy.power)
    if policy.power == "on":
        seconds = float(host.data.get("seconds", default=READY_SECONDS))
        known_hosts = str(member.data.get("ssh_known_hosts_file") or KNOWN_HOSTS)
        cloud.ready(name="Wait for its guest, and pin its host key", seconds=seconds, known_hosts=known_hosts)
        cloud.written_down(name="Write down where it is", record=record, place=place)
    cloud.proved(name="Prove what was changed", prove=lambda crew: findings(crew, member.name, policy))


def _order(member: Host, policy: CloudVm, token: str) -> Order:
    return policy.order(member.name, token, user_data(new_host(member), token))
