"""What the operations for updates decide, and the shell text they run. Pure, as _tdnf.py, with the same contract."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from facts._conffiles import MINVERSIONS
from facts.tdnf import update_words
from operations._tdnf import NAME, PROTECTED, RUN_LIMIT, VERSION, quoted, refuse, require_match, say

if TYPE_CHECKING:
    from facts._types import Advisory, Holds, Package, Plan, Update
    from facts._update import Due, Step, Transaction

MINVERSIONS_FILE = f"{MINVERSIONS}/photon-fleet.conf"
"""The one file of least versions that is ours."""
UPDATE_NUMBER = "/etc/tdnf/vars/updatenumber"
KERNELS = frozenset({"linux", "linux-esx", "linux-rt", "linux-aws", "linux-secure"})
"""Packages of which several versions are installed side by side (`installonly_limit` of tdnf.conf)."""
PATTERN = re.compile(r"[A-Za-z0-9*?\[][A-Za-z0-9._+*?\[\]-]*")
_NUMBER = re.compile(r"latest|[0-9]{1,6}")
_HIGHEST = 10.0


@dataclass(frozen=True)
class Target:
    """A package as it has to be after a transaction; `version` is `version-release`, "" when it has to be gone."""

    name: str
    version: str


def require_names(values: Sequence[str], kind: str, pattern: re.Pattern[str] = NAME) -> tuple[str, ...]:
    """The values, each once.

    Raises:
        OperationError: one text instead of several, or one that is no name.
    """
    if isinstance(values, str):
        message = f"{values!r} is one text: a list of {kind}s is needed"
        raise refuse(message)
    return tuple(dict.fromkeys(require_match(pattern, value, kind) for value in values))


def require_wish(names: Sequence[str], exclude: Sequence[str], minimum_score: float, *, security: bool) -> None:
    """Refuse what cannot be meant.

    Raises:
        OperationError: with the reason.
    """
    require_names(names, "package name")
    require_names(exclude, "package name or pattern", PATTERN)
    if names and (security or minimum_score):
        message = "names and a severity: one of the two says which packages are updated"
        raise refuse(message)
    if not 0 <= minimum_score <= _HIGHEST:
        message = f"{minimum_score!r} is no CVSS score from 0 to {_HIGHEST:g}"
        raise refuse(message)


def require_single(installed: Mapping[str, Sequence[Package]]) -> None:
    """End the operation where an interrupted transaction has left two versions of a package.

    Raises:
        OperationError: with their names; tdnf neither shows nor mends them.
    """
    if twice := twice_installed(installed):
        message = (
            f"two versions are installed of {', '.join(twice)}: a transaction was interrupted. Run "
            "deploys/fixes/repair_packages.py first"
        )
        raise refuse(message)


def twice_installed(installed: Mapping[str, Sequence[Package]]) -> list[str]:
    """Names of which several versions of one architecture are installed, kernels excepted."""
    return sorted(
        name for name, versions in installed.items()
        if name not in KERNELS and len({one["arch"] for one in versions}) < len(versions)
    )  # fmt: skip


def without(names: Iterable[str], exclude: Sequence[str]) -> tuple[str, ...]:
    """The names that no exclusion matches: tdnf refuses a package that is named and excluded."""
    return tuple(name for name in names if not any(fnmatchcase(name, each) for each in exclude))


def chosen(
    advisories: Iterable[Advisory], installed: Mapping[str, object], exclude: Sequence[str], holds: Holds
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The installed packages that advisories are about, sorted: those to be updated, and those that are held.

    A held package that is named makes tdnf refuse the whole transaction; one that is not named it leaves out.
    """
    named = {package.rsplit("-", 2)[0] for advisory in advisories for package in advisory["packages"]}
    wanted = set(without(sorted(named & set(installed)), exclude))
    held = wanted & {name for names in holds["locks"].values() for name in names}
    return tuple(sorted(wanted - held)), tuple(sorted(held))


def left_open(advisories: Iterable[Advisory], installed: Mapping[str, object], chosen: Sequence[str]) -> list[str]:
    """The ids of the advisories that an update of the chosen packages leaves open."""
    return [
        each["id"] for each in advisories
        if ({package.rsplit("-", 2)[0] for package in each["packages"]} & set(installed)) - set(chosen)
    ]  # fmt: skip


def held_back(plan: Plan, held: Iterable[Sequence[str]]) -> list[str]:
    """The packages of a plan whose new version was gone back from."""
    versions = {(name, version) for name, version in held}
    arriving = (*plan["install"], *plan["upgrade"], *plan["downgrade"])
    return sorted({one["name"] for one in arriving if (one["name"], _without_epoch(one["evr"])) in versions})


def nothing() -> Plan:
    """A plan that does nothing."""
    return {
        "install": [], "upgrade": [], "downgrade": [], "reinstall": [], "remove": [], "obsolete": [], "trouble": []
    }  # fmt: skip


def targets(plan: Plan) -> list[Target]:
    """What has to be true after a plan was carried out."""
    arriving = [*plan["install"], *plan["upgrade"], *plan["downgrade"], *plan["reinstall"]]
    leaving = {package["name"] for package in plan["remove"]} - {package["name"] for package in arriving}
    return [
        *(Target(package["name"], _without_epoch(package["evr"])) for package in arriving),
        *(Target(name, "") for name in sorted(leaving)),
    ]


def lines_of(plan: Plan, installed: Mapping[str, Sequence[Package]]) -> list[str]:
    """A plan for a person: one line for each package, with the versions that are installed."""
    steps = {
        "install": plan["install"], "upgrade": plan["upgrade"], "downgrade": plan["downgrade"],
        "reinstall": plan["reinstall"], "remove": plan["remove"],
    }  # fmt: skip
    lines = []
    for what, packages in steps.items():
        for package in packages:
            name, evr = package["name"], _without_epoch(package["evr"])
            old = ", ".join(one["evr"] for one in installed.get(name, ()))
            lines.append(f"{what} {name} {evr}" + (f" (installed: {old})" if old and what != "remove" else ""))
    return lines


def _without_epoch(evr: str) -> str:
    return evr.rpartition(":")[2]


def targets_of_steps(steps: Iterable[Step]) -> list[Target]:
    """The same for the plan of a rollback."""
    listed = list(steps)
    arriving = {step["name"] for step in listed if step["what"] not in {"remove", "obsolete"}}
    return [
        Target(step["name"], _without_epoch(step["evr"]) if step["name"] in arriving else "")
        for step in listed
        if step["name"] in arriving or step["what"] == "remove"
    ]


def require_safe(wanted: Iterable[Target], what: str) -> None:
    """Refuse a transaction that takes away what a host cannot be reached or repaired without.

    Raises:
        OperationError: it does.
    """
    if gone := sorted(target.name for target in wanted if not target.version and target.name in PROTECTED):
        message = f"{what} would remove {', '.join(gone)}: the host could not be reached or repaired without"
        raise refuse(message)


def files_of(plan: Plan) -> list[str]:
    """Names of the package files that a plan needs."""
    arriving: list[Update] = [*plan["install"], *plan["upgrade"], *plan["downgrade"], *plan["reinstall"]]
    return sorted(f"{one['name']}-{_without_epoch(one['evr'])}.{one['arch']}.rpm" for one in arriving)


def update_command(names: Sequence[str], exclude: Sequence[str], wanted: Iterable[Target]) -> str:
    """One transaction, and the proof of it."""
    words = " ".join(["-y update", *update_words(names, exclude)])
    return f"LC_ALL=C {RUN_LIMIT} tdnf {words} </dev/null && {proof_of(wanted)}"


def download_command(names: Sequence[str], exclude: Sequence[str], files: Sequence[str]) -> str:
    """Fetch what a transaction needs, and prove that it is there."""
    words = " ".join(["-y update --downloadonly", *update_words(names, exclude)])
    wrong = say("tdnf reported no error, but $p is not in its cache: a repository may be answering rubbish")
    return (
        f"LC_ALL=C {RUN_LIMIT} tdnf {words} </dev/null && {{ bad=0; for p in {quoted(files)}; do "
        f'[ -n "$(find /var/cache/tdnf -name "$p" -type f)" ] || {{ {wrong}; bad=1; }}; done; [ $bad = 0 ]; }}'
    )


def rollback_command(to: int, wanted: Iterable[Target]) -> str:
    """Carry a rollback out in plain text: with `-j` tdnf would do so even when it was only asked about."""
    return f"LC_ALL=C {RUN_LIMIT} tdnf history rollback {to} -y </dev/null && {proof_of(wanted)}"


def proof_of(wanted: Iterable[Target]) -> str:
    """Shell text that fails, with a sentence for each, when a package is not as it has to be, or there twice."""
    listed = list(wanted)
    there = [f"{target.name}={target.version}" for target in listed if target.version]
    gone = [target.name for target in listed if not target.version]
    proofs = ["bad=0"]
    if there:
        other = say("tdnf reported no error, but $p is not at $v: a repository may be answering rubbish")
        twice = say("two versions of $p are installed now: run deploys/fixes/repair_packages.py")
        kernels = "|".join(sorted(KERNELS))
        proofs.append(
            f"for x in {quoted(there)}; do p=${{x%%=*}}; v=${{x#*=}}; "
            "f=$(rpm -q --qf '%{VERSION}-%{RELEASE}\\n' \"$p\" 2>/dev/null); "
            f'printf \'%s\\n\' "$f" | grep -Fxq -e "$v" || {{ {other}; bad=1; }}; '
            f'case $p in {kernels}) ;; *) [ "$(printf \'%s\\n\' "$f" | sort -u | wc -l)" -le 1 ] || '
            f"{{ {twice}; bad=1; }} ;; esac; done"
        )
    if gone:
        left = say("tdnf reported no error, but $p is still installed")
        proofs.append(f'for p in {quoted(gone)}; do ! rpm -q "$p" >/dev/null 2>&1 || {{ {left}; bad=1; }}; done')
    return f"{{ {'; '.join(proofs)}; [ $bad = 0 ]; }}"


def repair_command(name: str) -> str:
    """Finish an interrupted transaction for one package: the version that came last stays, and is laid down whole.

    rpm leaves the files that both versions have; without its scripts the one that goes cannot switch anything off.
    """
    word = shlex.quote(name)
    wrong = say(f"{name} is not whole: rpm -V shows its files")
    return (
        f'keep=$(rpm -q --last {word} | head -n 1 | cut -d" " -f1) && for each in $(rpm -q {word}); do '
        f'[ "$each" = "$keep" ] || rpm -e --nodeps --noscripts "$each" || exit 1; done; '
        f"LC_ALL=C {RUN_LIMIT} tdnf reinstall -y {word} </dev/null && "
        f'{{ [ "$(rpm -q {word})" = "$keep" ] && '
        f"! rpm -V --nomtime --noconfig {word} | grep -q . || {{ {wrong}; false; }}; }}"
    )


def needs_reboot(due: Due) -> bool:
    """Whether only a reboot brings what is installed into use; services alone can be restarted."""
    return bool(due["kernel"] or due["staged"] or "init.scope" in due["libraries"])


def require_transaction(to: int, known: Sequence[Transaction]) -> None:
    """End the operation when tdnf does not know the transaction.

    Raises:
        OperationError: with those that it knows.
    """
    lines = {one["id"]: f"{one['id']}: {one['command']}" for one in known}
    if not lines:
        message = "tdnf keeps no history on this host (tdnf 3.5 and later do): it cannot go back to a transaction"
        raise refuse(message)
    if to not in lines:
        last = "; ".join([*lines.values()][-5:])
        message = f"tdnf's history has no transaction {to}; the last ones are {last}"
        raise refuse(message)


def require_number(number: str) -> str:
    """The level of updates, `latest` or a number.

    Raises:
        OperationError: something else.
    """
    return require_match(_NUMBER, number, "level of updates, such as 12 or latest")


def minversions_text(wanted: Mapping[str, str]) -> str:
    """The text of our file of least versions.

    Raises:
        OperationError: a name or version of another form.
    """
    lines = [
        f"{require_match(NAME, name, 'package name')}={require_match(VERSION, version, 'version')}\n"
        for name, version in sorted(wanted.items())
    ]
    return "".join(lines)
