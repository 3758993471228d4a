"""Bring hosts' virtual machines to their vm policies: made, changed, tagged, on, and their host keys pinned.

pyinfra inventories/prod.py deploys/vm.py              every host that has a vm policy
pyinfra inventories/prod.py deploys/vm.py --dry        what would change
pyinfra inventories/prod.py deploys/vm.py --limit web-3
pyinfra inventories/prod.py deploys/vm.py --data seconds=900    how long a guest may take until it can be logged in to
pyinfra inventories/prod.py deploys/vm.py --data expired=true   remove snapshots of ours that are older than they may be

Nothing is said to the hosts themselves: that is deploys/host.py's, which comes next.
"""

from pyinfra import host

from deploys._run import contained, known_to_inspect
from deploys.vsphere.bring_up import bring_up, summarise_at_exit

known_to_inspect(__file__)
summarise_at_exit()

with contained():
    bring_up(host)
