"""The way back of a package host: to a point whose files lie on it, or to a transaction of tdnf's history.

Contract: as operations/tdnf.py. All steps are said before anything is done, and a second run changes nothing.
"""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.tdnf import TdnfPackages
from facts.update import HELD, HeldBack, TdnfHistory, TdnfRollbackPlan, UpdatePoint
from operations import _updates
from operations._contain import Commands, operation, read
from operations._point import announce, call, lines_of

__all__ = ["gone_back", "released", "repaired", "rolled_back"]


@operation()
def rolled_back(to: int) -> Commands:
    """
    Be where the host was after a transaction of tdnf: not a toggle, a second run changes nothing.

    + to: its number in `tdnf history`

    Each step is said before anything is done. Refused: a version that no repository has any more, a tdnf without a
    history, and a way back that would remove what the host needs to be reached or repaired.

    **Example:**

    .. code:: python

        way_back.rolled_back(name="Back to before the update", to=41)
    """
    known = read(TdnfHistory)
    _updates.require_transaction(to, known)
    plan = read(TdnfRollbackPlan, to=to)
    if plan["trouble"]:
        message = f"this host cannot go back to transaction {to}: {'; '.join(plan['trouble'])}"
        raise OperationError(message)
    wanted = _updates.targets_of_steps(plan["changes"])
    _updates.require_safe(wanted, f"going back to transaction {to}")
    if not plan["changes"]:
        host.noop(f"the host is where transaction {to} left it")
        return
    announce(f"going back to {to}: {step['what']} {step['name']} {step['evr']}" for step in plan["changes"])
    yield StringCommand(_updates.rollback_command(to, wanted))


@operation()
def gone_back() -> Commands:
    """
    Be where the host was before its last update with a way back: the same packages, from files that lie on the host.

    Needs neither a repository nor a working tdnf. May be repeated after whatever ended it; a second run changes
    nothing.

    **Example:**

    .. code:: python

        way_back.gone_back(name="Back to before the update")
    """
    point = read(UpdatePoint)
    if point is None:
        message = "there is no point on this host that it could go back to: its last update was made without one"
        raise OperationError(message)
    lines = lines_of(point)
    if not lines:
        host.noop(f"the packages are those of {point['at']}")
        return
    announce(lines)
    yield call("back")
    yield call("confirm")


@operation()
def released() -> Commands:
    """
    Forget which versions were gone back from: the next update may install them again.

    **Example:**

    .. code:: python

        way_back.released(name="Try that version again")
    """
    if not [*read(HeldBack)]:
        host.noop("no version is held back")
        return
    yield StringCommand(f"rm -f -- {HELD}")


@operation()
def repaired() -> Commands:
    """
    Finish what an interrupted transaction has begun: of two versions of a package the one that came last stays, whole.

    The files of that version are laid down anew from its repository, so it needs one that has it.

    **Example:**

    .. code:: python

        way_back.repaired(name="Finish the interrupted update")
    """
    installed = read(TdnfPackages)
    twice = _updates.twice_installed(installed)
    if not twice:
        host.noop("every package is installed once")
        return
    for name in twice:
        yield StringCommand(f"( {_updates.repair_command(name)} )")
