"""Charts of the figures: one SVG for each case, drawn by a template, readable on light and on dark ground."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.bench.results import CASES, MEASURES, ORDER, Measure, Results, Row, rows, table, words

TITLES = {
    "ours": "Photon Fleet",
    "stock": "on pyinfra's own SSH",
    "ansible": "Ansible",
    "mitogen": "Ansible with Mitogen",
    "floor": "floor",
}
_SHOWN = ("wall", "round_trips", "cpu", "memory")
_BAR, _GAP, _COLUMN, _LABEL = 13, 18, 190, 46

_BEGIN, _END = "<!-- figures: written by python -m tests.bench --charts -->\n", "<!-- end of figures -->\n"

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    autoescape=True,
)  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """One figure of one contender, in pixels and in words."""

    contender: str
    y: int
    width: float
    text: str


@dataclass(frozen=True)
class Panel:
    """All figures of one measure at one place. Its bars have a scale of their own."""

    x: int
    y: int
    title: str
    bars: list[Bar]


def _bars(row: Row, measure: Measure, contenders: Sequence[str]) -> Iterator[Bar]:
    values = {contender: row.value(contender, measure) for contender in contenders}
    highest = max((value for value in values.values() if value is not None), default=0.0) or 1.0
    for index, (contender, value) in enumerate(values.items()):
        if value is None:
            yield Bar(contender, index * _BAR, 0.0, "failed" if contender in row.failed else "-")
        else:
            width = value / highest * (_COLUMN - _GAP - _LABEL)
            yield Bar(contender, index * _BAR, round(width, 1), f"{value:.{measure.digits}f}")


def draw(case: str, found: Sequence[Row]) -> str:
    """The chart of one case: a line of panels for each number of hosts and round-trip time."""
    measures = [measure for measure in MEASURES if measure.key in _SHOWN]
    contenders = [name for name in ORDER if any(name in row.medians or name in row.failed for row in found)]
    height = len(contenders) * _BAR + 34
    panels = []
    for line, row in enumerate(found):
        for column, measure in enumerate(measures):
            title = measure.title if column else f"{row.place}: {measure.title}"
            bars = list(_bars(row, measure, contenders))
            panels.append(Panel(12 + column * _COLUMN, 64 + line * height, title, bars))
    return _environment.get_template("chart.svg.j2").render(
        title=CASES[case].capitalize(), panels=panels, contenders=contenders, titles=TITLES, bar=_BAR,
        width=24 + len(measures) * _COLUMN, height=64 + len(found) * height,
    )  # fmt: skip


def _publish_table(results: Results, page: Path) -> None:
    """Put the table between the marks of a page, when there is such a page."""
    text = page.read_text() if page.exists() else ""
    before, mark, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if mark and end:
        page.write_text(f"{before}{mark}\n{table(results)}\n{words(results)}{end}{after}")


def write(results: Results, directory: Path) -> list[Path]:
    """Write `bench-CASE.svg` for each case that was measured, and the table into benchmarks.md where there is one."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for case in CASES:
        found = [row for row in rows(results.runs) if row.case == case]
        if found:
            path = directory / f"bench-{case}.svg"
            path.write_text(draw(case, found))
            written.append(path)
    _publish_table(results, directory / "benchmarks.md")
    return written
