"""An update of packages, from the proof before it to the proof after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploys.guard import Owner, guarding
from deploys.policies.base import Policy
from deploys.update.asked import Asked
from deploys.update.leave import draining, holding_slot, pinned
from deploys.update.way_back import (
    PROOF_SECONDS,
    failing_before,
    proved_before,
    proved_or_undone,
    rebooted_and_proved,
    undo,
)  # fmt: skip
from operations import updates
from operations._contain import Commands, followed, operation, within
from operations._point import proof_awaited


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
        proved_before(name="Look what is proved before", policies=proved, seconds=asked.seconds)
    # The guard takes the way back when nobody can log in afterwards; without files to go back to there is none.
    with guarding("update", undo() if proved else None, owner, seconds):
        done = packages_updated(
            name=f"Download the updates of {what}" if asked.download else f"Update {what}", proved=bool(proved),
            names=list(asked.packages), exclude=[*asked.exclude, *pinned()], security=asked.security,
            minimum_score=asked.score, download_only=asked.download, way_back=asked.way_back, of=asked.of,
        )  # fmt: skip
    if asked.restart != "no" and not asked.download:
        with holding_slot(owner):
            rebooted_and_proved(
                name="Reboot", policies=proved, seconds=asked.seconds, if_due=asked.restart == "due",
                watched=watched if proved else 0, _if=[done.did_change] if asked.only_after_change else [],
                **draining(),
            )  # fmt: skip
    if proved:
        proved_or_undone(name="Prove every policy", policies=proved, seconds=asked.seconds)


@operation()
def packages_updated(proved: bool, **wish: Any) -> Commands:  # noqa: ANN401, FBT001 - as pyinfra's own operations
    """
    Update packages, and let the host go back by itself when nobody proves it within an hour.

    + proved: whether a proof follows
    + wish: arguments of `updates.packages`
    """
    yield from followed(
        within(updates.packages, **wish), [proof_awaited(PROOF_SECONDS, failing_before())] if proved else []
    )
