"""The way back of an update of packages: by the host itself when nobody can log in, by the run when its proof fails."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import FunctionCommand
from pyinfra.context import ctx_host

from deploys._run import VERDICTS
from deploys.policies.base import Policy, Undo
from deploys.policies.render import render
from deploys.verify import Verdict, prove, report
from facts.update import POINT
from operations._contain import Commands, fail, operation
from operations._point import call, hold_command, script

SECONDS = 900
"""How long a transaction and the new login may take before the host goes back by itself."""

BEFORE: dict[str, list[Verdict]] = {}
"""Host name -> what its proof found before the update."""


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
    if _executing():
        BEFORE[host.name] = prove(ctx_host.get(), policies)
    yield from ()


@operation()
def proved_or_undone(policies: list[Policy]) -> Commands:
    """
    Prove the policies after an update; when a check fails that passed before, go back, and hold the versions back.

    + policies: whose checks are read

    Checks that failed before are told, and are no reason to go back.
    """
    if not _executing():
        return
    verdicts = VERDICTS[host.name] = prove(ctx_host.get(), policies)
    broken = sorted(failed(verdicts) - failed(BEFORE.get(host.name, [])))
    if not broken:
        if text := report(verdicts):
            yield FunctionCommand(fail, (f"{text}\nAll of this failed before the update as well.",), {})
        else:
            host.noop(f"{len(verdicts)} checks passed")
        return
    text = report([verdict for verdict in verdicts if verdict.check in broken])
    yield hold_command()
    yield call("back")
    yield FunctionCommand(_told, (policies, text, broken), {})


def _told(state: object, host: object, policies: list[Policy], text: str, broken: list[str]) -> bool:  # noqa: ARG001
    target = ctx_host.get()
    verdicts = VERDICTS[target.name] = prove(target, policies)
    still = sorted(failed(verdicts) & set(broken))
    word = f"ROLLED BACK, and still failing: {', '.join(still)}" if still else "ROLLED BACK"
    sentence = f"{word}: the update broke {', '.join(broken)}. Its versions are held back on this host."
    return fail(target.state, target, f"{text}\n{sentence}")


def _executing() -> bool:
    return bool(host.state.is_executing)
