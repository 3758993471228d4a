"""A new image is started once: the boot loader goes on starting the old one until the new one has been proved.

Contract: three steps around an update. `ready` before the image is staged, `armed` between that and the reboot, `kept`
after the proof. Whatever happens in between (the kernel panics, the initramfs does not find its disk, the boot ends in
emergency mode, nobody can log in, power is lost), a further boot starts the old image, which forgets the new one and
notes why: see `facts.boot_try.BootTry`. GRUB does it, with a file beside its menu (/boot/grub2/custom.cfg) and one
where it notes the try; ostree's own menu is left alone.
"""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import OperationError, StringCommand

from facts._ostree import Deployment
from facts.boot_try import BootTry, Try
from facts.ostree import Deployments
from operations._contain import Commands, operation, read
from operations._images import require_image_host, word

__all__ = ["armed", "kept", "left", "ready"]

SCRIPT = Path(__file__).resolve().parents[1] / "templates" / "update" / "try_boot.sh"
OWN = "/etc/systemd/photon-fleet-try-boot.sh"
LEAST_SECONDS, MOST_SECONDS = 60, 7200


@cache
def _script() -> str:
    return SCRIPT.read_text()


def _call(*words: str) -> StringCommand:
    return StringCommand(" ".join(["sh -s", *map(shlex.quote, words)]), _stdin=_script())


def _able(found: Try, *, required: bool) -> bool:
    """Whether the host can come back; where it cannot, and that is required, the operation ends.

    Raises:
        OperationError: with every reason.
    """
    if not found["cannot"]:
        return True
    sentence = f"this host cannot come back from an image that does not boot: {'; '.join(found['cannot'])}"
    more = ". With required=False it is updated all the same" if required else ""
    _refuse_or_warn(f"{sentence}{more}", required=required)
    return False


def _refuse_or_warn(sentence: str, *, required: bool) -> None:
    if required:
        raise OperationError(sentence)
    logger.warning("%s%s", host.print_prefix, sentence)
    host.noop("the boot loader does not try an image")


def _read() -> Try:
    found = read(BootTry)
    if not found:
        message = "this is not an image host: it was not booted from an ostree deployment"
        raise OperationError(message)
    return found


@operation()
def ready(required: bool = True) -> Commands:  # noqa: FBT001, FBT002 - as pyinfra's own operations
    """
    Make the host one that comes back from an image that does not boot, or say that it cannot; before one is staged.

    + required: False updates a host that cannot come back all the same, with a warning

    It is given kernel arguments with which a failed boot ends in another one (`panic=10 rd.shell=0
    rd.emergency=reboot`), which later images inherit. An argument that somebody else has given another value stays.

    **Example:**

    .. code:: python

        boot_try.ready(name="Be able to come back")
    """
    found = _read()
    if not _able(found, required=required):
        return
    if not found["missing"]:
        host.noop("the host can come back from an image that does not boot")
        return
    if any("staged" in each["roles"] for each in require_image_host(read(Deployments))["deployments"]):
        message = (
            f"an image is staged already, without {' '.join(found['missing'])}: take it back first "
            "(ostree.cleaned_up with pending)"
        )
        _refuse_or_warn(message, required=required)
        return
    yield _call("ready", *found["missing"])


@operation()
def armed(seconds: int = 600, required: bool = True) -> Commands:  # noqa: FBT001, FBT002 - as above
    """
    Let the next boot try the image that is staged, once. Right before the reboot.

    + seconds: after its boot, within which `kept` must be called; then the host boots again, into the old image
    + required: False goes on where the boot loader cannot do it, with a warning

    Nothing is done when no image is staged.

    **Example:**

    .. code:: python

        boot_try.armed(name="Try the new image once")
    """
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        message = f"{seconds} is no number of seconds from {LEAST_SECONDS} to {MOST_SECONDS}"
        raise OperationError(message)
    found = _read()
    first, *others = require_image_host(read(Deployments))["deployments"]
    if "staged" not in first["roles"]:
        host.noop("no image is staged")
        return
    if not _able(found, required=required):
        return
    if found["missing"]:
        message = f"the host lacks {' '.join(found['missing'])}: boot_try.ready gives them before an image is staged"
        _refuse_or_warn(message, required=required)
        return
    if not others or "booted" not in others[0]["roles"]:
        message = "another image is between the staged one and the one that runs in the boot menu: clean it up first"
        _refuse_or_warn(message, required=required)
        return
    if found["state"] == "armed" and found["checksum"] == first["checksum"]:
        host.noop("the next boot tries the image already")
        return
    arguments = ["arm", _directory(first), _directory(others[0]), str(seconds), word("version", _version(first))]
    yield StringCommand(
        f"( umask 077; cat > {OWN} && sh {OWN} {' '.join(map(shlex.quote, arguments))} )", _stdin=_script()
    )


def _directory(deployment: Deployment) -> str:
    return f"{deployment['checksum']}.{deployment['serial']}"


def _version(deployment: Deployment) -> str:
    return (deployment["version"] or deployment["checksum"][:12]).replace(" ", "_")


@operation()
def kept(proved: bool = True) -> Commands:  # noqa: FBT001, FBT002 - as above
    """
    End the try: from now on the first image of the boot menu is what is started, as without one.

    + proved: the image that runs is the new one, and good; the host fails where it has come back to the old one. False
      calls a try off whatever has become of it, and forgets that

    To go back from an image that boots and is bad: `left`, and a reboot.

    **Example:**

    .. code:: python

        boot_try.kept(name="Keep the new image")
    """
    found = _read()
    if found["state"] == "none":
        host.noop("no image is being tried")
        return
    if proved and found["state"] == "back":
        message = f"the host has come back from {found['version']}: {found['why']}"
        raise OperationError(message)
    if proved and found["state"] == "armed":
        message = f"{found['version']} was not booted yet: there is nothing to keep"
        raise OperationError(message)
    yield _call("keep")


@operation()
def left(why: str) -> Commands:
    """
    Note why the new image, which runs and is not proved, is not kept: the next reboot starts the old one.

    + why: a line, which `BootTry` tells afterwards

    **Example:**

    .. code:: python

        boot_try.left(name="Leave the new image", why="nginx does not start")
    """
    found = _read()
    if found["state"] == "back":
        host.noop(f"the host has left {found['version']} already")
        return
    if found["state"] != "trying":
        message = "the image that runs is not one that is tried: ostree.rolled_back leaves it"
        raise OperationError(message)
    yield _call("leave", " ".join(why.split()))
