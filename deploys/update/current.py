"""What the update policy of a host installs in a run of deploys/host.py, by the code of the update fix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from pyinfra import host, logger
from pyinfra.api import OperationError

from deploys.guard import Owner
from deploys.policies.base import Policy
from deploys.policies.update import Update
from deploys.update.asked import Asked, of_run
from deploys.update.image import take_image
from deploys.update.packages import take_packages
from deploys.update.way_back import SECONDS, WATCHED_SECONDS
from facts.ostree import Deployments
from inventories._merge import effective_of
from operations._contain import read


def keep_current(owner: Owner, applied: Iterable[Policy]) -> None:
    """Declare the update that is wanted of the current host, when its policy was applied and a window is open.

    Raises:
        OperationError: the policy wants of an image host what only packages have.
    """
    policy = next((each for each in applied if isinstance(each, Update)), None)
    if policy is None or policy.install == "no":
        return
    if why := policy.shut(datetime.now(UTC)):
        logger.info("%supdates wait: %s", host.print_prefix, why)
        return
    policies = list(effective_of(host).policies.values())
    image = read(Deployments) is not None
    asked = replace(asked_by(policy, image=image), of=of_run())
    if image:
        take_image(owner, asked, policies, watched=WATCHED_SECONDS)
    else:
        take_packages(owner, asked, policies, SECONDS, watched=WATCHED_SECONDS)


def asked_by(policy: Update, *, image: bool) -> Asked:
    """The update that a policy asks for.

    Raises:
        OperationError: it is about packages, and the host takes images.
    """
    if image and (policy.install != "all" or policy.exclude):
        message = (
            'refused: the update policy asks for packages, and this host takes images: give it install="all" for the '
            "newest one, and no exclude"
        )
        raise OperationError(message)
    # An image that came waits for a reboot, which is due then: no more is meant by always.
    restart = "due" if image and policy.reboot == "always" else policy.reboot
    return Asked(
        exclude=policy.exclude, security=policy.install == "security", score=policy.minimum_score, restart=restart,
        only_after_change=policy.reboot == "always" and not image,
    )  # fmt: skip
