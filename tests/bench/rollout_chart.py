"""The chart of `tests.bench.rollout_shared`: bars as text of SVG, readable on light and on dark ground."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_LABEL, _WIDTH, _BAR, _ROW = 170, 460, 14, 44
_STYLE = """<style>
text { font: 11px system-ui, sans-serif; fill: #24292f; } .title { font-size: 15px; font-weight: 600; }
.wall { fill: #6e7781; } .cpu { fill: #1a7f37; } .database { fill: #0969da; }
@media (prefers-color-scheme: dark) {
  text { fill: #d0d7de; } .wall { fill: #8b949e; } .cpu { fill: #3fb950; } .database { fill: #58a6ff; } }
</style>"""


@dataclass(frozen=True)
class Bars:
    """Seconds: of the clock, of CPU of who decides, of CPU of the database."""

    name: str
    seconds: float
    cpu: float
    database: float


def draw(title: str, found: Sequence[Bars]) -> str:
    """The chart."""
    height = 64 + len(found) * _ROW
    width = _LABEL + _WIDTH + 60
    box = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{escape(title)}">',
            _STYLE, f'<text class="title" x="12" y="22">{escape(title)}</text>', *_legend(), *_rows(found), "</svg>\n",
        ]
    )  # fmt: skip


def _legend() -> Iterator[str]:
    for number, (kind, words) in enumerate(
        (("wall", "seconds"), ("cpu", "CPU seconds of the controller or workers"), ("database", "of PostgreSQL"))
    ):
        x = 12 + number * 90 + (170 if number > 1 else 0)
        yield f'<rect class="{kind}" x="{x}" y="33" width="10" height="10"/><text x="{x + 14}" y="42">{words}</text>'


def _rows(found: Sequence[Bars]) -> Iterator[str]:
    scale = _WIDTH / (max(max(each.seconds, each.cpu + each.database) for each in found) or 1)
    for number, each in enumerate(found):
        y = 60 + number * _ROW
        yield f'<text x="12" y="{y + 20}">{escape(each.name)}</text>'
        yield _bar("wall", _LABEL, y, each.seconds * scale)
        yield f'<text x="{_LABEL + each.seconds * scale + 4:.1f}" y="{y + 11}">{each.seconds:.1f}</text>'
        x, end = _LABEL + each.cpu * scale, _LABEL + (each.cpu + each.database) * scale
        yield _bar("cpu", _LABEL, y + _BAR + 1, each.cpu * scale)
        yield _bar("database", x, y + _BAR + 1, each.database * scale)
        words = f"{each.cpu:.1f}" + (f" + {each.database:.1f}" if each.database else "")
        yield f'<text x="{end + 4:.1f}" y="{y + _BAR + 12}">{words}</text>'


def _bar(kind: str, x: float, y: float, width: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}"/>'
