"""What `photon-fleet` ends with: see docs/rollout.md. A status says one thing alone."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The exit statuses. 1 is left to Python: it is what a defect of ours ends with."""

    CLEAN = 0
    """Nothing to do, or all done."""
    REFUSED = 2
    """The input cannot be used, or something forbids it: nothing was begun."""
    CHANGES = 3
    """`plan`: something would be changed."""
    DRIFT = 4
    """`drift`, `verify`: hosts are not as their policies say."""
    FAILED = 5
    """A rollout stopped, or went back; of `plan` and `drift`: what is so of a host could not be told."""
    UNREACHABLE = 6
    """Some hosts could not be reached, and nothing worse is known of the others."""
    NOTHING = 7
    """No host is meant."""
    PAUSED = 8
    """Paused, or waits for a person."""
    ABORTED = 9
