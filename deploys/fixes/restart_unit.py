"""Restart a unit and prove that it runs.

pyinfra inventories/prod.py deploys/fixes/restart_unit.py --limit web-3 --data unit=docker.service --data why="..."
"""

from contextlib import nullcontext

from deploys.fixes._fix import begin_fix, option
from deploys.guard import guarded
from deploys.policies.ssh import Ssh
from operations import fixes

unit = option("unit")
owner = begin_fix(__file__, f"restarted {unit}")
# A restart of sshd that leaves nobody in is undone as a change of its configuration is: it is started again.
with guarded(Ssh(), owner) if unit.startswith("sshd.") else nullcontext():
    fixes.restarted(name=f"Restart {unit}", unit=unit)
