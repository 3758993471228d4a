"""Free disk space of what can be had again; with --dry it says how much that is.

pyinfra inventories/prod.py deploys/fixes/free_disk.py --limit web-3 --data why="..."
    --data parts=journal,tdnf,images    which of them
    --data journal=200M                 what the journal may keep
"""

from deploys.fixes._fix import begin_fix, option
from operations import fixes

parts = [part.strip() for part in option("parts", ",".join(fixes.PARTS)).split(",")]
begin_fix(__file__, f"freed disk space: {', '.join(parts)}")
fixes.freed_space(name="Free disk space", parts=parts, journal=option("journal", "200M"))
