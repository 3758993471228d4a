"""An update of packages, from the proof before it to the proof after it."""

from __future__ import annotations

from collections.abc import Sequence

from deploys.guard import Owner, guarding
from deploys.policies.base import Policy
from deploys.update.asked import Asked
from deploys.update.leave import draining, holding_slot, pinned
from deploys.update.way_back import proved_before, proved_or_undone, undo
from operations import reboot, updates


def take_packages(owner: Owner, asked: Asked, policies: Sequence[Policy], seconds: int, *, watched: int) -> None:
    """Declare what updates the packages of the current host.

    Args:
        owner: of the run.
        asked: what is updated.
        policies: all of the host's; what they prove decides about the way back.
        seconds: how long the transaction and a new login may take before the host goes back by itself.
        watched: how long after its boot it waits for the proof before it does.
    """
    what = asked.what(image=False)
    proved = [] if asked.download or not asked.way_back else list(policies)
    if proved:
        proved_before(name="Look what is proved before", policies=proved)
    # The guard takes the way back when nobody can log in afterwards; without files to go back to there is none.
    with guarding("update", undo() if proved else None, owner, seconds):
        done = updates.packages(
            name=f"Download the updates of {what}" if asked.download else f"Update {what}",
            names=list(asked.packages), exclude=[*asked.exclude, *pinned()], security=asked.security,
            minimum_score=asked.score, download_only=asked.download, way_back=asked.way_back,
        )  # fmt: skip
    if asked.restart != "no" and not asked.download:
        with holding_slot(owner):
            reboot.rebooted(
                name="Reboot", seconds=asked.seconds, if_due=asked.restart == "due", watched=watched if proved else 0,
                _if=[done.did_change] if asked.only_after_change else [], **draining(),
            )  # fmt: skip
    if proved:
        proved_or_undone(name="Prove every policy", policies=proved, seconds=asked.seconds)
