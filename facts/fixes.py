"""What the fixes for on call look at before they do something."""

from __future__ import annotations

import re
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

CHAIN = "PHOTON-FLEET-BLOCK"
TDNF_LOCK = "/var/run/.tdnf-instance-lockfile"


class KeyHolders(FactBase[list[str]]):
    """
    Returns the users whose ~/.ssh/authorized_keys has a key, sorted:

    .. code:: python

        ["ann", "root"]

    `key` is the key in base64, which no option or comment changes. What users have written themselves is not printed.
    Source of the format: passwd(5), sshd(8).
    """

    @override
    def command(self, key: str) -> StringCommand:
        script = (
            "cut -d: -f1,6 /etc/passwd | while IFS=: read -r user home; do "
            'f=$home/.ssh/authorized_keys; if [ -f "$f" ] && grep -qF -- "$1" "$f"; then echo "$user"; fi; done'
        )
        return StringCommand("sh -c", QuoteString(script), "sh", QuoteString(key))

    @staticmethod
    @override
    def default() -> list[str]:
        return []

    @override
    def process(self, output: list[str]) -> list[str]:
        return sorted(output)


class Reclaimable(TypedDict):
    """Bytes that could be freed; `free` are those that are free now on the file system of /var. -1: cannot be told."""

    journal: int
    tdnf: int
    images: int
    free: int


class DiskSpace(FactBase[Reclaimable]):
    """
    Returns what a full disk could give back:

    .. code:: python

        {"journal": 83886080, "tdnf": 1048576, "images": 0, "free": 10737418240}

    `journal` is all that the journal takes, `images` the size of images without a name that no container uses. Source
    of the format: GNU coreutils' du and df, docker-image-ls(1).
    """

    @override
    def command(self) -> str:
        return (
            "echo journal $(du -sb /var/log/journal /run/log/journal 2>/dev/null | cut -f1); "
            "echo tdnf $(du -sb /var/cache/tdnf 2>/dev/null | cut -f1); "
            "echo images $(docker image ls -q --filter dangling=true 2>/dev/null | sort -u | "
            "xargs -r docker image inspect --format '{{.Size}}' 2>/dev/null); "
            "echo free $(df --output=avail -B1 /var | tail -n 1)"
        )

    @override
    def process(self, output: list[str]) -> Reclaimable:
        found = {}
        for line in output:
            name, *sizes = line.split()
            if not all(size.isdigit() for size in sizes):
                message = f"expected sizes, found {line!r}"
                raise FactProcessError(message)
            found[name] = sum(map(int, sizes))
        try:
            return {name: found[name] for name in ("journal", "tdnf", "images", "free")}  # type: ignore[return-value]
        except KeyError as error:
            message = f"the host did not tell the size of {error}"
            raise FactProcessError(message) from error


class Lock(TypedDict):
    """`held_by`: process id and command line, when a process holds it; `packagers`: those of tdnf and rpm that run."""

    there: bool
    held_by: str
    packagers: list[str]


class TdnfLock(FactBase[Lock]):
    """
    Returns tdnf's instance lock and who holds it:

    .. code:: python

        {"there": True, "held_by": "812 tdnf -y update", "packagers": ["812 tdnf -y update"]}

    tdnf takes a POSIX lock on the file (tdnf 3.5, common/lock.c); a file that nobody has locked is a leftover. Source
    of the format: proc(5), /proc/locks; ps(1).
    """

    @override
    def command(self) -> str:
        return (
            f"f={TDNF_LOCK}; if [ -e $f ]; then echo there; i=$(stat -c %i $f); "
            'pid=$(while read -r _ kind _ _ pid file _; do case $kind:$file in POSIX:*:"$i") echo "$pid";; esac; '
            'done < /proc/locks | head -n 1); if [ -n "$pid" ]; then echo "held $pid '
            '$(tr "\\0" " " < /proc/$pid/cmdline 2>/dev/null)"; fi; fi; '
            "ps -eo pid=,args= | grep -E '^ *[0-9]+ ([^ ]*/)?(python3? [^ ]*/)?(tdnf|yum|tyum|rpm)( |$)' | "
            "sed 's/^ */packager /'; echo end"
        )

    @override
    def process(self, output: list[str]) -> Lock:
        held = [line.removeprefix("held ").strip() for line in output if line.startswith("held ")]
        if output[-1:] != ["end"]:
            message = f"the answer ended early: {output!r}"
            raise FactProcessError(message)
        packagers = [line.removeprefix("packager ").strip() for line in output if line.startswith("packager ")]
        return {"there": "there" in output, "held_by": held[0] if held else "", "packagers": packagers}


class Blocks(FactBase[list[str]]):
    """
    Returns the source addresses that are blocked for a limited time:

    .. code:: python

        ["203.0.113.7/32"]

    Source of the format: iptables(8), `-S` of the chain that operations/fixes.py keeps in the raw table.
    """

    @staticmethod
    @override
    def default() -> list[str]:
        return []

    @override
    def command(self) -> str:
        return f"iptables -w 5 -t raw -S {CHAIN} 2>/dev/null; ip6tables -w 5 -t raw -S {CHAIN} 2>/dev/null; true"

    @override
    def process(self, output: list[str]) -> list[str]:
        return [found[1] for line in output if (found := re.search(r" -s (\S+) -j DROP$", line))]
