"""Collect what a person needs to understand a host, into a file on this machine. Secrets are left out.

pyinfra inventories/prod.py deploys/fixes/diagnose.py --limit web-3 --data why="..." [--data to=DIRECTORY]
"""

from pathlib import Path

from deploys.fixes._diagnosis import collected
from deploys.fixes._fix import begin_fix, option

begin_fix(__file__, "collected a diagnosis")
collected(name="Collect a diagnosis", directory=str(Path(option("to", "diagnosis")).expanduser()))
