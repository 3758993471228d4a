"""Updates of a package host: what is pending and how bad it is, what was done, and whether a reboot is due.

As in facts/tdnf.py an answer that may be incomplete says so in `trouble`; a host that cannot be read fails.
"""

from __future__ import annotations

from pyinfra.api.facts import FactBase
from typing_extensions import override

from facts import _point, _tdnf, _update
from facts._answer import AnswerError, answer, command, rows
from facts._point import Point
from facts._types import Advisories
from facts._update import Boot, Due, RollbackPlan, Transaction, Variables
from facts.tdnf import contained

__all__ = [
    "BOOTED",
    "Booted",
    "DownloadedPackages",
    "HeldBack",
    "RebootDue",
    "SecurityUpdates",
    "TdnfHistory",
    "TdnfRollbackPlan",
    "TdnfVariables",
    "UpdatePoint",
]

VARIABLES = "/etc/tdnf/vars"
CACHE = "/var/cache/tdnf"
POINT = "/var/lib/photon-fleet/update/point"
_ASIDE = "/var/lib/photon-fleet/update/before"
HELD = "/var/lib/photon-fleet/update/held"
BOOTED = "cat /proc/sys/kernel/random/boot_id && uname -r && { systemctl is-system-running; true; }"
_NEXT = "##NEXT"
_ANY_NUMBER = "0.1"


class SecurityUpdates(FactBase[Advisories]):
    """
    Returns the security advisories for installed packages that are at least as severe as asked for:

    .. code:: python

        {"advisories": [{"id": "PHSA-2025-5.0-0497", "packages": ["linux-esx-6.1.138-1.ph5.x86_64"], ...}],
         "trouble": []}

    `minimum_score` is a CVSS score from 0 to 10. tdnf prints no severity; it compares what the repository's metadata
    says with a number, and takes a word (`Critical`) for 0. So it is asked three times, and an advisory that has no
    number counts as severe. The repositories are read anew. Source of the format: `tdnf -j updateinfo info`, with and
    without `--sec-severity`.
    """

    @override
    def command(self, minimum_score: float = 0.0) -> str:
        asked = ["-j updateinfo info --refresh"]
        if minimum_score > 0:
            asked += [f"-j updateinfo info --sec-severity {score}" for score in (f"{minimum_score:g}", _ANY_NUMBER)]
        return f"; echo '{_NEXT}'; ".join(command(each) for each in asked)

    @override
    @contained
    def process(self, output: list[str]) -> Advisories:
        found, trouble = [], []
        for lines in _update.parts(output, _NEXT):
            listed, wrong = rows(answer(lines))
            found.append(_tdnf.advisories(listed))
            trouble += wrong
        if len(found) not in {1, 3}:
            message = "the answer of tdnf is incomplete"
            raise AnswerError(message)
        return {"advisories": _update.severe(*found), "trouble": list(dict.fromkeys(trouble))}


class TdnfHistory(FactBase[list[Transaction]]):
    """
    Returns tdnf's transactions, oldest first:

    .. code:: python

        [{"id": 5, "command": "-y update curl", "time": 1795419698,
          "added": ["curl-8.12.0-1.ph5.x86_64"], "removed": ["curl-7.86.0-3.ph5.x86_64"]}]

    A tdnf that keeps none (before 3.5, or before its first transaction) is an empty list; one that cannot be read
    fails. Source of the format: `tdnf -j history --info`.
    """

    @override
    def command(self) -> str:
        return command("-j history --info")

    @override
    @contained
    def process(self, output: list[str]) -> list[Transaction]:
        return _update.history(answer(output))


class TdnfRollbackPlan(FactBase[RollbackPlan]):
    """
    Returns what it would take to be where the host was after a transaction, without doing any of it:

    .. code:: python

        {"changes": [{"what": "downgrade", "name": "curl", "evr": "7.86.0-3.ph5"},
                     {"what": "remove", "name": "nfs-utils", "evr": "2.6.2-11.ph5"}], "trouble": []}

    Never asked with `-j`: then tdnf carries out what was only asked about. Source of the format: the tables of
    `tdnf history rollback ID --assumeno`, which ends with status 8.
    """

    @override
    def command(self, to: int) -> str:
        return command(f"history rollback {int(to)} --assumeno")

    @override
    @contained
    def process(self, output: list[str]) -> RollbackPlan:
        return _update.rollback_plan(answer(output))


class TdnfVariables(FactBase[Variables]):
    """
    Returns tdnf's own variables, and the repositories that are pinned by a snapshot:

    .. code:: python

        {"values": {"updatenumber": "latest", "subrelease": "92"}, "snapshots": ["photon-snapshot"]}

    Source of the format: a file for each variable in /etc/tdnf/vars (tdnf 3.6), `snapshot=` in files of repositories.
    """

    @override
    def command(self) -> str:
        return (
            f'for f in {VARIABLES}/*; do [ -f "$f" ] || continue; printf \'value %s \' "${{f##*/}}"; head -n 1 "$f" '
            '|| exit 1; done; for f in /etc/yum.repos.d/*.repo; do [ -f "$f" ] || continue; '
            "sed -n 's/^[[:space:]]*\\[\\(.*\\)\\].*/id \\1/p; "
            "s/^[[:space:]]*enabled[[:space:]]*=[[:space:]]*/enabled /p; "
            's/^[[:space:]]*snapshot[[:space:]]*=.*/snapshot/p\' "$f" || exit 1; done; echo end'
        )

    @override
    @contained
    def process(self, output: list[str]) -> Variables:
        return _update.variables(output)


class DownloadedPackages(FactBase[list[str]]):
    """
    Returns the package files that tdnf has in its cache, sorted:

    .. code:: python

        ["curl-8.12.0-1.ph5.x86_64.rpm"]

    Source of the format: /var/cache/tdnf/REPOSITORY/rpms (tdnf 3.3 to 3.6).
    """

    @override
    def command(self) -> str:
        return f"[ ! -d {CACHE} ] || find {CACHE} -name '*.rpm' -type f; echo end"

    @override
    @contained
    def process(self, output: list[str]) -> list[str]:
        if output[-1:] != ["end"]:
            message = f"the list of downloaded packages ended early: {output!r}"
            raise AnswerError(message)
        return sorted({path.rpartition("/")[2] for path in output[:-1]})


_KERNEL = (
    "echo running $(uname -r); "
    # The entry of the next boot, where there is a boot loader; else the kernel package that came last.
    "if [ -L /boot/photon.cfg ]; then echo next $(readlink /boot/photon.cfg); else "
    "case $(uname -r) in *-esx) k=linux-esx;; *-rt) k=linux-rt;; *-aws) k=linux-aws;; *) k=linux;; esac; "
    "rpm -q --qf '%{INSTALLTIME} %{VERSION}-%{RELEASE}\\n' $k 2>/dev/null | grep '^[0-9]' | sort -n | "
    "sed -n '$s/^[0-9]* /package /p'; fi; "
)
# A library that was replaced while it is mapped; the unit is the last part of the process's cgroup.
_LIBRARIES = (
    "for p in /proc/[0-9]*; do l=$(sed -n 's#^.* \\(/\\(usr/\\)\\{0,1\\}lib[^ ]*\\) (deleted)$#\\1#p' $p/maps "
    "2>/dev/null | sort -u | tr '\\n' ' '); [ -z \"$l\" ] || "
    "echo uses $(sed -n 's#^0::.*/\\([^/]*\\)$#\\1#p; s#^1:name=systemd:.*/\\([^/]*\\)$#\\1#p' $p/cgroup 2>/dev/null "
    "| head -n 1) $l; done; "
)
_STAGED = "[ ! -e /run/ostree/staged-deployment ] || echo staged; echo end"


class RebootDue(FactBase[Due]):
    """
    Returns why a reboot, or the restart of services, is due:

    .. code:: python

        {"kernel": "6.1.138-1.ph5-esx is installed, 6.1.111-1.ph5-esx runs", "staged": False,
         "libraries": {"nginx.service": ["/usr/lib/libssl.so.3"]}}

    `kernel` is "" when the running one is the one of the next boot, and where no kernel of Photon's runs (a
    container). `libraries` are files that running processes have open and that were replaced since, by unit
    (`init.scope` is systemd itself, and only a reboot renews it). Source of the format: uname(1), Photon's link
    /boot/photon.cfg, rpm(8), proc(5), /run/ostree/staged-deployment of libostree.
    """

    @override
    def command(self) -> str:
        return _KERNEL + _LIBRARIES + _STAGED

    @override
    @contained
    def process(self, output: list[str]) -> Due:
        return _update.due(output)


class Booted(FactBase[Boot]):
    """
    Returns which boot this is, and how far it is:

    .. code:: python

        {"id": "6f3c2a8e-...", "kernel": "6.1.111-1.ph5-esx", "state": "running"}

    Source of the format: /proc/sys/kernel/random/boot_id, uname(1), `systemctl is-system-running`.
    """

    @override
    def command(self) -> str:
        return BOOTED

    @override
    @contained
    def process(self, output: list[str]) -> Boot:
        return _update.boot(output)


class UpdatePoint(FactBase[Point | None]):
    """
    Returns the point that the host can go back to, and how it differs from it now; None where none was noted:

    .. code:: python

        {"at": "2026-11-29T11:30:00Z", "boot": "2b477ce4-...", "of": "rollout-12", "over": [], "undone": False,
         "unproved": False, "failing": ["time.zone"],
         "gone": [("curl", "0:8.7.1-1.ph5")], "arrived": [("curl", "0:8.12.0-1.ph5")]}

    With `first` it is the one of before the first update of the same rollout. Source of the format: our own files,
    written by templates/update/point.sh, and rpm's query format.
    """

    @override
    def command(self, first: bool = False) -> str:
        query = "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\\n"
        now = f"rpm -qa --qf '{query}' | grep -v '^gpg-pubkey ' | LC_ALL=C sort"
        compared = "printf '%s\\n' \"$now\" | LC_ALL=C comm"
        return (
            # One that was killed while it noted a newer one has left it there.
            f"p={POINT}; [ -e $p ] || p={_ASIDE}; b=$p; "
            f"{'[ ! -s $p/first/installed ] || b=$p/first; ' if first else ''}"
            f"if [ -s $b/installed ]; then echo at $(cat $b/at) && echo boot $(cat $p/boot) && "
            f"{{ [ ! -s $p/of ] || sed 's/^/of /' $p/of; }} && {{ [ ! -s $p/over ] || sed 's/^/over /' $p/over; }} && "
            f"{{ [ ! -s $p/failing ] || sed 's/^/failing /' $p/failing; }} && "
            f"{{ [ ! -e $p/undone ] || echo undone; }} && "
            f"{{ [ ! -e $p/unproved ] && [ ! -e $p/expired ] || echo unproved; }} && "
            f'now=$({now}) && [ -n "$now" ] && '
            f"{compared} -23 $b/installed - | sed 's/^/gone /' && "
            f"{compared} -13 $b/installed - | sed 's/^/arrived /' && echo end; else echo none; fi"
        )

    @override
    @contained
    def process(self, output: list[str]) -> Point | None:
        return _point.point(output)


class HeldBack(FactBase[list[tuple[str, str]]]):
    """
    Returns the versions that an update has brought and that were gone back from, as (name, version-release):

    .. code:: python

        [("curl", "8.12.0-1.ph5")]

    Source of the format: our own file, written by templates/update/point.sh.
    """

    @override
    def command(self) -> str:
        return f"[ ! -e {HELD} ] || cat {HELD}; echo end"

    @override
    @contained
    def process(self, output: list[str]) -> list[tuple[str, str]]:
        return _update.held(output)
