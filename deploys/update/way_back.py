"""The way back of an update of packages: by the host itself when nobody can log in, by the run when its proof fails.

That of images is in image.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.context import ctx_host

from deploys._run import VERDICTS
from deploys.policies.base import Policy, Undo
from deploys.policies.render import render
from deploys.verify import Verdict, prove, report
from facts.update import POINT, Booted, UpdatePoint
from operations._contain import Commands, fail, operation, read
from operations._point import call, script
from operations._reboot import REBOOT, come_back

SECONDS = 900
"""How long a transaction and the new login may take before the host goes back by itself."""

WATCHED_SECONDS = 600
"""How long after the boot of an update the host waits for its proof before it goes back by itself."""


@dataclass(frozen=True)
class Before:
    """A host before its update: what its proof found, and which boot it was."""

    verdicts: list[Verdict]
    boot: str


BEFORE: dict[str, Before] = {}
"""By the host's name."""


def undo() -> Undo:
    """For the guard: the packages of the point that the update has noted, from files that lie on the host."""
    return Undo(paths=(), running=render("update/undo.sh", point=POINT, script=script()))


def failed(verdicts: list[Verdict]) -> set[str]:
    """The ids of the checks that do not pass."""
    return {verdict.check for verdict in verdicts if not verdict.passed}


@operation()
def proved_before(policies: list[Policy]) -> Commands:
    """
    Look which checks pass before anything is changed; reads only.

    + policies: whose checks are read
    """
    host.noop("it only reads")
    if executing():
        BEFORE[host.name] = Before(prove(ctx_host.get(), policies), read(Booted)["id"])
    yield from ()


@operation()
def proved_or_undone(policies: list[Policy], seconds: int) -> Commands:
    """
    Prove the policies after an update; when a check fails that passed before, go back, and hold the versions back.

    + policies: whose checks are read
    + seconds: how long a reboot may take: where the update was followed by one, the way back is, too

    Checks that failed before are told, and are no reason to go back.
    """
    if not executing():
        return
    before = BEFORE[host.name]
    verdicts = VERDICTS[host.name] = prove(ctx_host.get(), policies)
    point = read(UpdatePoint)
    updated = point is not None and point["unproved"]
    broken = sorted(failed(verdicts) - failed(before.verdicts)) if updated else []
    if broken:
        yield from _back(policies, [verdict for verdict in verdicts if verdict.check in broken], before, seconds)
        return
    if updated:
        yield call("confirm")
    if text := report(verdicts):
        more = "\nAll of this failed before the update as well." if updated else ""
        yield FunctionCommand(fail, (text + more,), {})
    elif not updated:
        host.noop(f"{len(verdicts)} checks passed")


def _back(policies: list[Policy], broken: list[Verdict], before: Before, seconds: int) -> Commands:
    boot = read(Booted)["id"]
    yield call("hold")
    yield call("back")
    yield call("confirm")
    if boot != before.boot:
        # What runs came with the update.
        yield StringCommand(REBOOT)
        yield FunctionCommand(come_back, (boot, seconds), {})
    yield FunctionCommand(_told, (policies, report(broken), [verdict.check for verdict in broken]), {})


def _told(state: object, host: object, policies: list[Policy], text: str, broken: list[str]) -> bool:  # noqa: ARG001
    target = ctx_host.get()
    verdicts = VERDICTS[target.name] = prove(target, policies)
    still = sorted(failed(verdicts) & set(broken))
    word = f"ROLLED BACK, and still failing: {', '.join(still)}" if still else "ROLLED BACK"
    sentence = f"{word}: the update broke {', '.join(broken)}. Its versions are held back on this host."
    return fail(target.state, target, f"{text}\n{sentence}")


def executing() -> bool:
    """Whether the run carries out, and does not only look for changes."""
    return bool(host.state.is_executing)
