"""Go back to before the last update, or to after a transaction of tdnf; the steps are said before anything is done.

pyinfra inventories/prod.py deploys/fixes/roll_back.py --limit web-3 --data why="..."
pyinfra inventories/prod.py deploys/fixes/roll_back.py --limit web-3 --data to=41 --data why="..."
pyinfra inventories/prod.py deploys/fixes/roll_back.py --data of=rollout-12-da82f2fc --data why="..."

Without `to=` the host goes back to before its last update by deploys/fixes/update.py, from what lies on it: package
files, or the image from before, into which it reboots (with the reboot slot of its group, and after what must drain).
With `of=` it goes back to before the first update of that rollout; a host on which that has installed nothing is left
as it is, and one that was updated by something else since is refused. With `hold=true` the next update leaves out what
came (deploys/fixes/release.py). The numbers are those of `tdnf history` on the host. `--dry` says the steps and goes
none of them.
"""

from pyinfra.api import OperationError

from deploys._run import contained
from deploys.fixes._fix import begin_fix, number, option, yes
from deploys.update.asked import of_run
from deploys.update.leave import draining, holding_slot
from facts.ostree import Deployments
from operations import way_back
from operations._contain import read

to, seconds, hold = number("to") if option("to", "") else None, number("seconds", 600), yes("hold")
with contained():
    of = of_run()
    if of and to is not None:
        message = "refused: to= and of= are two ways back: give one of them"
        raise OperationError(message)
    image = read(Deployments) is not None
    if image and to is not None:
        message = "refused: to= counts transactions of tdnf, and this host takes images: leave it out"
        raise OperationError(message)
    where = f"transaction {to}" if to is not None else f"before the updates of {of}" if of else "before the last update"
    owner = begin_fix(__file__, f"went back to {where}")
    if to is not None:
        way_back.rolled_back(name=f"Go back to transaction {to}", to=to)
    elif not image:
        way_back.gone_back(name=f"Go back to {where}", hold=hold, of=of)
    else:
        with holding_slot(owner):
            way_back.image_gone_back(
                name="Go back to the image from before", seconds=seconds, hold=hold, of=of, **draining()
            )  # fmt: skip
