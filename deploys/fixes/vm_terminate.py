"""Remove hosts' machines in a cloud, with the disks that they were made with: what they were is not to be had back.

pyinfra inventories/prod.py deploys/fixes/vm_terminate.py --limit web-3 --data why="ticket 4711"

Each host is named by a --limit of its own. Only the machine is removed that is written down for the host and bears its
mark. Take the host out of the inventory afterwards: deploys/vm.py would make it anew.
"""

from pyinfra.context import ctx_host

from deploys._run import contained, known_to_inspect
from deploys.errors import InputError
from deploys.fixes._fix import require_reason
from deploys.vsphere.bring_up import summarise_at_exit
from inventories._clouds import cloud_policy
from inventories._vm import record_of
from operations import cloud

known_to_inspect(__file__)
summarise_at_exit()
require_reason()
with contained():
    member = ctx_host.get()
    policy = cloud_policy(member)
    if policy is None:
        raise InputError(f"{member.name} has no cloud_vm policy")
    cloud.removed(name="Remove the machine", record=str(record_of(member)), place=policy.provider.place)
