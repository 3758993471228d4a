"""An update of an image: noted on the host, proved after its reboot, and gone back from when it broke something.

What counts is noted on the host (facts/image.py), so that a run can end what a killed one has begun: an image that runs
and was never proved is proved before anything else is installed.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, OperationError, StringCommand
from pyinfra.context import ctx_host

from deploys._run import VERDICTS
from deploys.guard import Owner
from deploys.policies.base import Policy
from deploys.update.asked import Asked
from deploys.update.leave import draining, holding_slot
from deploys.update.way_back import SETTLED, executing, failed, failing_before, proved_before, rebooted_then
from deploys.verify import Verdict, prove, report
from facts._ostree import Deployment, having
from facts.boot_try import BootTry, is_its_fault
from facts.image import ImageUpdate, Note, Standing, is_held, standing
from facts.ostree import BootSpace, Deployments, FinalizeFailure
from facts.update import Booted
from operations import boot_try, ostree
from operations._contain import Commands, fail, operation, read, within
from operations._images import no_way_back, require_image_host
from operations._point import IMAGE, call
from operations._reboot import REBOOT, come_back


def take_image(owner: Owner, asked: Asked, policies: Sequence[Policy], *, watched: int) -> None:
    """Declare what updates the image of the current host; the arguments are those of `take_packages`."""
    proved = list(policies) if asked.way_back else []
    image_proved_first(name="Look for an image that was never proved", policies=proved, seconds=asked.seconds)
    if proved:
        proved_before(name="Look what is proved before", policies=proved, seconds=asked.seconds)
    if asked.way_back:
        boot_try.ready(name="Be able to come back from an image that does not boot", required=False)
    image_staged(
        name=f"Update {asked.what(image=True)}", version=asked.version, way_back=asked.way_back, of=asked.of
    )  # fmt: skip
    if asked.restart != "no":
        with holding_slot(owner):
            image_rebooted_and_proved(
                name="Reboot", policies=proved, seconds=asked.seconds, if_due=asked.restart == "due",
                watched=watched if asked.way_back else 0, **draining(),
            )  # fmt: skip
    image_proved_or_undone(name="Prove every policy", policies=proved, seconds=asked.seconds)


@operation()
def image_staged(version: str = "", *, way_back: bool = True, of: str = "") -> Commands:
    """
    Stage an image, and note on the host what runs before it and which checks fail before it.

    + version: of the image, or its checksum; "" for the newest that is not held back
    + way_back: refuse a host that could not go back
    + of: the rollout that updates; "" for none
    """
    found = require_image_host(read(Deployments))
    noted = read(ImageUpdate)
    if version and is_held(noted, version):
        message = f"{version} is held back, as this host has gone back from it: deploys/fixes/release.py lets go of it"
        raise OperationError(message)
    never = [each["checksum"] for each in noted["held"]]
    # Nothing but reads has happened when these are known.
    commands = list(within(ostree.deployed, wanted=version) if version else within(ostree.upgraded, never=never))
    first = found["deployments"][0]
    if not commands and ("booted" in first["roles"] or first["checksum"] == noted["staged"]):
        return
    why = no_way_back(found, read(BootSpace)) if way_back else None
    if why:
        message = f"this host could not go back, so it is not updated: {why}"
        raise OperationError(message)
    running = _running()
    yield call("note", of, running["checksum"], running["version"] or "", *failing_before(), name=IMAGE)
    yield from commands
    yield call("staged", name=IMAGE)


@operation()
def image_proved_first(policies: list[Policy], seconds: int) -> Commands:
    """
    End what an earlier run has begun: an image that runs and was never proved is proved, or gone back from.

    + policies: whose checks are read
    + seconds: how long a reboot may take
    """
    if not executing():
        return
    noted, how = _noted()
    if how == "runs":
        logger.info("%s%s was never proved: that comes first", host.print_prefix, _name(noted))
        if broken := _broken(prove(ctx_host.get(), policies), noted):
            yield from _back(policies, broken, noted, seconds)
        else:
            yield from _kept()
    elif how == "gone":
        sentence = _gone(noted)
        yield from _forgotten(noted)
        logger.warning("%s%s", host.print_prefix, sentence)
    elif how == "undone":
        logger.warning("%san earlier run went back from %s; it is held back", host.print_prefix, _name(noted))
        yield call("confirm", name=IMAGE)
    else:
        host.noop("every image that ran here was proved")


@operation()
def image_proved_or_undone(policies: list[Policy], seconds: int) -> Commands:
    """
    Prove that the image runs that was staged, and the policies; when the image broke a check, go back and hold it.

    + policies: whose checks are read
    + seconds: how long a reboot may take

    Checks that failed before the update are told, and are no reason to go back.
    """
    if not executing() or host.name in SETTLED:
        return
    noted, how = _noted()
    verdicts = prove(ctx_host.get(), policies)
    if policies:
        VERDICTS[host.name] = verdicts
    if how == "runs":
        if broken := _broken(verdicts, noted):
            yield from _back(policies, broken, noted, seconds)
            return
        yield from _kept()
    elif how == "gone":
        sentence = _gone(noted)
        yield from _forgotten(noted)
        yield FunctionCommand(fail, (sentence,), {})
        return
    SETTLED.add(host.name)
    if how == "waits":
        logger.info("%s%s runs after the next reboot; the next update proves it", host.print_prefix, _name(noted))
    if text := report(verdicts):
        more = "\nAll of this failed before the update as well." if how == "runs" else ""
        yield FunctionCommand(fail, (text + more,), {})
    elif how != "runs":
        host.noop(f"{len(verdicts)} checks passed")


@operation(is_idempotent=False, idempotent_notice="A reboot is asked for and made.")
def image_rebooted_and_proved(policies: list[Policy], seconds: int, watched: int, **more: Any) -> Commands:  # noqa: ANN401
    """
    Reboot, and prove at once what came with it, as `way_back.rebooted_and_proved` does.

    + policies: whose checks are read
    + seconds: how long a reboot may take
    + watched: how long the host waits for the proof after its boot; 0 for no way back. Where the boot loader can, it
      starts the new image only once until then
    + more: arguments of `reboot.rebooted`
    """
    tried = watched and (yield from _tried(watched))
    proof = within(image_proved_or_undone, policies=policies, seconds=seconds)
    yield from rebooted_then(proof, seconds=seconds, watched=0 if tried else watched, **more)


def _tried(seconds: int) -> Generator[Any, None, bool]:
    """Have the boot loader try the staged image; whether it does."""
    found = read(BootTry)
    arming = list(within(boot_try.armed, seconds=max(seconds, boot_try.LEAST_SECONDS), required=False))
    yield from arming
    return bool(arming) or (found is not None and found["state"] == "armed")


def _kept() -> Commands:
    """The image is good. The try first: when the run is killed after that, the next one proves the image."""
    tried = read(BootTry)
    if tried is not None and tried["state"] == "trying":
        yield from within(boot_try.kept)
    yield call("confirm", name=IMAGE)


def _came_back(noted: Note) -> str:
    """Why the host has come back from the image by itself; "" when it has not."""
    found = read(BootTry)
    back = found is not None and found["state"] == "back" and found["checksum"] == noted["staged"]
    return found["why"] if found is not None and back else ""


def _forgotten(noted: Note) -> Commands:
    """End the note of an image that does not run, and hold it back when that is its own fault."""
    if is_its_fault(_came_back(noted)):
        yield call("hold", name=IMAGE)
    yield from within(boot_try.kept, proved=False)
    yield call("confirm", name=IMAGE)


def _broken(verdicts: list[Verdict], noted: Note) -> list[Verdict]:
    return [each for each in verdicts if not each.passed and each.check not in noted["failing"]]


def _back(policies: list[Policy], broken: list[Verdict], noted: Note, seconds: int) -> Commands:
    bad = _running()["checksum"]
    boot = read(Booted)["id"]
    tried = read(BootTry)
    yield call("hold", name=IMAGE)
    if tried is not None and tried["state"] == "trying":
        yield from within(boot_try.left, why=f"it broke {_ids(broken)}")
    else:
        yield call("back", name=IMAGE)
    yield StringCommand(REBOOT)
    yield FunctionCommand(come_back, (boot, seconds), {})
    # Not before: until then the host's own timer is what ends this.
    if _running()["checksum"] == bad:
        why = read(FinalizeFailure) or "nothing says why"
        sentence = f"NOT ROLLED BACK: {_name(noted)} broke {_ids(broken)}, and still runs after the way back: {why}"
        yield FunctionCommand(fail, (f"{report(broken)}\n{sentence}",), {})
        return
    yield from within(boot_try.kept, proved=False)
    yield call("confirm", name=IMAGE)
    after = VERDICTS[host.name] = prove(ctx_host.get(), policies)
    still = sorted(failed(after) & {each.check for each in broken})
    word = f"ROLLED BACK, and still failing: {', '.join(still)}" if still else "ROLLED BACK"
    sentence = f"{word}: {_name(noted)} broke {_ids(broken)}. It is held back on this host."
    yield FunctionCommand(fail, (f"{report(broken)}\n{sentence}",), {})


def _ids(verdicts: list[Verdict]) -> str:
    return ", ".join(sorted({each.check for each in verdicts}))


def _running() -> Deployment:
    """The image that runs; a host that has none is refused."""
    found = having(require_image_host(read(Deployments))["deployments"], "booted")
    if found is None:
        message = "none of the deployments is the one that runs"
        raise OperationError(message)
    return found


def _noted() -> tuple[Note, Standing]:
    noted = read(ImageUpdate)
    return noted, standing(noted, _running()["checksum"], read(Booted)["id"])


def _name(noted: Note) -> str:
    return f"image {noted['staged_version'] or noted['staged'][:12] or 'that came last'}"


def _gone(noted: Note) -> str:
    came_back = _came_back(noted)
    if is_its_fault(came_back):
        return f"ROLLED BACK: the host has come back from {_name(noted)}: {came_back}. It is held back on this host."
    running = _running()
    why = read(FinalizeFailure) or came_back or "nothing on the host says why; was another one chosen in its boot menu?"
    name = running["version"] or running["checksum"][:12]
    return f"the update is gone: {_name(noted)} was staged at {noted['at']}, and {name} runs: {why}"
