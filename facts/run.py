"""What other runs have left on a host: a lock, an armed guard, the verdict of one that went off, records of fixes."""

from __future__ import annotations

from typing import TypedDict

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

DIRECTORY = "/run/photon-fleet"
STATE = "/var/lib/photon-fleet"
GUARD = f"{STATE}/guard"
RECORDS = f"{STATE}/records"

_PLACES = {"lock": f"{DIRECTORY}/lock", "armed": f"{GUARD}/armed/about", "verdict": f"{GUARD}/verdict"}
_MARK = "##photon-fleet "


class Traces(TypedDict):
    """The lines of each file, none when it is not there. `lock` is empty when its owner is gone."""

    lock: list[str]
    armed: list[str]
    verdict: list[str]
    records: list[list[str]]


class OtherRuns(FactBase[Traces]):
    """
    Returns what other runs have left that the next one must know, as lines `name: value`:

    .. code:: python

        {"lock": ["by: alice@ctl, process 12", "why: ..."], "armed": [], "verdict": [], "records": [["what: ..."]]}

    Source of the format: templates/guard and operations/record.py, which write the files.
    """

    @override
    def command(self) -> str:
        alive = '[ "${2:-0}" != 0 ] && [ "$(sed \'s/.*) //\' /proc/$2/stat 2>/dev/null | cut -d\' \' -f20)" = "$3" ]'
        return (
            f"lock={_PLACES['lock']}; set -- $(head -n 1 $lock 2>/dev/null); echo '{_MARK}lock'; "
            f"if {alive}; then tail -n +2 $lock; fi; "
            f"echo '{_MARK}armed'; cat {_PLACES['armed']} 2>/dev/null; "
            f"echo '{_MARK}verdict'; cat {_PLACES['verdict']} 2>/dev/null; "
            f'for f in {RECORDS}/new/*; do if [ -f "$f" ]; then echo \'{_MARK}record\'; cat "$f"; fi; done; '
            f"echo '{_MARK}end'"
        )

    @override
    def process(self, output: list[str]) -> Traces:
        found: Traces = {"lock": [], "armed": [], "verdict": [], "records": []}
        current: list[str] | None = None
        for line in output:
            if not line.startswith(_MARK):
                if current is not None:
                    current.append(line)
                continue
            name = line.removeprefix(_MARK)
            if name == "record":
                current = []
                found["records"].append(current)
            elif name in _PLACES:
                current = found[name]  # type: ignore[literal-required]
        if output[-1:] != [f"{_MARK}end"]:
            message = f"the answer ended early: {output[-1:]!r}"
            raise FactProcessError(message)
        return found
