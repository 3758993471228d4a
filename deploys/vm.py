"""Bring hosts' machines to their vm and cloud_vm policies: made, changed, tagged, on, and their host keys pinned.

pyinfra inventories/prod.py deploys/vm.py              every host that has such a policy
pyinfra inventories/prod.py deploys/vm.py --dry        what would change
pyinfra inventories/prod.py deploys/vm.py --limit web-3
pyinfra inventories/prod.py deploys/vm.py --data seconds=900    how long a guest may take until it can be logged in to
pyinfra inventories/prod.py deploys/vm.py --data expired=true   remove snapshots of ours that are older than they may be

Nothing is said to the hosts themselves: that is deploys/host.py's, which comes next.
"""

from pyinfra import host
from pyinfra.context import ctx_host

from deploys._run import contained, known_to_inspect
from deploys.clouds.bring_up import bring_up as bring_up_in_cloud
from deploys.vsphere.bring_up import bring_up, summarise_at_exit
from inventories._clouds import cloud_policy

known_to_inspect(__file__)
summarise_at_exit()

with contained():
    if cloud_policy(ctx_host.get()) is not None:
        bring_up_in_cloud(host)
    else:
        bring_up(host)
