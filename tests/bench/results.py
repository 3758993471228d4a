"""The figures of a benchmark: what is kept of each run, medians, ratios, and the table. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.errors import BenchError

ORDER = ("ours", "stock", "ansible", "mitogen", "floor")
RATIOS = (("stock", "ours"), ("ansible", "ours"), ("mitogen", "ours"), ("ours", "floor"))
CASES = {"first": "first converge", "noop": "no-op converge"}


@dataclass(frozen=True)
class Measure:
    """One kind of figure: how it is called, and its unit. `per_host` ones are divided by the number of hosts."""

    key: str
    title: str
    scale: float = 1.0
    digits: int = 1
    per_host: bool = False


MEASURES = (
    Measure("wall", "wall time, s", digits=2),
    Measure("round_trips", "round trips per host", digits=0, per_host=True),
    Measure("bytes", "kB per host", scale=1e-3, digits=0, per_host=True),
    Measure("cpu", "controller CPU, s", digits=2),
    Measure("hosts_cpu", "CPU of each host, s", digits=2, per_host=True),
    Measure("memory", "controller memory, MB", scale=1e-6, digits=0),
)


@dataclass(frozen=True)
class Run:
    """One timed run. `error` says why there are no figures."""

    case: str
    hosts: int
    rtt_ms: float
    contender: str
    repetition: int
    figures: Mapping[str, float] = field(default_factory=dict)
    changes: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Proved:
    """What tests/hosts found on one host after a contender's first converge: how many checks passed, which did not."""

    passed: int
    failed: list[str]


@dataclass
class Results:
    """All runs, and what was measured where: `about` has versions and the machine, `proofs` what our proof found."""

    about: dict[str, Any] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    proofs: dict[str, Proved] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote.

        Raises:
            BenchError: no such file, or another kind of file.
        """
        try:
            found = json.loads(path.read_text())
            proofs = {contender: Proved(**proved) for contender, proved in found["proofs"].items()}
            return cls(found["about"], [Run(**run) for run in found["runs"]], proofs)
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{path} has no results of this benchmark: {error}"
            raise BenchError(message) from error


def counted(hosts: int) -> str:
    """`1 host`, `2 hosts`."""
    return f"{hosts} host{'' if hosts == 1 else 's'}"


@dataclass(frozen=True)
class Row:
    """One case on so many hosts at one round-trip time: contender -> measure -> median of its repetitions."""

    case: str
    hosts: int
    rtt_ms: float
    medians: Mapping[str, Mapping[str, float]]
    failed: Mapping[str, str]

    @property
    def title(self) -> str:
        return f"{CASES[self.case]}, {self.place}"

    @property
    def place(self) -> str:
        return f"{counted(self.hosts)}, {self.rtt_ms:g} ms"

    def value(self, contender: str, measure: Measure) -> float | None:
        """A figure as it is shown, or None."""
        found = self.medians.get(contender, {}).get(measure.key)
        if found is None:
            return None
        return found * measure.scale / (self.hosts if measure.per_host else 1)

    def ratio(self, pair: tuple[str, str], measure: Measure) -> float | None:
        """One contender's figure over another's, or None when one is missing or nothing."""
        over, under = (self.value(contender, measure) for contender in pair)
        return None if over is None or not under else over / under


def rows(runs: Iterable[Run]) -> list[Row]:
    """The rows of the table, in the order in which they were measured. A contender that failed once has no median."""
    places: dict[tuple[str, int, float], list[Run]] = {}
    for run in runs:
        places.setdefault((run.case, run.hosts, run.rtt_ms), []).append(run)
    made = []
    for (case, hosts, rtt_ms), found in places.items():
        failed = {run.contender: run.error for run in found if run.error is not None}
        by_contender: dict[str, list[Mapping[str, float]]] = {}
        for run in found:
            if run.contender not in failed:
                by_contender.setdefault(run.contender, []).append(run.figures)
        medians = {
            contender: {key: median(one[key] for one in figures) for key in figures[0]}
            for contender, figures in by_contender.items()
        }
        made.append(Row(case, hosts, rtt_ms, medians, failed))
    return sorted(made, key=lambda row: (list(CASES).index(row.case), row.hosts, row.rtt_ms))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}x" if value < 100 else f"{value:.0f}x"


def _lines(row: Row, contenders: Sequence[str]) -> Iterable[list[str]]:
    yield [f"**{row.title}**", *[""] * (len(contenders) + len(RATIOS))]
    for measure in MEASURES:
        cells = [
            "failed" if contender in row.failed else _number(row.value(contender, measure), measure.digits)
            for contender in contenders
        ]
        yield [measure.title, *cells, *(_times(row.ratio(pair, measure)) for pair in RATIOS)]


def table(results: Results) -> str:
    """Everything as one Markdown table, aligned for the terminal: figures, and beside them the ratios."""
    measured = {run.contender for run in results.runs}
    contenders = [contender for contender in ORDER if contender in measured]
    lines = [["", *contenders, *("/".join(pair) for pair in RATIOS)]]
    for row in rows(results.runs):
        lines += _lines(row, contenders)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def text(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = [f"{'-' * widths[0]}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    return "\n".join([text(lines[0]), text(rule), *map(text, lines[1:])]) + "\n"


def words(results: Results) -> str:
    """What the table does not say: versions, and what our proof found of each contender's work."""
    about = results.about
    versions = ", ".join(f"{name} {about[name]}" for name in ("pyinfra", "ansible-core", "mitogen") if name in about)
    machine = f"{about.get('cores')} cores for controller and hosts"
    if "load" in about:
        machine += f", load average {about['load']} before the run"
    if "repeat" in about:
        machine += f"; runs of each: {about['repeat_first']} first, {about['repeat']} no-op"
    lines = [f"{about.get('date')}: {machine}; {versions}."] if about else []
    proofs = [f"{name} {one.passed} of {one.passed + len(one.failed)}" for name, one in results.proofs.items()]
    if proofs:
        lines.append(f"Checks of tests/hosts that pass after the first converge: {', '.join(proofs)}.")
    return "".join(f"{line}\n" for line in lines)


def problems(results: Results) -> list[str]:
    """A sentence for each run that failed, and for each proof that did not pass."""
    found = [
        f"{CASES[run.case]}, {counted(run.hosts)}, {run.rtt_ms:g} ms: {run.contender}: {run.error}"
        for run in results.runs
        if run.error is not None
    ]
    return found + [
        f"after {contender}, our proof fails: {', '.join(proved.failed)}"
        for contender, proved in results.proofs.items()
        if proved.failed
    ]
