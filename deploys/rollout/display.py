"""How a rollout goes on, for a person who looks on: a table that keeps itself current, or plain lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploys.rollout.decide import Wait
from deploys.rollout.model import Verdict, WaveState
from deploys.rollout.store.reports import Progress, WaveLine
from deploys.rollout.voice import Voice

_BAR = 24
_STYLES = {
    WaveState.PASSED: "green", WaveState.FAILED: "bold red", WaveState.BACK: "bold red", WaveState.ENDED: "red",
    WaveState.WAITING: "dim",
}  # fmt: skip
_MOST_HOSTS = 10

Tell = Callable[[Wait], None]


@contextmanager
def showing(read: Callable[[], Progress], voice: Voice) -> Iterator[Tell]:
    """Show a rollout for as long as it is carried out; what is given is told of each wait.

    On a terminal it is a table, drawn anew each time; elsewhere a line with its time whenever something has changed.
    """
    if voice.as_json or not sys.stdout.isatty():
        yield _lines(read, replace(voice, stamp="%H:%M:%S"))
        return
    with Live(console=Console(), auto_refresh=False, transient=True) as live:
        yield lambda wait: live.update(table(read(), wait), refresh=True)


def _lines(read: Callable[[], Progress], voice: Voice) -> Tell:
    last = ""

    def tell(wait: Wait) -> None:
        nonlocal last
        found = read()
        line = f"{found.line}; waits for {_words(wait)}"
        if line != last:
            last = line
            until = wait.until.isoformat() if wait.until is not None else None
            voice.say("waits", line, progress=found.to_json(), waits_for=wait.words, until=until)

    return tell


def _words(wait: Wait) -> str:
    return f"{wait.words} until {wait.until:%Y-%m-%d %H:%M:%S} UTC" if wait.until is not None else wait.words


def table(found: Progress, wait: Wait) -> RenderableType:
    """A rollout at this moment. Names and words are text to rich, and no markup: they come from outside."""
    rows = Table.grid(padding=(0, 2))
    for wave in found.waves:
        done = sum(wave.counts.values())
        rows.add_row(
            Text(f"wave {wave.number + 1}"), Text(wave.name), Text(wave.state, style=_STYLES.get(wave.state, "bold")),
            ProgressBar(total=wave.hosts, completed=done, width=_BAR), Text(f"{done}/{wave.hosts}"), _verdicts(wave),
        )  # fmt: skip
    of = found.rollout
    head = Text(f"rollout {of.id} of {of.revision[:12]}, {of.state}: {of.why}", style="bold")
    unwell = [Text(line, style="red") for each in found.unwell[:_MOST_HOSTS] for line in each.lines()[:2]]
    more = len(found.unwell) - _MOST_HOSTS
    return Group(
        head, rows, *unwell, *([Text(f"... and {more} more hosts")] if more > 0 else []),
        Text(f"waits for {_words(wait)}", style="italic"),
        Text(f"from another terminal: photon-fleet pause {of.id}, abort {of.id}", style="dim"),
    )  # fmt: skip


def _verdicts(wave: WaveLine) -> Text:
    """Hosts by verdict, in words as well as in colours."""
    text = Text()
    for counts, what in ((wave.counts, ""), (wave.back, " (back)")):
        for verdict, count in counts.items():
            text.append(f"{count} {verdict}{what}  ", style="green" if verdict is Verdict.OK else "red")
    return text
