"""The way back of a host: to a point whose files lie on it, to a transaction of tdnf's history, to another image.

Contract: as operations/tdnf.py. All steps are said before anything is done, and a second run changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import FunctionCommand, OperationError, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from facts._ostree import having
from facts.image import HELD_IMAGES, ImageUpdate
from facts.ostree import Deployments, FinalizeFailure
from facts.tdnf import TdnfPackages
from facts.update import HELD, HeldBack, TdnfHistory, TdnfRollbackPlan, UpdatePoint
from operations import _images, _updates, boot_try, ostree, reboot
from operations._contain import Commands, fail, operation, read, within
from operations._point import IMAGE, announce, call, is_of, lines_of, nothing_of

__all__ = ["gone_back", "image_gone_back", "released", "repaired", "rolled_back"]


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
def gone_back(*, hold: bool = False, of: str = "") -> Commands:
    """
    Be where the host was before its last update with a way back: the same packages, from files that lie on the host.

    + hold: the versions that came are left out of the next update, until `released`
    + of: a rollout: go back to before its first update, and not at all where the last one is another's

    Needs neither a repository nor a working tdnf. May be repeated after whatever ended it; a second run changes
    nothing.

    **Example:**

    .. code:: python

        way_back.gone_back(name="Back to before the update")
    """
    point = read(UpdatePoint, first=True) if of else read(UpdatePoint)
    if of and (point is None or not is_of(of, point["of"], point["over"], point["at"]) or point["undone"]):
        nothing_of(of, point["at"] if point is not None and of == point["of"] else "")
        return
    if point is None:
        message = "there is no point on this host that it could go back to: its last update was made without one"
        raise OperationError(message)
    lines = lines_of(point)
    if not lines:
        host.noop(f"the packages are those of {point['at']}")
        return
    announce(lines)
    if hold:
        yield call("hold", *filter(None, [of]))
    yield call("back", *filter(None, [of]))
    yield call("confirm")


@operation(is_idempotent=False, idempotent_notice="It reboots when another image waits for that.")
def image_gone_back(
    seconds: int = 600, containers: Sequence[str] = (), drain_seconds: int = 300, *, nfs_clients: bool = False,
    hold: bool = False, of: str = "",
) -> Commands:  # fmt: skip
    """
    Be on the image that ran before the last update, reboot into it, and see that it runs. A second run changes nothing.

    + seconds: how long the reboot may take
    + containers: labels of containers that must have ended before it, as in `reboot.rebooted`
    + drain_seconds: how long these, and NFS clients, are waited for
    + nfs_clients: no NFS client may be connected any more
    + hold: the image that is left is not taken by the next update, until `released`
    + of: a rollout: go back to before its first update, and not at all where the last one is another's

    Needs no repository. What is not the last update that was made with a way back is refused.

    **Example:**

    .. code:: python

        way_back.image_gone_back(name="Back to the image from before the update")
    """
    noted = read(ImageUpdate)
    if of and not is_of(of, noted["of"], noted["over"], noted["at"]):
        nothing_of(of)
        return
    found = _images.require_image_host(read(Deployments))
    first = found["deployments"][0]
    if of and noted["first"]:
        noted = _images.before_all(found, noted)
    _images.require_way_back(found, noted)
    running = having(found["deployments"], "booted")
    if running is not None and running["checksum"] == first["checksum"] == noted["before"]:
        host.noop(f"the host runs {noted['before_version'] or noted['before'][:12]}, as before its last update")
        return
    yield from within(boot_try.kept, proved=False)
    announce([f"going back to image {noted['before_version'] or noted['before'][:12]}, by a reboot"])
    if first["checksum"] != noted["before"]:
        yield from within(ostree.rolled_back, bad=first["checksum"])
        if running is not None and running["checksum"] not in {first["checksum"], noted["before"]}:
            # What waited in front of it is taken back now.
            yield from within(ostree.rolled_back, bad=running["checksum"])
    if running is None or running["checksum"] != noted["before"]:
        yield from within(
            reboot.rebooted,
            seconds=seconds,
            containers=containers,
            drain_seconds=drain_seconds,
            nfs_clients=nfs_clients,
        )
        yield FunctionCommand(_sees, (noted["before"],), {})
    if hold or noted["unproved"]:
        # Such as one that did not even boot: it would be the next update again.
        yield call("hold", name=IMAGE)
    yield call("confirm", name=IMAGE)


def _sees(state: State, host: Host, wanted: str) -> bool:
    running = having(_images.require_image_host(read(Deployments))["deployments"], "booted")
    if running is not None and running["checksum"] == wanted:
        return True
    why = read(FinalizeFailure) or "see `ostree admin status` on the host"
    return fail(
        state, host, f"the host did not go back: after its reboot it runs another image than {wanted[:12]}: {why}"
    )


@operation()
def released() -> Commands:
    """
    Forget which versions, or images, were gone back from: the next update may install them again.

    **Example:**

    .. code:: python

        way_back.released(name="Try that version again")
    """
    if not [*read(HeldBack), *read(ImageUpdate)["held"]]:
        host.noop("no version is held back")
        return
    yield StringCommand(f"rm -f -- {HELD} {HELD_IMAGES}")


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
