"""No host is ever locked out: one run at a time, and changes undo themselves unless the controller gets in anew."""

from deploys.guard.arrive import NEWS, arrive
from deploys.guard.guard import UNDONE, guarded, guarding
from deploys.guard.owner import BUSY, Owner, take_turns

__all__ = ["BUSY", "NEWS", "UNDONE", "Owner", "arrive", "guarded", "guarding", "take_turns"]
