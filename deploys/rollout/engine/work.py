"""What a worker does: it decides what is next in rollouts, and carries units out. Rows decide; it is told of them.

Whatever it is told twice, late or never changes nothing: a unit is run by who has taken it (store/leases.py), on one
machine once, and what came of it is written down once. A worker that is killed leaves its runs to themselves; another
one of its machine waits for them.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial

from deploys.refusal import Refusal
from deploys.rollout.decide import Ask, Wait
from deploys.rollout.engine.threads import in_thread
from deploys.rollout.local import LOOK_SECONDS, Asker
from deploys.rollout.model import Verdict
from deploys.rollout.place import Place, git
from deploys.rollout.settings import Calendar
from deploys.rollout.store.database import Unanswered
from deploys.rollout.store.leases import GONE_SECONDS, claim, heard_of, held, take_over, tell_again
from deploys.rollout.store.plans import known_of
from deploys.rollout.store.rows import HostResult, Rollout, Unit
from deploys.rollout.store.store import Store


class Work:
    """The work of one worker.

    Args:
        store: the rows, which others share.
        place: of the clone and the state directory of this machine, which its workers share.
        ask: asks a gate.
        tell: is given sentences for people.
        gone: seconds without a word from a machine after which its units are taken from it.
    """

    def __init__(
        self, store: Store, place: Place, ask: Asker, tell: Callable[[str], None], gone: float = GONE_SECONDS
    ) -> None:
        self._store = store
        self._place = place
        self._ask = ask
        self._tell = tell
        self._gone = gone
        self._machine = place.machine
        self._told: set[str] = set()
        self._since: float | None = None

    def tick(self, ident: int) -> None:
        """Do what is next in a rollout, until all that comes is a wait."""
        rollout = self._known(ident)
        opens = Calendar.model_validate_json(rollout.calendar).opens if rollout else None
        while rollout and opens:
            step = self._store.step(ident, opens)
            asks = [action for action in step.actions if isinstance(action, Ask)]
            if asks and not self._asked(rollout, asks, step.since):
                return
            if not step.actions or any(isinstance(action, Wait) for action in step.actions):
                return

    def _asked(self, rollout: Rollout, asks: list[Ask], since: Mapping[int, datetime]) -> bool:
        """Ask gates, unless somebody does already."""
        with self._store.database.asking(rollout.id) as mine:
            if mine:
                for ask in asks:
                    answer, words = self._ask(rollout, ask.wave, ask.gate)
                    self._store.answered(rollout.id, ask.wave, ask.gate, answer, words, since[ask.wave])
            return mine

    def run(self, ident: int, number: int, attempt: int) -> None:
        """Carry a unit out, if it is this machine's or nobody's."""
        rollout = self._known(ident)
        if rollout is None:
            return
        opens = Calendar.model_validate_json(rollout.calendar).opens
        # Before it is this machine's: who looks what the machine has left must not come between.
        with self._only_waiter(ident, number) as mine:
            unit = claim(self._store, (ident, number, attempt), self._machine, opens) if mine else None
            if unit is not None:
                self._end(rollout, unit)

    def _go_on(self, unit: Unit) -> None:
        """Wait for what a worker of this machine has begun, unless somebody does: most of the time."""
        try:
            with self._only_waiter(unit.rollout, unit.id) as mine:
                rollout = self._known(unit.rollout) if mine else None
                if rollout is None:
                    return
                if self._place.has_begun(unit):
                    self._end(rollout, unit)
                else:
                    # Its worker was killed before that: somebody may have said abort meanwhile.
                    self._store.put_back(unit)
        except OSError as error:
            self.once(f"run {unit.key} is not waited for ({error}); that is tried again until it can be")

    def _known(self, ident: int) -> Rollout | None:
        """A rollout, unless it is for a worker of another version."""
        try:
            return self._store.rollout(ident)
        except Unanswered:
            raise
        except Refusal as refusal:
            self.once(f"rollout {ident} is left to others: {refusal}")
            return None

    def _end(self, rollout: Rollout, unit: Unit) -> None:
        results = self._results(rollout, unit)
        # The run is over, and that is known here alone: it is written down as soon as there is a database again.
        while True:
            try:
                self._store.finish(unit, results)
                break
            except Unanswered:
                time.sleep(LOOK_SECONDS)

    def _results(self, rollout: Rollout, unit: Unit) -> dict[str, HostResult]:
        known = known_of(self._store.rows, unit)
        try:
            try:
                return self._place.run(rollout, unit, *known)
            except Refusal:
                # The commit may be younger than the clone.
                git(self._place.repository, "fetch", "--quiet", "--all")
                return self._place.run(rollout, unit, *known)
        except (Refusal, OSError) as error:
            if isinstance(error, OSError) and self._place.has_begun(unit):
                # What came of it is known once it can be read.
                raise
            words = f"{self._machine} cannot begin the run: {error}"
            self.once(words)
            return dict.fromkeys(unit.hosts, HostResult(Verdict.BUSY, words=words))

    @contextlib.contextmanager
    def _only_waiter(self, ident: int, number: int) -> Iterator[bool]:
        """Whether no other thread or worker of this machine has to do with the unit already."""
        runs = self._place.state / "runs"
        runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (runs / f"{ident}.{number}.waiter").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def look(self) -> None:
        """Say that this machine is well, and wait for what a worker has begun that was killed."""
        try:
            self._store.database.prepare()
            heard_of(self._store, self._machine)
            units = held(self._store, self._machine)
        except Unanswered:
            self._since = None
            raise
        self._since = self._since or time.monotonic()
        for unit in units:
            in_thread(partial(self._go_on, unit), f"unit {unit.key}")

    def sweep(self) -> None:
        """What was told to somebody who was killed is told again; units of machines that are gone are taken."""
        tell_again(self._store)
        # After an outage of the database everybody has the time to be heard of first.
        if self._since is not None and time.monotonic() - self._since > self._gone:
            for sentence in take_over(self._store, self._gone):
                self.once(sentence)

    def once(self, sentence: str) -> None:
        """Tell a sentence, unless that was done before."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._tell(sentence)
