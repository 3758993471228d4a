"""By the leave of a host's own policy: its windows, and the reboot slot of its group."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from pyinfra import host, logger
from pyinfra.api import OperationError
from pyinfra.context import ctx_host

from deploys.guard import Owner
from deploys.policies.packages import Packages
from deploys.policies.update import Update
from deploys.update.slots import HoldingSlot
from inventories._merge import effective_of
from operations._around import around


def _policy() -> Update | None:
    policy = effective_of(host).get(Update.name)
    return policy if isinstance(policy, Update) else None


def require_open(*, now: bool) -> None:
    """Refuse the current host outside its windows; with `now` that is only said.

    Raises:
        OperationError: it may not be updated or rebooted now; with the next moment when it may.
    """
    policy = _policy()
    why = policy.shut(datetime.now(UTC)) if policy is not None else ""
    if why and now:
        logger.warning("%snot kept to, as you asked: %s", host.print_prefix, why)
    elif why:
        message = f"refused: {why}. --data now=true does it all the same"
        raise OperationError(message)


def draining() -> dict[str, Any]:
    """What the current host's reboot waits for, as arguments of `reboot.rebooted`."""
    policy = _policy()
    if policy is None or policy.drain is None:
        return {}
    drain = policy.drain
    return {
        "containers": list(drain.containers), "nfs_clients": drain.nfs_clients, "drain_seconds": drain.seconds
    }  # fmt: skip


def holding_slot(owner: Owner) -> AbstractContextManager[None]:
    """Take the slot of the current host's group before what is declared in the block changes it, and give it back."""
    policy = _policy()
    if policy is None or policy.slot is None:
        return nullcontext()
    return around(ctx_host.get(), HoldingSlot(ctx_host.get(), policy.slot, owner))


def pinned() -> list[str]:
    """The packages of which the current host's packages policy wants exactly one version: no update touches them."""
    policy = effective_of(host).get(Packages.name)
    return sorted(policy.exact) if isinstance(policy, Packages) else []
