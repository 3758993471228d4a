"""Remove tdnf's lock when nobody holds it.

pyinfra inventories/prod.py deploys/fixes/clear_tdnf_lock.py --limit web-3 --data why="..."
"""

from deploys.fixes._fix import begin_fix
from operations import fixes

begin_fix(__file__, "cleared the lock of tdnf")
fixes.cleared_tdnf_lock(name="Clear the lock of tdnf")
