"""Whether an image host comes back from an image that does not boot, and what became of the last one that was tried.

Contract: as facts/ostree.py. A host that was not booted from an ostree deployment answers None.
"""

from __future__ import annotations

import re
from typing import Literal, TypedDict

from pyinfra.api import FactBase
from typing_extensions import override

from facts._answer import AnswerError
from facts.ostree import is_package_host, on_image_host
from facts.tdnf import contained

__all__ = ["ARGUMENTS", "BootTry", "Try", "is_its_fault"]

STATE = "/var/lib/photon-fleet/update/try"
GRUB = "/boot/grub2"
OURS = "# Photon Fleet: "
ARGUMENTS = {"panic": "10", "rd.shell": "0", "rd.emergency": "reboot"}
"""Kernel arguments with which a boot that fails ends in another boot: in the kernel, and in dracut's initramfs."""

_WRITABLE = {"ext2", "ext3", "ext4", "xfs", "vfat"}
_LAYERED = re.compile(r"/dev/(?:mapper/|dm-|md)")

NOT_SAID = "the host runs another image, and has not said why"
CHANCES = {
    "the boot loader did not start it", "it came up, and the host was booted again before it was proved",
    "it was not put in place at shutdown", NOT_SAID,
}  # fmt: skip
"""Words of templates/update/try_boot.sh about what is no fault of the image."""

State = Literal["none", "armed", "trying", "back"]


class Try(TypedDict):
    """`cannot`: why the host would stay down, in sentences; `missing`: kernel arguments that it has not been given.

    `state` is of the last try: none, armed (before its reboot), trying (the new image runs, and is not proved), or back
    (the host runs the old one again: `why`). `version` and `checksum` are the new image's.
    """

    cannot: list[str]
    missing: list[str]
    state: State
    version: str
    checksum: str
    why: str


def is_its_fault(why: str) -> bool:
    """Whether a host has come back from an image for a reason that the next try would meet again."""
    return bool(why) and why not in CHANCES


class BootTry(FactBase[Try | None]):
    """
    Returns whether the host comes back from an image that does not boot, and what became of the last that was tried:

    .. code:: python

        {"cannot": [], "missing": ["panic=10"], "state": "back", "version": "5.0_minimal.7", "checksum": "965c1a...",
         "why": "it did not come up"}

    Source of the format: grub2-mkconfig's /boot/grub2/grub.cfg and its 41_custom, the options of ostree's files in
    /boot/loader/entries, findmnt(8), and our own notes, written by templates/update/try_boot.sh.
    """

    @override
    def command(self) -> str:
        return on_image_host(
            f'echo "menu $(readlink {GRUB}/grub.cfg)"; '
            f"! grep -q custom.cfg {GRUB}/grub.cfg 2>/dev/null || echo sourced; "
            f"[ ! -e {GRUB}/custom.cfg ] || sed -n '1s/^/custom /p' {GRUB}/custom.cfg; "
            "findmnt -nro FSTYPE,SOURCE -T /boot | sed 's/^/boot /'; "
            "sed -n '/^options /p' /boot/loader/entries/*.conf; "
            "l=$(sed -n 's/.*ostree=\\([^ ]*\\).*/\\1/p' /proc/cmdline); l=$(readlink -f \"/sysroot$l\"); "
            'echo "runs ${l##*/}"; echo "id $(cat /proc/sys/kernel/random/boot_id)"; '
            f"[ ! -e {STATE}/noted ] || sed 's/^/noted /' {STATE}/noted; "
            f"[ ! -e {STATE}/back ] || sed 's/^/back /' {STATE}/back; echo end"
        )

    @override
    @contained
    def process(self, output: list[str]) -> Try | None:
        if is_package_host(output):
            return None
        if output[-1:] != ["end"]:
            message = f"what was asked about the boot loader was answered in part: {output!r}"
            raise AnswerError(message)
        lines = [line.partition(" ")[::2] for line in output[:-1]]
        noted = {key: value for _, _, rest in (line.partition("noted ") for line in output if line.startswith("noted "))
                 for key, _, value in [rest.partition(" ")]}  # fmt: skip
        said = dict(lines)
        found: Try = {
            "cannot": _cannot(said), "missing": _missing([value for key, value in lines if key == "options"]),
            "state": "none", "version": "", "checksum": "", "why": "",
        }  # fmt: skip
        if noted:
            found["version"] = noted.get("version", "")
            found["checksum"] = noted.get("new", "").partition(".")[0]
            found["state"], found["why"] = _state(said, noted)
        return found


def _cannot(said: dict[str, str]) -> list[str]:
    found = []
    if said.get("menu") != "../loader/grub.cfg":
        found.append(f"its boot loader is not GRUB with ostree's menu ({GRUB}/grub.cfg does not lead to it)")
    elif "sourced" not in said:
        found.append("GRUB's menu reads no custom.cfg (/etc/grub.d/41_custom is missing)")
    if "custom" in said and not said["custom"].startswith(OURS):
        found.append(f"{GRUB}/custom.cfg is somebody else's")
    filesystem, _, source = said.get("boot", "").partition(" ")
    if filesystem not in _WRITABLE or _LAYERED.match(source):
        found.append(f"GRUB cannot write to its /boot ({filesystem or 'nothing'} on {source or 'nothing'})")
    return found


def _missing(options: list[str]) -> list[str]:
    """The arguments that not every entry of the menu has; a value that somebody else chose is theirs."""
    if not options:
        message = "the boot menu has no entries: is /boot mounted?"
        raise AnswerError(message)
    given = [{word.partition("=")[0] for word in line.split() if word != "panic=0"} for line in options]
    return [f"{key}={value}" for key, value in ARGUMENTS.items() if not all(key in words for words in given)]


def _state(said: dict[str, str], noted: dict[str, str]) -> tuple[State, str]:
    if "back" in said:
        return "back", said["back"]
    if said.get("runs") == noted.get("new"):
        return "trying", ""
    if said.get("id") == noted.get("boot"):
        return "armed", ""
    return "back", NOT_SAID
