"""What people and programs are told of a rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deploys.rollout.model import Verdict, WaveHosts, WaveState
from deploys.rollout.store.rows import Rollout
from deploys.rollout.store.store import Store

SCHEMA = 1
_MOST_HOSTS = 50


@dataclass(frozen=True)
class WaveLine:
    """A wave: hosts by verdict, and how many are still to come."""

    number: int
    name: str
    state: WaveState
    words: str
    hosts: int
    counts: Mapping[Verdict, int]
    back: Mapping[Verdict, int]

    def __str__(self) -> str:
        found = [f"{count} {verdict}" for verdict, count in self.counts.items()]
        left = self.hosts - sum(self.counts.values())
        went = [f"{count} went back" if verdict is Verdict.OK else f"{count} did NOT go back ({verdict})"
                for verdict, count in self.back.items()]  # fmt: skip
        parts = ", ".join([*found, *([f"{left} to come"] if left else []), *went])
        return (
            f"wave {self.number + 1:3}  {self.name:12} {self.state:11} {parts}{f'; {self.words}' if self.words else ''}"
        )


@dataclass(frozen=True)
class Unwell:
    """A host that did not become what it should, or did not go back."""

    host: str
    verdict: str
    back: str | None
    words: str
    back_words: str

    def lines(self) -> list[str]:
        """For people."""
        went = (
            ""
            if self.back is None
            else "; it went back"
            if self.back == Verdict.OK
            else f"; NOT gone back: {self.back}"
        )
        more = self.back_words.splitlines() if self.back not in {None, Verdict.OK} else []
        return [f"{self.host}: {self.verdict}{went}", *(f"    {line}" for line in [*self.words.splitlines(), *more])]


@dataclass(frozen=True)
class Progress:
    """A rollout as it stands."""

    rollout: Rollout
    waves: Sequence[WaveLine]
    unwell: Sequence[Unwell]
    answers: Sequence[tuple[int, str, str, str]]

    @property
    def line(self) -> str:
        """In one line."""
        done = sum(sum(wave.counts.values()) for wave in self.waves)
        current = next((wave for wave in self.waves if wave.state is not WaveState.PASSED), None)
        where = f"wave {current.number + 1} of {len(self.waves)} {current.state}" if current else "all waves passed"
        return f"rollout {self.rollout.id} {self.rollout.state}: {where}, {done} of {self.hosts} hosts done"

    @property
    def hosts(self) -> int:
        """How many there are."""
        return sum(wave.hosts for wave in self.waves)

    def lines(self) -> list[str]:
        """For people."""
        of = self.rollout
        lines = [f"rollout {of.id} of {of.revision[:12]} by {of.who}: {of.why}",
                 f"{of.state}{f': {of.words}' if of.words else ''}", *map(str, self.waves)]  # fmt: skip
        lines += [f"gate {gate} of wave {wave + 1}: {answer} ({words})" for wave, gate, answer, words in self.answers]
        for each in self.unwell[:_MOST_HOSTS]:
            lines += each.lines()
        if len(self.unwell) > _MOST_HOSTS:
            lines.append(f"... and {len(self.unwell) - _MOST_HOSTS} more")
        return lines

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        of = self.rollout
        return {
            "schema": SCHEMA, "id": of.id, "label": of.label, "state": of.state, "words": of.words,
            "inventory": of.inventory, "revision": of.revision, "base": of.base, "who": of.who, "why": of.why,
            "created": of.created.isoformat(),
            "waves": [
                {"number": wave.number + 1, "name": wave.name, "state": wave.state, "words": wave.words,
                 "hosts": wave.hosts, "verdicts": dict(wave.counts), "back": dict(wave.back)} for wave in self.waves
            ],
            "gates": [
                {"wave": wave + 1, "gate": gate, "answer": answer, "words": words}
                for wave, gate, answer, words in self.answers
            ],
            "unwell": [asdict(each) for each in self.unwell],
        }  # fmt: skip


def wave_of(store: Store, ident: int, wave: int) -> WaveHosts:
    """What the gates of a wave are asked about."""
    proved = store.rows(
        "SELECT name FROM host WHERE rollout = ? AND wave = ? AND verdict = ? ORDER BY name", ident, wave, Verdict.OK
    )
    left = store.rows("SELECT name FROM host WHERE rollout = ? AND wave > ? ORDER BY name", ident, wave)
    return WaveHosts(wave, tuple(row["name"] for row in proved), tuple(row["name"] for row in left))


def progress(store: Store, ident: int) -> Progress:
    """A rollout as it stands.

    Raises:
        Refusal: there is none of that number.
    """
    found = store.known(ident)
    counts: dict[tuple[str, int], dict[Verdict, int]] = {}
    for column in ("verdict", "back"):
        query = f"SELECT wave, {column} AS found, count(*) AS hosts FROM host WHERE rollout = ? GROUP BY wave, {column}"  # noqa: S608 - ours
        for row in store.rows(query, ident):
            if row["found"] is not None:
                counts.setdefault((column, row["wave"]), {})[Verdict(row["found"])] = row["hosts"]
    waves = [
        WaveLine(row["number"], row["name"], WaveState(row["state"]), row["words"], row["hosts"],
                 counts.get(("verdict", row["number"]), {}), counts.get(("back", row["number"]), {}))
        for row in store.rows("SELECT * FROM wave WHERE rollout = ? ORDER BY number", ident)
    ]  # fmt: skip
    unwell = store.rows(
        "SELECT name, verdict, back, words, back_words FROM host"
        " WHERE rollout = ? AND (verdict <> ? OR back <> ?) ORDER BY wave, name", ident, Verdict.OK, Verdict.OK,
    )  # fmt: skip
    answers = store.rows("SELECT wave, gate, answer, words FROM answer WHERE rollout = ? ORDER BY wave, gate", ident)
    return Progress(found, waves, [Unwell(*row) for row in unwell], [tuple(row) for row in answers])


def audit(store: Store, ident: int) -> list[tuple[str, str, str, str]]:
    """When, who, what, about what."""
    rows = store.rows("SELECT at, who, event, about FROM audit WHERE rollout = ? ORDER BY id", ident)
    return [tuple(row) for row in rows]
