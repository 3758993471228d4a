"""Forget which versions a host has gone back from: the next update may install them again.

pyinfra inventories/prod.py deploys/fixes/release.py --limit web-3 --data why="..."
"""

from deploys.fixes._fix import begin_fix
from operations import way_back

begin_fix(__file__, "released the versions that were held back")
way_back.released(name="Release the versions that were held back")
