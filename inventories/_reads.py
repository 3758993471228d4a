"""What one host has answered since it was last changed, and what to read together. Pure but for the clock.

A read is answered from memory, or it is run together with the reads that followed it the last time (the profile).
An answer holds until something may have changed the host: then everything is forgotten, and the next reads run in
groups of 1, 2, 4, ..., as on a host that is being changed most answers would be thrown away.

What is never guessed: only the exact command that was run is answered, so that a wrong profile costs time and nothing
else. Whoever asks the same thing twice (an operation that waits for something) gets a fresh answer the second time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from inventories._batch import Answer, BatchError, fitting

MEMORY_SECONDS = 120.0
"""How long an answer holds when nothing has changed the host through this connection."""
KEEP_BYTES = 1 << 20
"""A longer answer is not kept, and its command is read alone from then on."""
MAX_LEARNED = 4000
"""Reads of one phase that are remembered for the next run."""

# Exit statuses of a command that could not be started: the login shell words that in its own way.
_NOT_STARTED = {126, 127}

Run = Callable[[Sequence[str]], Sequence[Answer]]
"""Runs commands as one batch. Fewer answers than commands mean that the first one without an answer holds it up."""


class Reads:
    """The reads of one host over one connection.

    Args:
        run: runs a batch.
        known: phase -> the commands that were read in it the last time, in order.
        clock: seconds.
    """

    def __init__(
        self, run: Run, known: Mapping[str, Sequence[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run
        self._known = known
        self._clock = clock
        self._phase = ""
        self._memory: dict[str, Answer] = {}
        self._since = 0.0
        self._served: set[tuple[object, str]] = set()
        self._alone: set[str] = set()
        self._window: int | None = None
        self._epoch = 0
        self._at = 0
        self.asked: dict[str, list[str]] = {}
        self.off: str | None = None
        """Why this host's reads are not batched."""

    def forget(self, *, everything_next: bool = False) -> None:
        """The host may have changed. With `everything_next` the next read brings the whole profile."""
        self._epoch += 1
        self._memory.clear()
        self._served.clear()
        self._window = None if everything_next else 1

    def enter(self, phase: str, *, whole: bool = True) -> None:
        """From here on reads belong to `phase`; what was read before is not taken for what is true now."""
        self._phase, self._at = phase, 0
        self.forget(everything_next=whole)

    @property
    def phase(self) -> str:
        return self._phase

    def answer(self, command: str, asker: object) -> Answer | None:
        """The answer to a read, or None when it has to be run alone.

        Args:
            command: the exact command line.
            asker: who asks (an operation); asking again gets a fresh answer.
        """
        self._learn(command)
        self._at = _position(self._known.get(self._phase, ()), command, self._at)
        if self.off is not None or command in self._alone:
            return None
        if self._memory and self._clock() - self._since > MEMORY_SECONDS:
            self.forget(everything_next=True)
        if (asker, command) in self._served:
            # It waits for something: what else was read before is as old.
            self.forget()
        self._served.add((asker, command))
        if command in self._memory:
            return self._memory[command]
        return self._read(self._with_followers(command)).get(command)

    def ahead(self, commands: Iterable[str]) -> None:
        """Read what is going to be asked, in one batch with what was read in this phase the last time."""
        whole = self._known.get(self._phase, ()) if self._window is None else ()
        wanted = [command for command in dict.fromkeys([*commands, *whole]) if self._may_join(command)]
        if wanted and self.off is None:
            self._read(wanted)

    def _learn(self, command: str) -> None:
        asked = self.asked.setdefault(self._phase, [])
        if len(asked) < MAX_LEARNED:
            asked.append(command)

    def _may_join(self, command: str) -> bool:
        return command not in self._memory and command not in self._alone

    def _with_followers(self, command: str) -> list[str]:
        known = self._known.get(self._phase, ())
        followers = known if self._window is None else known[self._at : self._at + self._window - 1]
        return [command, *dict.fromkeys(other for other in followers if other != command and self._may_join(other))]

    def _read(self, commands: Sequence[str]) -> dict[str, Answer]:
        """Run batches; a command that holds one up ends it, and is left out from then on."""
        if not self._memory:
            self._since = self._clock()
        self._window = 2 if self._window is None else self._window * 2
        found: dict[str, Answer] = {}
        epoch = self._epoch
        while commands and self.off is None:
            part = fitting(commands)
            commands = commands[len(part) :]
            try:
                answers = self._run(part)
            except BatchError as error:
                self.off = str(error)
                break
            for command, answer in zip(part, answers, strict=False):
                self._keep(command, answer, found, lasting=epoch == self._epoch)
            if len(answers) < len(part):
                self._alone.add(part[len(answers)])
                break
        return found

    def _keep(self, command: str, answer: Answer, found: dict[str, Answer], *, lasting: bool) -> None:
        if answer.status in _NOT_STARTED:
            self._alone.add(command)
            return
        found[command] = answer
        if len(answer.out) + len(answer.err) > KEEP_BYTES:
            self._alone.add(command)
        elif lasting:
            self._memory[command] = answer

    def learned(self) -> dict[str, list[str]]:
        """Phase -> what was asked in it, in order, without what can only be read alone."""
        return {
            phase: [command for command in asked if command not in self._alone] for phase, asked in self.asked.items()
        }


def _position(known: Sequence[str], command: str, start: int) -> int:
    """Behind the next use of `command`, or `start` where none is known."""
    for begin in (start, 0):
        try:
            return known.index(command, begin) + 1
        except ValueError:
            continue
    return start
