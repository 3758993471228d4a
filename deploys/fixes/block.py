"""Block a source address for a limited time, or end that before its time.

pyinfra inventories/prod.py deploys/fixes/block.py --data address=203.0.113.7 --data minutes=60 --data why="..."
pyinfra inventories/prod.py deploys/fixes/block.py --data address=203.0.113.7 --data unblock=true --data why="..."
"""

from functools import partial

from deploys.fixes._fix import begin_fix, not_our_own, number, option, yes
from deploys.guard import guarding
from deploys.policies.base import Undo
from operations import fixes

address, minutes = fixes.require_network(option("address")), number("minutes", 60)
if yes("unblock"):
    begin_fix(__file__, f"unblocked {address}")
    fixes.unblocked(name=f"Unblock {address}", address=address)
else:
    owner = begin_fix(__file__, f"blocked {address} for {minutes} minutes")
    with guarding("block", Undo(paths=(), running=fixes.undo_of_block(address)), owner):
        fixes.blocked(
            name=f"Block {address} for {minutes} minutes", address=address, minutes=minutes,
            refuse=partial(not_our_own, address),
        )  # fmt: skip
