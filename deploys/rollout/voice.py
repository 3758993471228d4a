"""What commands of rollouts say as they go on: sentences for people, or for programs a JSON object on each line.

An object has `schema`, `at` (UTC), `event`, and what docs/rollout.md says of the event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from deploys.rollout.results import plain

SCHEMA = 1


@dataclass(frozen=True)
class Voice:
    """How somebody is told. `stamp`: sentences have their time before them, so written (strftime)."""

    as_json: bool = False
    stamp: str = ""

    def say(self, event: str, words: str, *, aside: bool = False, **fields: Any) -> None:  # noqa: ANN401 - what JSON takes
        """Say a sentence. `aside`: people find it on standard error."""
        if self.as_json:
            self._object(event, {"words": words, **fields})
            return
        words = plain(words)
        click.echo(f"{datetime.now(UTC):{self.stamp}}  {words}" if self.stamp else words, err=aside)

    def show(self, event: str, lines: Iterable[str], **fields: Any) -> None:  # noqa: ANN401 - what JSON takes
        """Show people lines, and programs what the lines are made from."""
        if self.as_json:
            self._object(event, fields)
            return
        for line in lines:
            click.echo(plain(line))

    def note(self, words: str) -> None:
        """Say what is no event of a rollout."""
        self.say("note", words)

    def aside(self, words: str) -> None:
        """The same where people look for trouble."""
        self.say("note", words, aside=True)

    def _object(self, event: str, fields: dict[str, Any]) -> None:
        click.echo(json.dumps({"schema": SCHEMA, "at": datetime.now(UTC).isoformat(), "event": event, **fields}))


json_lines = click.option("--json", "as_json", is_flag=True, help="The same for programs: a JSON object on each line.")
