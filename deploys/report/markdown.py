"""A report as Markdown that suits a comment on a merge request: a summary, and details that are folded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from deploys.report.html import moment, span
from deploys.report.model import Hosts, Report, Some, Trouble
from deploys.rollout.model import PolicyVerdict

_SYMBOLS = {
    PolicyVerdict.PROVED: "✓", PolicyVerdict.CHANGED: "●", PolicyVerdict.FAILED: "✗", PolicyVerdict.UNPROVED: "?"
}  # fmt: skip
_MOST_ROWS = 40
_MOST_NAMES = 5
_MOST_LETTERS = 300
_MARKUP = re.compile(r"([\\`*_\[\]|~#])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_TAKEN = re.compile(r"[@#!$%~](?=\w)|:(?=//)|www(?=\.)|^(?=/)")
"""What GitHub and GitLab take for a person, a thread, a link or a command, also where it is no Markdown."""


def plain(text: str) -> str:
    """Words from outside, with nothing in them that would be markup, a link or the name of a person to be told."""
    line = " ".join(text.split())
    line = line if len(line) <= _MOST_LETTERS else f"{line[:_MOST_LETTERS]}..."
    line = _MARKUP.sub(r"\\\1", _TAKEN.sub(lambda found: f"{found[0]}\N{ZERO WIDTH SPACE}", line))
    for found, instead in _ENTITIES.items():
        line = line.replace(found, instead)
    return line


def markdown(report: Report) -> Iterator[str]:
    """The lines of a report."""
    yield from _head(report)
    hosts = report.hosts
    yield f"**{hosts.total:,} hosts**: {', '.join(f'{count:,} {words}' for words, count in hosts.counts.items())}"
    if report.progress is not None:
        yield from _waves(report)
    yield from _troubles("Not well", hosts.unwell)
    yield from _troubles("What went back, and why", hosts.back)
    yield from _matrix(hosts)
    changes = ([plain(each.policy), plain(each.operation), _some(each.some)] for each in hosts.changes[:_MOST_ROWS])
    yield from _folded("What changed", ["policy", "operation", "hosts"], changes)
    advisories = ([plain(name), _some(some)] for name, some in list((hosts.advisories or {}).items())[:_MOST_ROWS])
    yield from _folded("Advisories still open", ["advisory", "open on"], advisories)
    yield from _folded(
        "Age of the last proof", ["last proved", "hosts"], ([k, f"{v:,}"] for k, v in hosts.ages.items())
    )


def _head(report: Report) -> Iterator[str]:
    if report.progress is None:
        yield f"## {report.title}, {moment(report.at)}\n"
        return
    of = report.progress.rollout
    length = span((report.ended or report.at) - of.created)
    yield f"## {report.title}: {of.state}{f' ({plain(of.words)})' if of.words else ''}\n"
    yield f"{plain(of.why)}\n"
    yield f"{plain(of.inventory)} at `{of.revision[:12]}`, by {plain(of.who)}, begun {moment(of.created)}, {length}\n"


def _waves(report: Report) -> Iterator[str]:
    assert report.progress is not None  # noqa: S101 - for the type checker
    end = report.ended or report.at
    rows = []
    for wave in report.progress.waves:
        phases = report.phases.get(wave.number, ())
        took = span((phases[-1].end or end) - phases[0].begin) if phases else ""
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in wave.counts.items())
        rows.append([f"{wave.number + 1}: {plain(wave.name)}", wave.state, f"{wave.hosts:,}", counts, took])
    yield from _table(["wave", "state", "hosts", "so far", "took"], rows)
    gates = [
        [plain(gate), str(wave + 1), answer, plain(words)] for wave, gate, answer, words in report.progress.answers
    ]
    if gates:
        yield from _table(["gate", "wave", "answer", "in its words"], gates)


def _matrix(hosts: Hosts) -> Iterator[str]:
    rows = []
    for row in hosts.rows[:_MOST_ROWS]:
        cells = (_SYMBOLS[row.policies[name]] if name in row.policies else "" for name in hosts.policies)
        rows.append([_some(row.some), row.words, *cells])
    title = "Hosts by policies (✓ proved, ● changed and proved, ✗ failed, ? not proved)"
    yield from _folded(title, ["hosts", "all in all", *map(plain, hosts.policies)], rows)
    if len(hosts.rows) > _MOST_ROWS:
        yield f"and {len(hosts.rows) - _MOST_ROWS} rows more\n"


def _troubles(title: str, found: Sequence[Trouble]) -> Iterator[str]:
    if found:
        yield f"\n### {title}\n"
        for each in found[:_MOST_ROWS]:
            yield f"- **{_some(each.some)}**: {each.words}. {plain(each.reason)}"
        if len(found) > _MOST_ROWS:
            yield f"- and {len(found) - _MOST_ROWS} more"


def _some(some: Some) -> str:
    names = ", ".join(map(plain, some.names[:_MOST_NAMES]))
    return names if some.hosts <= _MOST_NAMES else f"{some.hosts:,} hosts ({names}, ...)"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"\n| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _folded(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    found = list(rows)
    if found:
        yield f"\n<details><summary>{title}</summary>\n"
        yield from _table(head, found)
        yield "</details>"
