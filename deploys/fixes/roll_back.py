"""Go back to before the last update, or to after a transaction of tdnf; the steps are said before anything is done.

pyinfra inventories/prod.py deploys/fixes/roll_back.py --limit web-3 --data why="..."
pyinfra inventories/prod.py deploys/fixes/roll_back.py --limit web-3 --data to=41 --data why="..."

Without `to=` the host goes back to before its last update by deploys/fixes/update.py, from files that lie on it. The
numbers are those of `tdnf history` on the host. `--dry` says the steps and goes none of them.
"""

from deploys.fixes._fix import begin_fix, number, option
from operations import way_back

if option("to", ""):
    to = number("to")
    begin_fix(__file__, f"went back to transaction {to}")
    way_back.rolled_back(name=f"Go back to transaction {to}", to=to)
else:
    begin_fix(__file__, "went back to before the last update")
    way_back.gone_back(name="Go back to before the last update")
