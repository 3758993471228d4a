"""What the first boot of a host needs beyond its policies."""

from __future__ import annotations

from typing import Any, Literal

from deploys.policies.accounts_models import PublicKey
from deploys.policies.base import Model


class FirstBoot(Model):
    """What the first boot needs beyond the policies; `first_boot=FirstBoot(...)` in a host's data."""

    keys: tuple[PublicKey, ...] = ()
    """Keys that let the first login in, beside those of the policies."""
    host_keys: Literal["guest", "controller"] = "guest"
    """Who makes the host's SSH key. Made in the guest it is read back through guestinfo, and nothing secret travels;
    made here it is known before the VM is, and its private half is in guestinfo until cloud-init has read it."""

    def to_json(self) -> dict[str, Any]:
        """For `debug-inventory --json`."""
        return self.model_dump(mode="json")
