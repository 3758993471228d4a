"""The last bulk read of a vCenter, kept on the controller for when the vCenter is down, or not to be asked.

A file for each vCenter and user below the user's cache directory, readable by the user alone, with the SHA-256 of what
it holds: a file that was cut off or edited is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploys.policies.vcenter import VCenter
from deploys.vsphere.rows import Vm, vm_from_json

FORMAT = 2


@dataclass(frozen=True)
class Read:
    """What one bulk read found.

    Args:
        at: when, in seconds since 1970.
        tagged: whether the tags could be read; without them no machine is found by its tags.
    """

    vms: tuple[Vm, ...]
    at: float
    tagged: bool = True

    @property
    def digest(self) -> str:
        """The SHA-256 of the machines, the same for the same machines."""
        return _digest(_text(self.vms))

    def age(self) -> str:
        """How old it is, for a person."""
        seconds = max(0, int(time.time() - self.at))
        for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
            if seconds >= 2 * size:
                return f"{seconds // size} {unit}s old"
        return f"{seconds} seconds old"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(vms: Sequence[Vm]) -> str:
    return json.dumps([asdict(vm) for vm in vms], sort_keys=True, ensure_ascii=False)


def file_of(vcenter: VCenter) -> Path:
    """Where the last read of that user is kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(f"{vcenter.place} {vcenter.user}".encode()).hexdigest()[:24]
    return base / "photon-fleet" / "vsphere" / f"{name}.json"


def keep(vcenter: VCenter, read: Read) -> None:
    """Keep a read; a directory that cannot be written is no trouble of the run."""
    path = file_of(vcenter)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_suffix(f".{os.getpid()}.new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        text = _text(read.vms)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            head = {"format": FORMAT, "at": read.at, "tagged": read.tagged, "sha256": _digest(text)}
            file.write(json.dumps(head) + "\n" + text)
        new.replace(path)
    except OSError:
        return


def kept(vcenter: VCenter) -> Read | None:
    """The last read; None when there is none, or what there is cannot be trusted."""
    try:
        head, _, text = file_of(vcenter).read_text(encoding="utf-8").partition("\n")
        about = json.loads(head)
        if about["format"] != FORMAT or _digest(text) != about["sha256"]:
            return None
        return Read(tuple(vm_from_json(row) for row in json.loads(text)), about["at"], about["tagged"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
