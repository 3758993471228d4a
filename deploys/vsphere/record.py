"""Which machine is which host: written down when a machine is made, and kept with the inventory, in git.

A JSON file, `inventories/vms.json` unless `vm_record` says otherwise: host -> vCenter, instance UUID and the address
where it was last seen. The UUID is what a machine is found by when it was renamed, moved or registered anew; the
address serves runs that do not ask the vCenter.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from deploys.errors import InputError

DEFAULT = Path(__file__).resolve().parents[2] / "inventories" / "vms.json"


@dataclass(frozen=True)
class Known:
    """What is written down of a host's machine. `address` is empty until it had one."""

    vcenter: str
    uuid: str
    address: str = ""


def known(path: Path) -> dict[str, Known]:
    """All hosts that are written down.

    Raises:
        InputError: the file cannot be read, or is no such record.
    """
    try:
        return {name: Known(**entry) for name, entry in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        message = f"{path} is no record of machines: {error}. It is kept in git: take back the last good one"
        raise InputError(message) from error


def note(path: Path, name: str, entry: Known) -> None:
    """Write down a host's machine, beside what other hosts and runs write.

    Raises:
        InputError: it cannot be written.
    """
    with _changing(path) as entries:
        entries[name] = entry


def drop(path: Path, name: str) -> None:
    """Forget a host's machine.

    Raises:
        InputError: it cannot be written.
    """
    with _changing(path) as entries:
        entries.pop(name, None)


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, Known]]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = known(path)
            yield entries
            _replace(path, entries)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise InputError(message) from error


def _replace(path: Path, entries: Mapping[str, Known]) -> None:
    text = json.dumps({name: asdict(entry) for name, entry in sorted(entries.items())}, indent=1, ensure_ascii=False)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    with new.open("w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
