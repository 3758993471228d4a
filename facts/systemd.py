"""What systemd knows of a unit, in one read."""

from __future__ import annotations

from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

_PROPERTIES = {
    "LoadState": "load", "ActiveState": "active", "UnitFileState": "file", "NeedDaemonReload": "stale",
}  # fmt: skip


class UnitState(TypedDict):
    """systemd's own words; `file` is "" for a unit without a file. `stale`: its file changed since systemd read it."""

    load: str
    active: str
    file: str
    stale: bool


class Unit(FactBase[UnitState]):
    """
    Returns how a unit is loaded, whether it runs, and whether it starts at boot:

    .. code:: python

        {"load": "loaded", "active": "active", "file": "enabled", "stale": False}

    A unit that is not there is `load: not-found` and no error. Source of the format: systemctl(1), `show`, and the
    properties of org.freedesktop.systemd1(5).
    """

    @override
    def command(self, unit: str) -> StringCommand:
        return StringCommand("systemctl show", f"--property={','.join(_PROPERTIES)}", QuoteString(unit))

    @override
    def process(self, output: list[str]) -> UnitState:
        found = dict(line.split("=", 1) for line in output if "=" in line)
        if not {"LoadState", "ActiveState"} <= set(found):
            message = f"systemctl answered {output!r}"
            raise FactProcessError(message)
        return {
            "load": found["LoadState"], "active": found["ActiveState"], "file": found.get("UnitFileState", ""),
            "stale": found.get("NeedDaemonReload") == "yes",
        }  # fmt: skip
