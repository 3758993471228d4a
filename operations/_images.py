"""What may be asked of an image host, and how its deployments are told apart. Pure.

An image's own files are read-only: what a policy or a package wants to write must be below /etc or /var.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pyinfra.api import OperationError

from facts._ostree import Commit, Deployment, ImageHost, having, split_refspec
from facts.image import Note
from facts.ostree import Space

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z0-9_.][\w.+~:/@-]*")
_READ_ONLY = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/ostree", "/sysroot", "/boot")
_WRITABLE = ("/usr/local",)
_NOT_IN_PACKAGES = ("/opt", "/usr/local", "/var", "/home", "/root", "/srv", "/mnt")
_LOST = {"development", "transient"}
SPARE_BYTES = 256 << 10
_TOP = re.compile(r"/(?:etc|var|opt|home|root|srv|mnt|tmp|run|dev|proc|sys|media)(?:/.*)?")


def word(what: str, value: str) -> str:
    """A name, version, checksum, branch or package as it may stand on a command line.

    Raises:
        OperationError: it is empty, begins with `-`, or has characters that none of them has.
    """
    if not _WORD.fullmatch(value):
        message = f"{value!r} is no {what}: letters, digits and . _ + ~ : / @ -, and no - first"
        raise OperationError(message)
    return value


def _below(path: str, directories: Iterable[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in directories)


def why_not_writable(path: str) -> str | None:
    """Why an image host cannot have a file that a policy writes, and what to do instead; None when it can."""
    if _below(path, _WRITABLE):
        return None
    if _below(path, _READ_ONLY):
        return (
            f"{path} is part of the image and read-only: put the file into the image itself, or below /etc, /var or "
            "/usr/local"
        )
    if not _TOP.fullmatch(path):
        return f"{path}: nothing can be added to / of an image host: choose a place below /etc or /var"
    return None


def why_not_in_package(path: str) -> str | None:
    """Why a package with this file cannot be layered on an image, and what to do instead; None when it can."""
    if not _below(path, _NOT_IN_PACKAGES):
        return None
    return (
        f"its file {path} would be below what every image of this host shares: run it as a container, or use a package "
        "that installs below /usr"
    )


def require_writable(paths: Iterable[str]) -> None:
    """Refuse paths that an image host cannot have.

    Raises:
        OperationError: with a line for each.
    """
    if wrong := [why for path in paths if (why := why_not_writable(path))]:
        raise OperationError("\n".join(wrong))


def require_packages(packages: Sequence[str], files: Iterable[str]) -> None:
    """Refuse packages that cannot be layered.

    Raises:
        OperationError: a name that is none, or a file in a place where images have none.
    """
    for package in packages:
        word("package", package)
    if wrong := [why for path in files if (why := why_not_in_package(path))]:
        message = "\n".join(f"{', '.join(packages)} cannot be layered: {why}" for why in wrong)
        raise OperationError(message)


def require_image_host(found: ImageHost | None) -> ImageHost:
    """What the host is made of.

    Raises:
        OperationError: it takes packages and no images, or rpm-ostree is busy.
    """
    if not found:
        message = "this is not an image host: it was not booted from an ostree deployment"
        raise OperationError(message)
    if found["busy"]:
        message = f"rpm-ostree is busy ({found['busy']}): wait until `rpm-ostree status` says idle, and run again"
        raise OperationError(message)
    return found


def branch_of(found: ImageHost) -> tuple[str, str]:
    """Remote and ref that the host follows: those of what its next boot starts.

    Raises:
        OperationError: it follows a single commit, or something that is no branch.
    """
    origin = found["deployments"][0]["origin"]
    parts = split_refspec(origin)
    if parts is None:
        message = (
            f"the host follows {origin or 'nothing'} and no branch of a remote, so that it would never be updated: "
            "rebase it to one"
        )
        raise OperationError(message)
    return parts


def is_of(deployment: Deployment, wanted: str) -> bool:
    """Whether a deployment is of a version or of a commit (the repository's or the layered one)."""
    return wanted in {deployment["version"], deployment["checksum"], deployment["base_checksum"]}


def commit_of(commits: Sequence[Commit], wanted: str, where: str) -> str:
    """The checksum of a version, or of a commit that is named by its checksum.

    Raises:
        OperationError: the remote has no such version; the sentence says what it has.
    """
    if _CHECKSUM.fullmatch(wanted):
        return wanted
    for commit in commits:
        if commit["version"] == wanted:
            return commit["checksum"]
    has = ", ".join(str(commit["version"]) for commit in commits[:5]) or "nothing"
    message = (
        f"{where} has no version {wanted} (it has {has}): if it was just published, run `ostree summary -u` on its "
        "server"
    )
    raise OperationError(message)


def way_back(found: ImageHost, bad: str) -> Deployment | None:
    """What to be on instead of `bad`; None when the next boot does not start it.

    Raises:
        OperationError: there is nothing else on this host.
    """
    if not is_of(found["deployments"][0], bad):
        return None
    booted = having(found["deployments"], "booted")
    for each in found["deployments"]:
        if not is_of(each, bad) and booted is not None and each["stateroot"] == booted["stateroot"]:
            return each
    message = f"there is no other image than {bad} on this host: it cannot go back"
    raise OperationError(message)


def require_way_back(found: ImageHost, noted: Note) -> None:
    """Refuse to go back from an image that did not come with the last update that was noted.

    Raises:
        OperationError: what is noted, and what there is.
    """
    if not noted["before"]:
        message = (
            "no update is noted on this host that it could go back from: name the image that it is to run "
            "(deploys/fixes/update.py --data version=...)"
        )
        raise OperationError(message)
    first = found["deployments"][0]
    if first["checksum"] not in {noted["before"], noted["staged"]}:
        message = (
            f"the next boot starts {first['version'] or first['checksum'][:12]}, which did not come with the update of "
            f"{noted['at']}: name the image that the host is to run (deploys/fixes/update.py --data version=...)"
        )
        raise OperationError(message)
    if not any(each["checksum"] == noted["before"] for each in found["deployments"]):
        name = noted["before_version"] or noted["before"][:12]
        message = (
            f"{name}, which ran before the last update, is not on this host any more: stage it from its repository "
            f"(deploys/fixes/update.py --data version={name})"
        )
        raise OperationError(message)


def before_all(found: ImageHost, noted: Note) -> Note:
    """The note as if all updates of its rollout had been one.

    Raises:
        OperationError: what ran before them is not the image that the host would go back to.
    """
    running = having(found["deployments"], "booted")
    at = found["deployments"].index(running) if running is not None else 0
    near = (found["deployments"][0], *found["deployments"][at : at + 2])
    if noted["first"] not in {each["checksum"] for each in near}:
        name = noted["first_version"] or noted["first"][:12]
        message = (
            f"{noted['of']} has updated this host more than once, and {name}, which ran before that, is not the image "
            f"before the one that runs: stage it (deploys/fixes/update.py --data version={name})"
        )
        raise OperationError(message)
    return {**noted, "before": noted["first"], "before_version": noted["first_version"]}


def no_way_back(found: ImageHost, boot: Space | None) -> str | None:
    """Why a host could not go back to the image that it runs after an update; None when it could.

    Any update keeps the image that runs, so that this is about what would be lost of it, and about /boot, where the
    way back has to write the menu of the next boot.
    """
    running = having(found["deployments"], "booted")
    if running is None:
        return "none of its images is the one that runs"
    name = running["version"] or running["checksum"][:12]
    if running["unlocked"] in _LOST:
        return (
            f"{name} is unlocked ({running['unlocked']}), and what was changed in it is lost with the next boot: boot "
            "it anew first"
        )
    if found["tool"] == "ostree" and split_refspec(running["origin"]) is None:
        return (
            f"{name} follows {running['origin'] or 'nothing'} and no branch of a remote: rebase the host to one first"
        )
    if boot is not None and boot["free"] < SPARE_BYTES:
        return (
            f"/boot has no room for the menu of another boot ({boot['free']} bytes are free, and {SPARE_BYTES} are "
            "needed): see what is in it that is no image's, or remove an image that is not needed"
        )
    return None


def index_of(found: ImageHost, wanted: str) -> int:
    """The index that `ostree admin` has for a version or checksum; the first one of several.

    Raises:
        OperationError: no deployment is of it.
    """
    for index, each in enumerate(found["deployments"]):
        if is_of(each, wanted):
            return index
    has = ", ".join(str(each["version"] or each["checksum"][:12]) for each in found["deployments"])
    message = f"no deployment of this host is of {wanted}: there are {has}"
    raise OperationError(message)
