"""guestinfo: how text gets into the extraConfig of a VM, and what of it may be shown."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override

from deploys.errors import InputError

LIMIT = 512 * 1024
"""Bytes of one value. Documented for vSphere's own cloud-init customization (metadata and user data each); a guest
reads guestinfo through the same channel."""

ENCODING = "gzip+base64"


@dataclass(frozen=True, repr=False)
class GuestInfo:
    """Keys and values for extraConfig. `repr` tells sizes alone: the user data may hold a private key."""

    keys: Mapping[str, str]

    @override
    def __repr__(self) -> str:
        return f"GuestInfo({', '.join(f'{key}: {len(value)} characters' for key, value in self.keys.items())})"


def encoded(text: str) -> str:
    """The text as gzip and base64 in one line: cloud-init takes a wrapped one for damaged. The same bytes each time."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def guest_info(texts: Mapping[str, str], plain: Mapping[str, str]) -> GuestInfo:
    """The keys of guestinfo.

    Args:
        texts: such as metadata and userdata; each gets its key `.encoding`, without which it would be read as it is.
        plain: short values that are not encoded.

    Raises:
        InputError: a text is too large, compressed.
    """
    keys: dict[str, str] = {}
    for name, text in texts.items():
        value = encoded(text)
        if len(value) > LIMIT:
            message = (
                f"guestinfo.{name}: it takes {len(value):,} bytes, and a VM takes {LIMIT:,}. The first boot needs what "
                "lets the first login in; leave the rest to deploys/host.py"
            )
            raise InputError(message)
        keys |= {f"guestinfo.{name}": value, f"guestinfo.{name}.encoding": ENCODING}
    return GuestInfo(keys | {f"guestinfo.{name}": value for name, value in plain.items()})
