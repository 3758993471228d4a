"""Commands that may cut the connection which starts them: the host carries them out by itself.

Who waits for their end (the guard, before it confirms) asks systemd for the unit.
"""

from __future__ import annotations

import shlex

from facts.run import GUARD

UNIT = "photon-fleet-change.service"
LATE = f"{GUARD}/armed/late"
"""There while a guarded change may still come into force after the command that makes it: see guard.sh."""


def in_background(script: str) -> str:
    """The shell command that has systemd run a script, in a moment, and returns at once.

    The unit stays behind as failed when the script fails; a new one of that name can be started all the same.
    """
    return (
        f"test ! -d {GUARD}/armed || touch {LATE}; systemctl reset-failed {UNIT} 2>/dev/null; "
        f"systemd-run --quiet --unit={UNIT} "
        f"--description='A change of Photon Fleet' /bin/sh -c {shlex.quote(f'sleep 0.3; {script}')}"
    )
