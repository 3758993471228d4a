"""Remove hosts' virtual machines with their disks, and forget them: what they were is not to be had back.

pyinfra inventories/prod.py deploys/fixes/vm_remove.py --limit web-3 --data why="ticket 4711"
pyinfra inventories/prod.py deploys/fixes/vm_remove.py --limit web-3 --limit web-4 --data count=2 --data why="..."
pyinfra inventories/prod.py deploys/fixes/vm_remove.py --limit db-1 --data why="..." --data detach="[data] db-1/x.vmdk"

Each host is named by a --limit of its own. Only the machine is removed that is written down for the host and bears its
mark. A disk that is not the machine's alone must be detached by its name; its file is kept then. Take the host out of
the inventory afterwards: deploys/vm.py would make it anew.
"""

from deploys._run import contained
from deploys.fixes._fix import listed, number
from deploys.fixes._vm_fix import begin_vm_fix, require_count
from operations import vm_removal

count, detach = number("count", 1), listed("detach")
require_count(count)
with contained():
    fix = begin_vm_fix(__file__)
    vm_removal.removed(
        name="Remove the machine", record=str(fix.record), known_hosts=fix.known_hosts,
        vcenter=fix.policy.vcenter.place, mark=fix.mark, detach=detach,
    )  # fmt: skip
