"""Reboot all hosts of the limit at once, and prove that each is back: another boot, a new login, a boot that ended.

pyinfra inventories/prod.py deploys/fixes/reboot.py --limit web-3 --data why="..."
pyinfra inventories/prod.py deploys/fixes/reboot.py --data if_due=true --data why="..."      only where one is due
pyinfra inventories/prod.py deploys/fixes/reboot.py --data seconds=900 --data why="..."      how long it may take

Each keeps to its update policy: to its windows, unless --data now=true is given; it waits for what must drain; it holds
the reboot slot of its group while it is away, and one that does not come back keeps it.
"""

from deploys._run import contained
from deploys.fixes._fix import begin_fix, number, yes
from deploys.update.leave import draining, holding_slot
from operations import reboot

seconds, if_due = number("seconds", 600), yes("if_due")
with contained():
    owner = begin_fix(__file__, "rebooted", in_window=True)
    with holding_slot(owner):
        reboot.rebooted(name="Reboot", seconds=seconds, if_due=if_due, **draining())
