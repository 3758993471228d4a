"""Names, places and addresses of the lab. Nothing else in `tests.lab` spells them out.

Everything the lab leaves on the machine is below `state_dir()` (hosts, keys, log: gone after
`down`) and `cache_dir()` (base root file systems and packages: safe to delete at any time).
"""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY_HOST = "packages.lab"
FIRST_HOST = 10


def _setting(variable: str, default: str) -> str:
    return os.environ.get(variable) or default


def name() -> str:
    """Name of the lab's cgroup, scope and directories. Labs of several names (and networks) run side by side."""
    return _setting("LAB_NAME", "photon-lab")


def uplink() -> str:
    """The interface by which this machine reaches the lab; at most 15 characters."""
    return f"{name()[:14]}0"


def state_dir() -> Path:
    """Where hosts live. Must not be on an overlay file system: overlays do not stack."""
    return Path(_setting("LAB_STATE", f"/var/lib/{name()}"))


def cache_dir() -> Path:
    """Where base systems and packages are kept, for labs of every name."""
    return Path(_setting("LAB_CACHE", "/var/cache/photon-lab"))


def network() -> str:
    """First three octets of the lab's /24."""
    return _setting("LAB_NET", "10.83.0")


def gateway() -> str:
    """This machine's address in the lab."""
    return f"{network()}.1"


def repository_address() -> str:
    """The address where the lab serves its package repositories over HTTP."""
    return f"{network()}.2"


def mac(address: str) -> str:
    """A fixed MAC for an IPv4 address, so that a rebooted host does not meet a stale neighbour entry."""
    return "02:83:" + ":".join(f"{int(octet):02x}" for octet in address.split("."))
