"""What a guest says on its serial console, where root alone can write: the only way back that a cloud offers unasked.

Lines are `photon-fleet:TOKEN:WORD TEXT`, each at the beginning of a line of its own; the token is that of the machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploys.clouds.machine import CloudError
from deploys.errors import InputError
from deploys.vsphere.seed.host_keys import read_back

READY, FAILED, HOST_KEY = "ready", "failed", "hostkey"


def key(token: str, word: str) -> str:
    """What a line of the guest begins with."""
    return f"photon-fleet:{token}:{word}"


@dataclass(frozen=True)
class Said:
    """What a guest has said so far. `host_key` is as known_hosts has it."""

    ready: bool = False
    failed: str = ""
    host_key: str = ""


def said(text: str, token: str) -> Said:
    """What the guest of a machine has said; words of other machines, and within other lines, do not count.

    Raises:
        CloudError: it names two different host keys.
    """
    words: dict[str, list[str]] = {}
    for found in re.finditer(rf"^photon-fleet:{re.escape(token)}:([a-z]+) ([^\r\n]*)\r*$", text, re.MULTILINE):
        words.setdefault(found[1], []).append(found[2].strip())
    if READY not in words:
        return Said(failed=words.get(FAILED, [""])[-1])
    # It is written on more than one port, and words of the kernel may have come in between on one of them.
    keys = {key for key in map(_whole, words.get(HOST_KEY, [])) if key}
    if len(keys) > 1:
        message = f"the console names {len(keys)} different host keys; none is pinned. Look at it, and pin one by hand"
        raise CloudError(message)
    return Said(ready=True, host_key=keys.pop() if keys else "")


def _whole(value: str) -> str:
    try:
        return read_back(value)
    except InputError:
        return ""
