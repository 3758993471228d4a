"""What the checks of the update policy read: what is pending, by other commands than those that planned an update.

Packages by `tdnf check-update` and `updateinfo list`, images by the summary of their repository. What was gone back
from and what is locked is not pending: see deploys/fixes/release.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testinfra.host import Host

HELD = "/var/lib/photon-fleet/update/held"
HELD_IMAGES = "/var/lib/photon-fleet/update/held-images"
_LOCKS = "/etc/tdnf/locks.d"
_KERNEL = re.compile(r"linux(-(aws|esx|rt|secure))?")
_ANY_NUMBER = "0.1"
_UPDATES = 100
"""The exit status of check-update with updates, where tdnf.conf asks for that."""
_FIRST = re.compile(r"^[* ] \S+ ([0-9a-f]{64})\.\d", re.MULTILINE)
_ORIGIN = re.compile(r"^    origin refspec: ([^:\s]+):(\S+)$", re.MULTILINE)


def pending(install: str, minimum_score: float, exclude: Sequence[str], host: Host) -> list[str]:
    """What an update would install now, as sorted names of packages, or as the commit of an image.

    Raises:
        ValueError: it could not be read.
    """
    if host.check_output("if [ -e /run/ostree-booted ]; then echo images; else echo packages; fi") == "images":
        return pending_image(host)
    newer: dict[str, list[str]] = {}
    for row in _listed(host, "check-update"):
        newer.setdefault(str(row["Name"]), []).append(str(row["Evr"]).rpartition(":")[2])
    installed = host.check_output("rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}\\n'").splitlines()
    left_out = {line.split()[0] for path in (HELD, *_locks(host)) for line in _lines(host, path)}
    names = {
        name for name, versions in newer.items()
        if name not in left_out and not any(fnmatchcase(name, each) for each in exclude)
        and not (_KERNEL.fullmatch(name) and f"{name} {max(versions, key=_natural)}" in installed)
    }  # fmt: skip
    return sorted(names & _severe(host, minimum_score) if install == "security" else names)


def pending_image(host: Host) -> list[str]:
    """The newest commit of the branch that the host follows, unless it is what the next boot starts, or held back."""
    status = str(host.check_output("LC_ALL=C.UTF-8 timeout -k 5 50 ostree admin status"))
    first, origin = _FIRST.search(status), _ORIGIN.search(status)
    if first is None or origin is None:
        message = "ostree admin status names no deployment that follows a branch of a remote"
        raise ValueError(message)
    summary = str(host.check_output("timeout -k 5 50 ostree remote summary %s", origin[1]))
    newest = re.search(rf"^\* {re.escape(origin[2])}\n.*\n +([0-9a-f]{{64}})$", summary, re.MULTILINE)
    if newest is None:
        message = f"the repository does not offer {origin[2]}"
        raise ValueError(message)
    # Where packages are layered, what is deployed is a child of the commit of the branch.
    parent = host.run("ostree rev-parse %s^", first[1]).stdout.strip()
    held = [line.split()[0] for line in _lines(host, HELD_IMAGES)]
    return [] if newest[1] in {first[1], parent, *held} else [newest[1]]


def waits_for_reboot(host: Host) -> str:
    """Whether an image waits for the next boot: yes or no."""
    return str(host.check_output("if [ -e /run/ostree/staged-deployment ]; then echo yes; else echo no; fi"))


def _severe(host: Host, minimum_score: float) -> set[str]:
    """Names of the packages with security advisories of this score, and with those that have no score."""
    found = _listed(host, "updateinfo list --security")
    if minimum_score > 0:
        enough = {row["UpdateID"] for row in _listed(host, f"updateinfo list --sec-severity {minimum_score:g}")}
        scored = {row["UpdateID"] for row in _listed(host, f"updateinfo list --sec-severity {_ANY_NUMBER}")}
        found = [row for row in found if row["UpdateID"] in enough or row["UpdateID"] not in scored]
    return {str(file).rsplit("-", 2)[0] for row in found for file in row["Packages"]}


def _listed(host: Host, words: str) -> list[dict[str, Any]]:
    """The list that tdnf prints; its status is 0 with repositories that could not be read, too."""
    done = host.run(f"LC_ALL=C timeout -k 5 50 tdnf -j {words} </dev/null")
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    trouble = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    if not lines or trouble or done.rc not in {0, _UPDATES}:
        message = "; ".join(trouble) or f"tdnf {words} ended with status {done.rc}"
        raise ValueError(message)
    found: list[dict[str, Any]] = json.loads(lines[0])
    return found


def _locks(host: Host) -> list[str]:
    return str(host.check_output("find %s -name '*.conf' -type f 2>/dev/null; true", _LOCKS)).split()


def _lines(host: Host, path: str) -> list[str]:
    text = str(host.check_output("[ ! -e %s ] || cat %s", path, path))
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _natural(version: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", version)]
