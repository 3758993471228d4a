"""What an image host (ostree, rpm-ostree) is made of: deployments, branches, remotes, /etc, /boot.

Contract: a host that was not booted from an ostree deployment answers None. On one that was, trouble is a
`FactProcessError` with a sentence, never a short or an empty answer: `ostree admin status` can print a part of its list
and fail, and says "No deployments." where /boot is not mounted.

All of them run as root, and each run of ostree has a time limit, as `ostree admin` waits for its lock for ever.
"""

from __future__ import annotations

import shlex
from typing import TypedDict

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

from facts import _ostree, _ostree_remotes
from facts._answer import AnswerError
from facts._conffiles import read_command
from facts._ostree import IMAGE_HOST, PACKAGE_HOST, Commit, Difference, ImageHost
from facts._ostree_remotes import Remote
from facts._ostree_sentences import known, sentence
from facts.tdnf import contained

__all__ = [
    "BootSpace",
    "Deployments",
    "EtcDifferences",
    "FinalizeFailure",
    "ImageHistory",
    "OstreeRemotes",
    "RemoteImages",
]

FETCH_SECONDS = 300


def on_image_host(script: str) -> str:
    """A shell command that runs `script` on an image host, and only says so on another one."""
    return f"if [ -e {IMAGE_HOST} ]; then {script}; else echo '{PACKAGE_HOST}'; fi"


def is_package_host(output: list[str]) -> bool:
    """Whether `on_image_host` did not run its script."""
    return output[:1] == [PACKAGE_HOST]


def good(command: str, lines: list[str]) -> str:
    """The standard output of a run that succeeded.

    Raises:
        FactProcessError: it failed; the sentence says why.
    """
    given = _ostree.answer(lines)
    if given.exit:
        raise FactProcessError(sentence(command, given))
    return given.stdout


class Deployments(FactBase[ImageHost | None]):
    """
    Returns the deployments of an image host in the order of the boot menu, with their roles; None for another host:

    .. code:: python

        {
            "tool": "rpm-ostree", "busy": None,
            "deployments": [{
                "stateroot": "photon", "checksum": "965c1a...", "serial": 0, "roles": ["booted", "pinned"],
                "origin": "photon:photon/5.0/x86_64/minimal", "base_checksum": "965c1a...", "version": "5.0_minimal.1",
                "layered": ["htop"], "removed": [], "overridden": [], "unlocked": "none",
            }],
        }

    The roles are booted, staged, locked (staged, and kept from being put in place until it is finalized), pending,
    rollback and pinned. What is layered or locked is known by rpm-ostree alone. Source of the format: `rpm-ostree
    status --json`, and the text of `ostree admin status` where there is no rpm-ostree.
    """

    @override
    def command(self) -> str:
        json = _ostree.framed("rpm-ostree status --json", again=True)
        text = _ostree.framed("ostree admin status")
        return on_image_host(
            f"if command -v rpm-ostree >/dev/null 2>&1; then echo '= rpm-ostree'; {json}; "
            f"else echo '= ostree'; {text}; fi"
        )

    @override
    @contained
    def process(self, output: list[str]) -> ImageHost | None:
        if is_package_host(output):
            return None
        found: ImageHost = {"tool": "ostree", "busy": None, "deployments": []}
        if output[:1] == ["= rpm-ostree"]:
            found["tool"] = "rpm-ostree"
            found["deployments"], found["busy"] = _ostree.json_status(good("rpm-ostree status", output[1:]))
        else:
            found["deployments"] = _ostree.text_deployments(good("ostree admin status", output[1:]))
        if not found["deployments"]:
            message = "ostree finds no deployments, although the host runs one: is /boot mounted?"
            raise FactProcessError(message)
        if _ostree.having(found["deployments"], "booted") is None:
            message = "none of the deployments is the one that runs: is another system's /boot mounted?"
            raise FactProcessError(message)
        return found


class ImageHistory(FactBase[list[Commit] | None]):
    """
    Returns the commits of a branch that this host has pulled, newest first; None for a host without images:

    .. code:: python

        [{"checksum": "965c1a...", "parent": None, "version": "5.0_minimal.1", "date": "2025-05-01 10:00:00 +0000",
          "subject": "Photon minimal"}]

    `ref` is `remote:ref` or a local one. A host has no more of the history than it pulled. Source of the format:
    `ostree log`.
    """

    @override
    def command(self, ref: str) -> str:
        return on_image_host(_ostree.framed(f"ostree log -- {shlex.quote(ref)}"))

    @override
    @contained
    def process(self, output: list[str]) -> list[Commit] | None:
        return None if is_package_host(output) else _ostree.log(good("ostree log", output))


class RemoteImages(FactBase[list[Commit] | None]):
    """
    Returns the commits of a branch as its remote has them now, newest first, in the form of `ImageHistory`.

    Only what describes the commits is fetched, and its signature checked if the remote says so: no image. `depth` is
    how many generations before the newest are asked for, -1 for all. A server whose summary is stale answers with what
    was the newest when it was made. Source of the format: `ostree pull --commit-metadata-only`, `ostree log`.
    """

    @override
    def command(self, remote: str, ref: str, depth: int = 0) -> str:
        pull = f"ostree pull --commit-metadata-only --depth={int(depth)} -- {shlex.quote(remote)} {shlex.quote(ref)}"
        log = f"ostree log -- {shlex.quote(f'{remote}:{ref}')}"
        script = shlex.quote(f"{pull} >/dev/null && {log}")
        return on_image_host(_ostree.framed(f"sh -c {script}", FETCH_SECONDS))

    @override
    @contained
    def process(self, output: list[str]) -> list[Commit] | None:
        return None if is_package_host(output) else _ostree.log(good("ostree pull", output))


class OstreeRemotes(FactBase[dict[str, Remote] | None]):
    """
    Returns the remotes that images come from, by name; None for a host without images:

    .. code:: python

        {"photon": {
            "url": "https://images.example.com/repo", "gpg_verify": True, "gpg_verify_summary": False,
            "tls_ca_path": None, "file": "/etc/ostree/remotes.d/photon.conf", "keys": ["2F2A4DD5..."], "other": {},
        }}

    `keys` are the fingerprints of the keys that its commits may be signed with. Source of the format: ostree's own
    files, ostree.repo-config(5), and its keyrings NAME.trustedkeys.gpg.
    """

    @override
    def command(self) -> str:
        files = read_command(_ostree_remotes.CONFIG, f"{_ostree_remotes.DIRECTORY}/*.conf")
        return on_image_host(f"{{ {files}; }} && {_ostree_remotes.KEYRINGS_COMMAND}")

    @override
    @contained
    def process(self, output: list[str]) -> dict[str, Remote] | None:
        return None if is_package_host(output) else _ostree_remotes.remotes(output)


class EtcDifferences(FactBase[list[Difference] | None]):
    """
    Returns the files below /etc that are not as the image has them; None for a host without images:

    .. code:: python

        [{"path": "/etc/motd", "change": "removed"}, {"path": "/etc/site.conf", "change": "added"}]

    The third change is "modified". Source of the format: `ostree admin config-diff`.
    """

    @override
    def command(self) -> str:
        return on_image_host(_ostree.framed("ostree admin config-diff"))

    @override
    @contained
    def process(self, output: list[str]) -> list[Difference] | None:
        return None if is_package_host(output) else _ostree.differences(good("ostree admin config-diff", output))


class FinalizeFailure(FactBase[str | None]):
    """
    Returns why the update that was staged before this boot is not there; "" when none failed, None for another host:

    .. code:: python

        "/boot is full: the kernel of the new image does not fit beside the others. ..."

    A staged update is put in place at shutdown. When that fails the host comes back on the old one, and nothing in the
    list of deployments says so. Source of the format: ostree's /boot/ostree/finalize-failure.stamp, and the unit
    ostree-boot-complete.service, which takes that file away and fails with its text.
    """

    @override
    def command(self) -> str:
        stamp, unit = "/boot/ostree/finalize-failure.stamp", "ostree-boot-complete.service"
        return on_image_host(
            f"if [ -s {stamp} ]; then cat {stamp}; elif systemctl is-failed --quiet {unit}; then echo '= failed'; "
            f"journalctl -b -u {unit} -o cat --no-pager; else echo '= none'; fi"
        )

    @override
    def process(self, output: list[str]) -> str | None:
        if is_package_host(output):
            return None
        if output[:1] == ["= none"]:
            return ""
        if not output:
            message = "the host did not say whether its last update was put in place"
            raise FactProcessError(message)
        errors = [line.removeprefix("error: ") for line in output if line.startswith("error: ")]
        text = "; ".join(errors or [line for line in output if line.strip() and not line.startswith("= ")])
        return known(text) or f"the update was not put in place at shutdown: {text or 'nobody knows why'}"


class Space(TypedDict):
    """Bytes; `separate`: it is a file system of its own."""

    free: int
    size: int
    separate: bool


class BootSpace(FactBase[Space | None]):
    """
    Returns the space on the file system of /boot, in bytes; None for a host without images:

    .. code:: python

        {"free": 104857600, "size": 314572800, "separate": True}

    `free` is what anybody may write: what ext4 keeps for itself not even root has. Source of the format: GNU
    coreutils' `stat -f`, mountpoint(1).
    """

    @override
    def command(self) -> str:
        return on_image_host("stat -f -c '%a %b %S' /boot && { mountpoint -q /boot && echo yes || echo no; }")

    @override
    @contained
    def process(self, output: list[str]) -> Space | None:
        if is_package_host(output):
            return None
        try:
            free, size, block = (int(word) for word in output[0].split())
            separate = {"yes": True, "no": False}[output[1]]
        except (ValueError, IndexError, KeyError) as error:
            message = f"stat -f /boot answered {output!r}"
            raise AnswerError(message) from error
        return {"free": free * block, "size": size * block, "separate": separate}
