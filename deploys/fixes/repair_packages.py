"""Finish what an interrupted transaction has begun: two versions of a package become one, with all of its files.

pyinfra inventories/prod.py deploys/fixes/repair_packages.py --limit web-3 --data why="..."
"""

from deploys.fixes._fix import begin_fix
from operations import way_back

begin_fix(__file__, "repaired packages")
way_back.repaired(name="Finish the interrupted transaction")
