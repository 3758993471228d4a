"""Images of a host: which one it runs after the next reboot, by ostree or rpm-ostree, whichever is there.

Contract: each reads first, and changes nothing that is as wanted. Nothing takes effect before a reboot, which none but
`finalized` makes: new images are staged, so that files written to /etc meanwhile are kept. The host goes on following
its branch whatever is deployed. After the reboot compare what runs with what was wanted: `facts.ostree.Deployments`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, OperationError

from facts._ostree import ImageHost, having, split_refspec
from facts.ostree import Deployments, RemoteImages
from facts.update import Booted
from operations import _images
from operations._contain import Commands, operation, read
from operations._images import branch_of, is_of, require_image_host, word
from operations._ostree import FITS_IN_BOOT, QUICK_SECONDS, at_index, carried_out, next_of, runs, staged, taken_back
from operations._reboot import come_back

__all__ = [
    "cleaned_up", "deployed", "finalized", "layered", "only_writable", "pinned", "rebased", "rolled_back", "upgraded",
]  # fmt: skip


def _image_host() -> ImageHost:
    return require_image_host(read(Deployments))


@operation()
def upgraded(never: Sequence[str] = (), expected: str | None = None) -> Commands:
    """
    Stage the newest image of the branch that the host follows.

    + never: versions or checksums that are not installed again, such as one that was rolled back; when the newest is
      one of them, nothing is done until there is a newer one
    + expected: the version or checksum that must be the newest. A server whose summary is stale offers an older
      one, which looks like an update that is not there; with it the host fails instead

    **Example:**

    .. code:: python

        ostree.upgraded(name="Stage the newest image", never=["5.0_minimal.7"])
    """
    for each in [*never, *([] if expected is None else [expected])]:
        word("version", each)
    found = _image_host()
    remote, ref = branch_of(found)
    newest = (read(RemoteImages, remote=remote, ref=ref) or [])[0]
    said = newest["version"] or newest["checksum"][:12]
    if expected is not None and expected not in {newest["checksum"], newest["version"]}:
        message = (
            f"the newest image of {remote}:{ref} is {said}, and {expected} is expected: was `ostree summary -u` run on "
            "the server since it was published?"
        )
        raise OperationError(message)
    if is_of(next_of(found), newest["checksum"]):
        runs(found, f"{said}, the newest of {remote}:{ref},")
    elif {newest["checksum"], newest["version"]} & set(never):
        logger.warning("%s%s is held back, and %s:%s has nothing newer", host.print_prefix, said, remote, ref)
        host.noop(f"{said} is held back, and {remote}:{ref} has nothing newer")
    elif found["tool"] == "rpm-ostree":
        yield carried_out("rpm-ostree upgrade", after=FITS_IN_BOOT)
    else:
        yield carried_out("ostree admin upgrade --stage", after=FITS_IN_BOOT)


@operation()
def deployed(wanted: str) -> Commands:
    """
    Stage a certain image of the branch that the host follows, older or newer; the host goes on following the branch.

    + wanted: its version or checksum

    /etc is merged from the image that runs, also when an older one is wanted.

    **Example:**

    .. code:: python

        ostree.deployed(name="Be on the tested image", wanted="5.0_minimal.6")
    """
    word("version", wanted)
    found = _image_host()
    remote, ref = branch_of(found)
    if is_of(next_of(found), wanted):
        runs(found, wanted)
        return
    commits = read(RemoteImages, remote=remote, ref=ref, depth=-1) or []
    checksum = _images.commit_of(commits, wanted, f"{remote}:{ref}")
    if is_of(next_of(found), checksum):
        runs(found, wanted)
    elif found["tool"] == "rpm-ostree":
        yield carried_out(f"rpm-ostree deploy {checksum}", after=FITS_IN_BOOT)
    else:
        command = f"ostree admin upgrade --stage --allow-downgrade --override-commit={checksum}"
        yield carried_out(command, after=FITS_IN_BOOT)


@operation()
def rebased(refspec: str) -> Commands:
    """
    Follow another branch, and stage its newest image.

    + refspec: `remote:ref`; the remote must be defined

    **Example:**

    .. code:: python

        ostree.rebased(name="Follow prod", refspec="photon:photon/5.0/x86_64/prod")
    """
    parts = split_refspec(refspec)
    if parts is None:
        message = f"{refspec!r} is no branch of a remote: remote:ref, such as photon:photon/5.0/x86_64/minimal"
        raise OperationError(message)
    found = _image_host()
    if next_of(found)["origin"] == refspec:
        host.noop(f"the host follows {refspec}")
        return
    if found["tool"] == "rpm-ostree":
        yield carried_out(f"rpm-ostree rebase {refspec}", after=FITS_IN_BOOT)
        return
    # `switch` cannot stage: what was written to /etc after it would be lost.
    yield carried_out(f"ostree pull {parts[0]} {parts[1]}")
    yield staged(refspec, refspec)


@operation()
def rolled_back(bad: str) -> Commands:
    """
    Be on another image than `bad` after the next boot: the previous one. Doing it twice is doing it once.

    + bad: the version or checksum to get away from

    It needs no repository. One that is only staged or pending is taken back, and the host stays where it is. With
    rpm-ostree /etc is again what it was under the previous image; ostree alone merges it from the one that runs.

    **Example:**

    .. code:: python

        ostree.rolled_back(name="Leave the image that fails", bad="5.0_minimal.7")
    """
    word("version", bad)
    found = _image_host()
    target = _images.way_back(found, bad)
    if target is None:
        runs(found, f"{next_of(found)['version'] or next_of(found)['checksum'][:12]} and not {bad}")
        return
    booted = having(found["deployments"], "booted")
    if booted == target:
        yield from taken_back(found)
        return
    if next_of(found) != booted:
        yield from taken_back(found)
    if found["tool"] == "rpm-ostree" and "rollback" in target["roles"]:
        yield carried_out("rpm-ostree rollback", QUICK_SECONDS)
        return
    if split_refspec(target["origin"]) is None:
        message = f"the previous image follows {target['origin']} and no branch of a remote: deploy it by hand"
        raise OperationError(message)
    yield staged(target["base_checksum"], str(target["origin"]))


@operation()
def finalized(wanted: str, seconds: int = 600) -> Commands:
    """
    Let an image that is staged and locked be put in place, which rpm-ostree does with a reboot, and wait for it.

    + wanted: its version or checksum
    + seconds: how long the reboot may take

    Any shutdown puts an image in place that is staged and not locked. ostree alone locks none.

    **Example:**

    .. code:: python

        ostree.finalized(name="Start the image that was locked", wanted="5.0_minimal.7")
    """
    word("version", wanted)
    found = _image_host()
    first = next_of(found)
    if not is_of(first, wanted):
        message = f"{wanted} is not what the next boot starts: stage it first"
        raise OperationError(message)
    if "staged" not in first["roles"]:
        runs(found, wanted)
    elif "locked" not in first["roles"]:
        host.noop(f"{wanted} is put in place when the host shuts down: {found['tool']} does it then and not before")
    else:
        before = read(Booted)["id"]
        yield carried_out(f"rpm-ostree finalize-deployment {first['base_checksum']}", QUICK_SECONDS, reboots=True)
        yield FunctionCommand(come_back, (before, seconds), {})


@operation()
def pinned(wanted: str, pin: bool = True) -> Commands:  # noqa: FBT001, FBT002 - as pyinfra's own operations
    """
    Keep an image of this host from being cleaned up by later updates, or let it go.

    + wanted: its version or checksum; one that is only staged cannot be pinned
    + pin: False lets it go

    **Example:**

    .. code:: python

        ostree.pinned(name="Keep the image that works", wanted="5.0_minimal.6")
    """
    word("version", wanted)
    found = _image_host()
    deployment = found["deployments"][_images.index_of(found, wanted)]
    if ("pinned" in deployment["roles"]) is pin:
        host.noop(f"{wanted} is {'pinned' if pin else 'not pinned'}")
        return
    if pin and "staged" in deployment["roles"]:
        message = f"{wanted} is only staged: it can be pinned after the reboot that puts it in place"
        raise OperationError(message)
    yield at_index("pin" if pin else "pin --unpin", deployment)


@operation()
def cleaned_up(pending: bool = False, rollback: bool = False) -> Commands:  # noqa: FBT001, FBT002 - as above
    """
    Remove images that are not needed, which frees space in /boot too. The one that runs and pinned ones stay.

    + pending: what is staged or pending, so that the next boot starts the image that runs now
    + rollback: what comes after the one that runs: there is no way back then

    **Example:**

    .. code:: python

        ostree.cleaned_up(name="Forget the staged image", pending=True)
    """
    found = _image_host()
    place = next(index for index, each in enumerate(found["deployments"]) if "booted" in each["roles"])
    after = [each for each in found["deployments"][place + 1 :] if "pinned" not in each["roles"]]
    before = [each for each in found["deployments"][:place] if "pinned" not in each["roles"]]
    gone = [*(before if pending else []), *(after if rollback else [])]
    if not gone:
        host.noop("there is nothing to clean up")
        return
    for each in gone:
        yield at_index("undeploy", each)


@operation()
def only_writable(paths: Sequence[str]) -> Commands:
    """
    Refuse paths that an image host cannot have, and say what to do instead; on other hosts every path is fine.

    + paths: absolute paths of files that are going to be written

    **Example:**

    .. code:: python

        ostree.only_writable(name="See that the files have a place", paths=["/etc/site.conf"])
    """
    if read(Deployments):
        _images.require_writable(paths)
    host.noop("all of the paths are writable")
    yield from ()


@operation()
def layered(present: Sequence[str] = (), absent: Sequence[str] = (), files: Sequence[str] = ()) -> Commands:
    """
    Layer packages on the image, or remove them from it, with the next boot. Needs rpm-ostree.

    + present: names of packages
    + absent: names of packages that were layered; what is in the image itself stays
    + files: files of the packages, where they are known: images have none below /opt, /usr/local and /var

    **Example:**

    .. code:: python

        ostree.layered(name="Layer the debugger", present=["gdb"], absent=["htop"])
    """
    _images.require_packages([*present, *absent], files)
    found = _image_host()
    if found["tool"] != "rpm-ostree":
        message = "this host has no rpm-ostree, which is what layers packages: put them into the image itself"
        raise OperationError(message)
    has = next_of(found)["layered"]
    add, remove = [name for name in present if name not in has], [name for name in absent if name in has]
    if not add and not remove:
        host.noop("packages are layered as wanted")
    if add:
        yield carried_out(f"rpm-ostree install --idempotent {' '.join(add)}", after=FITS_IN_BOOT)
    if remove:
        yield carried_out(f"rpm-ostree uninstall --idempotent {' '.join(remove)}", after=FITS_IN_BOOT)
