"""The engine of one controller: a process that does what `decide` says, with a thread for each unit.

Whatever it was in the middle of when it was killed is in the rows; another one goes on from there.
"""

from __future__ import annotations

import fcntl
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from deploys.refusal import Refusal
from deploys.rollout.decide import Ask, Wait
from deploys.rollout.model import Answer, State, Verdict
from deploys.rollout.place import Place
from deploys.rollout.store.plans import known_of
from deploys.rollout.store.rows import HostResult, Rollout, Unit
from deploys.rollout.store.store import Opens, Step, Store

LOOK_SECONDS = 2.0
"""How soon a command of a person in another terminal is noticed."""


Asker = Callable[[Rollout, int, str], tuple[Answer, str]]
"""Asks a gate of a wave: what it says, and why."""


@contextmanager
def only_controller(place: Place) -> Iterator[None]:
    """Hold the state directory: one controller at a time.

    Raises:
        Refusal: there is one already.
    """
    place.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (place.state / "controller.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another controller works on {place.state}: `status` shows what it does"
            raise Refusal(message) from None
        yield


class Local:
    """Plays a rollout to its end, or until a person is waited for.

    Args:
        opens: when the windows let a rollout go on, from now.
        tell: is called with each wait, for who looks on.
    """

    def __init__(
        self, store: Store, place: Place, ask: Asker, *,
        opens: Opens = lambda now: now, tell: Callable[[Wait], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._store = store
        self._place = place
        self._ask = ask
        self._opens = opens
        self._tell = tell
        self._done: queue.Queue[tuple[Unit, dict[str, HostResult]] | BaseException] = queue.Queue()
        self._under_way: set[int] = set()

    def play(self, ident: int, *, stay: bool = False) -> State:
        """Go on with a rollout until it has ended, or (unless told to stay) waits for a person; returns its state."""
        rollout = self._store.rollout(ident)
        for unit in self._store.running(ident):
            if self._place.has_begun(unit):
                self._carry_out(rollout, unit)
            else:
                # Whether it is still to begin is decided once more: somebody may have said abort.
                self._store.put_back(unit)
        while True:
            step = self._store.step(ident, self._opens)
            if not step.actions:
                return step.state
            waits = [action for action in step.actions if isinstance(action, Wait)]
            if not waits:
                self._do(rollout, step)
                continue
            self._tell(waits[0])
            if not stay and not self._under_way and waits[0].until is None:
                return step.state
            self._until(waits[0].until, step.now)

    def _do(self, rollout: Rollout, step: Step) -> None:
        for unit in step.started:
            self._carry_out(rollout, unit)
        for action in step.actions:
            if isinstance(action, Ask):
                answer, words = self._ask(rollout, action.wave, action.gate)
                self._store.answered(rollout.id, action.wave, action.gate, answer, words, step.since[action.wave])

    def _carry_out(self, rollout: Rollout, unit: Unit) -> None:
        self._under_way.add(unit.id)

        def work() -> None:
            try:
                self._done.put((unit, self._place.run(rollout, unit, *known_of(self._store.rows, unit))))
            except Refusal as refusal:
                lost = HostResult(Verdict.FAILED, words=f"its run could not be begun: {refusal}")
                self._done.put((unit, dict.fromkeys(unit.hosts, lost)))
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                self._done.put(error)

        threading.Thread(target=work, name=f"unit {unit.key}", daemon=True).start()

    def _until(self, moment: datetime | None, now: datetime) -> None:
        """Until a unit ends, a moment comes, or it is time to look what people have said."""
        seconds = LOOK_SECONDS
        if moment is not None:
            seconds = max(0.0, min(seconds, (moment - now).total_seconds()))
        try:
            ended = self._done.get(timeout=seconds)
        except queue.Empty:
            return
        if isinstance(ended, BaseException):
            raise ended
        unit, results = ended
        self._store.finish(unit, results)
        self._under_way.discard(unit.id)
