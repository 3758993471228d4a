"""The reboot slot of a group: how many hosts of a group may be away at once, and who is asked.

Either a lock server that speaks the FleetLock protocol (airlock and others), or a file on the controller, for fleets
that are rolled out from one machine.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from deploys.policies.base import Model
from deploys.policies.secret import Secret

_GROUP = re.compile(r"[A-Za-z0-9.-]+")


def _group(value: str) -> str:
    # The protocol allows no more: https://coreos.github.io/zincati/development/fleetlock/protocol/
    if not _GROUP.fullmatch(value) or value.startswith("-"):
        message = f"{value!r} is no name of a group: letters, digits, dots and dashes"
        raise ValueError(message)
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    local = parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if (
        not parts.hostname
        or parts.username
        or parts.query
        or parts.scheme not in {"https", *(["http"] if local else [])}
    ):
        message = f"{value!r} is no https:// address of a lock server (http only on this machine), without a login"
        raise ValueError(message)
    return value.rstrip("/")


Group = Annotated[str, AfterValidator(_group)]


class FleetLock(Model):
    """A server of the FleetLock protocol. The controller asks it, and the host is named by its inventory name."""

    url: Annotated[str, AfterValidator(_url)]
    group: Group = "default"
    token: Secret | None = None
    """Sent as `Authorization: Bearer ...`, for a server behind a proxy that wants it."""
    seconds: float = Field(default=10, gt=0, le=120)
    """How long one answer may take."""


class SlotFile(Model):
    """A file on the controller, or on what all controllers mount."""

    path: Path
    group: Group = "default"
    hosts: int = Field(default=1, ge=1)
    """How many hosts of the group may be away at once."""
