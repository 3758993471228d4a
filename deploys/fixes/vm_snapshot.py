"""Take a snapshot of hosts' virtual machines, as before a change that one may want to take back; or remove one.

pyinfra inventories/prod.py deploys/fixes/vm_snapshot.py --limit web --data name=before-patch --data why="ticket 4711"
pyinfra inventories/prod.py deploys/fixes/vm_snapshot.py --limit web --data name=before-patch --data hours=72 --data why="..."
pyinfra inventories/prod.py deploys/fixes/vm_snapshot.py --limit web --data name=before-patch --data remove=true --data why="..."

It is what a power cut would leave: disks alone, nothing of the memory. It says who took it, why, and for how many hours
(24); deploys/vm.py tells when it is older. deploys/fixes/vm_revert.py goes back to it.
"""  # noqa: E501 - a command is one line

from deploys._run import contained
from deploys.fixes._fix import number, option, yes
from deploys.fixes._vm_fix import begin_vm_fix
from operations import vm_snapshots

label, hours, remove = option("name"), number("hours", 24), yes("remove")
with contained():
    fix = begin_vm_fix(__file__)
    if remove:
        vm_snapshots.removed(name=f"Remove the snapshot {label}", label=label, mark=fix.mark)
    else:
        vm_snapshots.taken(
            name=f"Take the snapshot {label}", label=label, mark=fix.mark, hours=hours, about=fix.owner.lines()
        )
