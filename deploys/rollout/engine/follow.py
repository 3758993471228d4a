"""Looking on: a rollout that workers carry out, from the terminal where it was begun."""

from __future__ import annotations

import time
from collections.abc import Callable

from deploys.rollout.decide import Wait, decide
from deploys.rollout.local import LOOK_SECONDS
from deploys.rollout.model import State
from deploys.rollout.store.leases import GONE_SECONDS, machines
from deploys.rollout.store.store import Opens, Store

ALONE = "a worker: none was heard of for a minute (`photon-fleet worker` starts one)"


def follow(store: Store, ident: int, opens: Opens, tell: Callable[[Wait], None], *, stay: bool) -> State:
    """Until a rollout has ended, or (unless told to stay) waits for a person; returns its state."""
    while True:
        view, now = store.view(ident, opens)
        if view.state.ended:
            return view.state
        # What would come next is only shown: workers do it.
        waits = [action for action in decide(view, now) if isinstance(action, Wait)]
        if not machines(store, GONE_SECONDS):
            tell(Wait(None, ALONE))
        elif waits:
            tell(waits[0])
            if not stay and not view.running and waits[0].until is None:
                return view.state
        time.sleep(LOOK_SECONDS)
