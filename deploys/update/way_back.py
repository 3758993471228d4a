"""The way back of an update of packages: by the host itself when nobody can log in, by the run when its proof fails.

What counts is noted on the host, so that a run can end what a killed one has begun: an update that was never proved is
proved before anything else is installed. That of images is in image.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.context import ctx_host

from deploys._run import VERDICTS
from deploys.policies.base import Policy, Undo
from deploys.policies.render import render
from deploys.verify import Verdict, prove, report
from facts.update import POINT, Booted, UpdatePoint
from operations import reboot
from operations._contain import Commands, fail, followed, operation, read, within
from operations._point import call, script
from operations._reboot import REBOOT, come_back

if TYPE_CHECKING:
    from facts._point import Point

SECONDS = 900
"""How long a transaction and the new login may take before the host goes back by itself."""

WATCHED_SECONDS = 600
"""How long after the boot of an update the host waits for its proof before it goes back by itself."""

PROOF_SECONDS = 3600
"""How long after an update without a reboot: other hosts of the same run may take longer, and all are waited for."""

BEFORE: dict[str, list[Verdict]] = {}
"""What a host's proof found before its update, by its name."""

SETTLED: set[str] = set()
"""Names of the hosts whose update this run has proved already."""


def undo() -> Undo:
    """For the guard: the packages of the point that the update has noted, from files that lie on the host."""
    return Undo(paths=(), running=render("update/undo.sh", point=POINT, script=script()))


def failed(verdicts: list[Verdict]) -> set[str]:
    """The ids of the checks that do not pass."""
    return {verdict.check for verdict in verdicts if not verdict.passed}


@operation()
def proved_before(policies: list[Policy], seconds: int) -> Commands:
    """
    Look which checks pass before anything is changed. An update of before that was never proved is settled first.

    + policies: whose checks are read
    + seconds: how long a reboot may take, see `proved_or_undone`
    """
    host.noop("it only reads")
    if not executing():
        return
    verdicts = BEFORE[host.name] = prove(ctx_host.get(), policies)
    point = read(UpdatePoint)
    if point is not None and point["unproved"]:
        logger.info("%sthe update of %s was never proved: that comes first", host.print_prefix, point["at"])
        yield from _settled(policies, verdicts, point, seconds)


def failing_before() -> list[str]:
    """The ids of the checks of the current host that failed before its update."""
    return sorted(failed(BEFORE.get(host.name, [])))


@operation()
def proved_or_undone(policies: list[Policy], seconds: int) -> Commands:
    """
    Prove the policies after an update; when a check fails that passed before, go back, and hold the versions back.

    + policies: whose checks are read
    + seconds: how long a reboot may take: where the update was followed by one, the way back is, too

    Checks that failed before are told, and are no reason to go back.
    """
    if not executing() or host.name in SETTLED:
        return
    # Read before the proof: a host that goes back by itself meanwhile is not proved by it.
    point = read(UpdatePoint)
    updated = point is not None and point["unproved"]
    verdicts = VERDICTS[host.name] = prove(ctx_host.get(), policies)
    if point is not None and updated:
        yield from _settled(policies, verdicts, point, seconds)
    SETTLED.add(host.name)
    if text := report(verdicts):
        more = "\nAll of this failed before the update as well." if updated else ""
        yield FunctionCommand(fail, (text + more,), {})
    elif not updated:
        host.noop(f"{len(verdicts)} checks passed")


@operation(is_idempotent=False, idempotent_notice="A reboot is asked for and made.")
def rebooted_and_proved(policies: list[Policy], seconds: int, **more: Any) -> Commands:  # noqa: ANN401
    """
    Reboot, and prove at once what came with it: the host is not made to wait for others while its clock runs.

    + policies: whose checks are read; none for no proof
    + seconds: how long a reboot may take
    + more: arguments of `reboot.rebooted`
    """
    proof = within(proved_or_undone, policies=policies, seconds=seconds) if policies else ()
    yield from rebooted_then(proof, seconds=seconds, **more)


def rebooted_then(proof: Iterable[Any], **how: Any) -> Commands:  # noqa: ANN401
    """A reboot with the arguments of `reboot.rebooted`, and after one that was made the proof."""
    yield from followed(within(reboot.rebooted, **how), proof)


def _settled(policies: list[Policy], verdicts: list[Verdict], point: Point, seconds: int) -> Commands:
    broken = [each for each in verdicts if not each.passed and each.check not in point["failing"]]
    if broken and (point["gone"] or point["arrived"]):
        yield from _back(policies, broken, point, seconds)
    else:
        yield call("proved")


def _back(policies: list[Policy], broken: list[Verdict], point: Point, seconds: int) -> Commands:
    boot = read(Booted)["id"]
    yield call("hold")
    yield call("back")
    yield call("confirm")
    if boot != point["boot"]:
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
