"""Take hosts' virtual machines back to a snapshot that deploys/fixes/vm_snapshot.py took; what was done since is lost.

pyinfra inventories/prod.py deploys/fixes/vm_revert.py --limit web-3 --data name=before-patch --data why="ticket 4711"
pyinfra inventories/prod.py deploys/fixes/vm_revert.py --limit web-3 --data name=before-patch.3f9a1c2e --data why="..."

Afterwards it is on or off as its policy says, and its guest is waited for. Its key is the same, and its clock is set by
its time policy's servers. CPUs, memory, disks and adapters are those of then: run deploys/vm.py and deploys/host.py.
"""

from pyinfra.context import ctx_host

from deploys._run import contained
from deploys.fixes._fix import option
from deploys.fixes._vm_fix import begin_vm_fix
from deploys.vsphere.bring_up import switch
from operations import vm_snapshots

label = option("name")
with contained():
    fix = begin_vm_fix(__file__)
    vm_snapshots.reverted(name=f"Go back to the snapshot {label}", label=label, mark=fix.mark)
    switch(ctx_host.get(), fix.policy)
