"""How an inventory is written: `group()`, `host()` and `fleet()`.

    web = group("web", Firewall(rules=[Rule(name="http", ports=[80])]))
    hosts = fleet(
        host("web-1", web, address="10.0.0.11"),
    )

`fleet()` merges the policies of every host, checks all of them and the command line (`--limit`, `--data only=`), and
raises one `InputError` with everything that is wrong, before any connection. A host's effective policies are in
`host.data.policies` (an `Effective`).
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pyinfra import config, state

from deploys.errors import InputError, near
from deploys.policies import POLICIES, names_in
from deploys.policies.base import Policy
from deploys.policies.cloud_vm import CloudVm
from deploys.policies.hardening import Hardening
from deploys.policies.vm import Vm, shared_macs
from deploys.rollout import ONLY
from inventories._entries import each_by_name, entries_of_run, is_about_machines
from inventories._hardened import Hardened, harden
from inventories._merge import Effective, Provenance, Source, merge
from inventories._recorded import recorded

OPTIONS = ("only", "prove", "why")
"""What every entry takes by `--data`. Any other name is the user's own, unless it looks like one of these."""
MORE_OPTIONS = frozenset(
    "address commit count detach download exclude expired hold hours if_due journal minutes name new no_way_back now "
    "of old packages parts plan promote reboot remove score seconds security snapshot sync to unblock unit "
    "version".split()
)
"""What single entries and fixes take. Nothing is held against these: `ssh_port` looks like `snapshot`."""

Entry = tuple[str, dict[str, Any]]
_Given = tuple[tuple[Source, int], ...]
_Merged = tuple[Policy | None, Provenance, list[str]]
_Known = dict[_Given | tuple[int, ...], Any]


class Group(list[Entry]):
    """A pyinfra group (a list of hosts) that gives its hosts policies. Assign it to a variable of the same name."""

    def __init__(self, label: str, policies: Sequence[Policy]) -> None:
        super().__init__()
        self.label = label
        self.policies = tuple(policies)


@dataclass(frozen=True)
class Host:
    """A host of the inventory before its policies are merged."""

    name: str
    groups: tuple[Group, ...]
    own: tuple[Policy, ...]
    data: Mapping[str, Any]


def group(label: str, *policies: Policy) -> Group:
    """A group of hosts and the policies that it gives them."""
    for policy in policies:
        _require_policy(f"group {label!r}", policy)
    return Group(label, policies)


def host(name: str, *given: Group | Policy, address: str | None = None, **data: Any) -> Host:  # noqa: ANN401
    """A host: its groups, its own policies (which win over its groups'), its address and other pyinfra data.

    Args:
        name: the plain name, as used with `--limit`.
        given: groups and policies, in any order.
        address: where SSH reaches it; the name itself when not given.
        data: any other pyinfra host data, such as `ssh_user="admin"` or `_sudo=True`.
    """
    if not name or name.startswith(("-", "@")) or any(letter.isspace() or letter in "/,:" for letter in name):
        message = f"{name!r} is no name for a host"
        raise InputError(message)
    groups = tuple(item for item in given if isinstance(item, Group))
    own = tuple(item for item in given if not isinstance(item, Group))
    for policy in own:
        _require_policy(f"host {name!r}", policy)
    if address is not None:
        data["ssh_hostname"] = address
    return Host(name, groups, own, data)


def _require_policy(owner: str, policy: object) -> None:
    if not isinstance(policy, Policy):
        message = (
            f"{owner}: {policy!r} is not a policy; the policies are {', '.join(kind.__name__ for kind in POLICIES)}"
        )
        raise InputError(message)


def fleet(*hosts: Host, connector: str = "photon") -> list[Entry]:
    """Merge and check everything; fills the groups and returns the hosts (of a rollout's run only its own) for pyinfra.

    Raises:
        InputError: with every problem of every host.
    """
    problems: list[str] = []
    about_machines = any(is_about_machines(word) for word in entries_of_run())
    connector = "vm" if about_machines else connector
    names = [member.name for member in hosts]
    problems += sorted(f"{name}: given {times} times" for name, times in Counter(names).items() if times > 1)
    entries: list[Entry] = []
    only = os.environ.get(ONLY, "").split()
    wanted = set(only or names)
    known: _Known = {}
    machines: dict[str, Policy] = {}
    for member in hosts:
        effective = _effective(member, problems, known)
        if (machine := effective.get(Vm.name)) is not None:
            machines[member.name] = machine
        if member.name not in wanted:
            continue
        data = {**recorded(member, effective), **member.data, "policies": effective}
        reached = "cloud" if about_machines and effective.get(CloudVm.name) else connector
        entry = (f"@{reached}/{member.name}", data)
        entries.append(entry)
        for joined in member.groups:
            joined.append(entry)
    groups = {joined.label: joined for member in hosts for joined in member.groups}
    problems += shared_macs(machines)
    problems += _variables(groups.values())
    problems += _command_line(names, groups)
    if problems:
        raise InputError("the inventory cannot be used:\n    " + "\n    ".join(problems))
    return entries


def _effective(member: Host, problems: list[str], known: _Known) -> Effective:
    """Merge a host's policies; `known` has what was merged before, as hosts of one role differ in little."""
    given: dict[str, list[tuple[Source, Policy]]] = {}
    for joined in member.groups:
        for policy in joined.policies:
            given.setdefault(policy.name, []).append((Source(f"group {joined.label}"), policy))
    for policy in member.own:
        given.setdefault(policy.name, []).append((Source(f"host {member.name}", own=True), policy))
    policies: dict[str, Policy] = {}
    provenance: dict[str, Provenance] = {}
    wrong: dict[str, list[str]] = {}
    for kind in POLICIES:
        if kind.name not in given:
            continue
        same = tuple((source, id(policy)) for source, policy in given[kind.name])
        if same not in known:
            known[same] = _merged(given[kind.name])
        merged, sources, found = known[same]
        if merged is not None:
            policies[kind.name], provenance[kind.name] = merged, sources
        wrong[kind.name] = [f"{kind.name}: {text}" for text in found]
    policies, provenance = _hardened(policies, provenance, wrong, known)
    problems += [f"{member.name}: {text}" for found in wrong.values() for text in found]
    for name, policy in policies.items():
        others = {other: value for other, value in policies.items() if other != name}
        found = [f"{text}{_place(text, provenance[name], policy)}" for text in policy.conflicts(others)]
        problems += [f"{member.name}: {name}: {text}" for text in found]
    return Effective(policies, provenance)


def _hardened(
    policies: dict[str, Policy], provenance: dict[str, Provenance], wrong: dict[str, list[str]], known: _Known
) -> tuple[dict[str, Policy], dict[str, Provenance]]:
    """The policies with what the rules of the hardening policy add; `wrong` is told what stands against them."""
    hardening = policies.get(Hardening.name)
    if not isinstance(hardening, Hardening):
        return policies, provenance
    same = tuple(id(policy) for policy in policies.values())
    if same not in known:
        known[same] = _judged(harden(hardening, policies, provenance))
    made, sources, found = known[same]
    wrong |= found
    policies, provenance = {**policies, **made}, {**provenance, **sources}
    return {kind.name: policies[kind.name] for kind in POLICIES if kind.name in policies}, provenance


def _judged(filled: Hardened) -> tuple[dict[str, Policy], dict[str, Provenance], dict[str, list[str]]]:
    made, sources, problems = filled
    wrong = {
        name: [f"{name}: {text}{_place(text, sources[name], policy)}" for text in policy.problems()]
        for name, policy in made.items()
    }
    return made, sources, {**wrong, "rules": problems}


def _merged(given: Sequence[tuple[Source, Policy]]) -> _Merged:
    try:
        policy, provenance = merge(given)
    except InputError as error:
        return None, {}, [str(error)]
    return policy, provenance, [f"{text}{_place(text, provenance, policy)}" for text in policy.problems()]


def _place(problem: str, provenance: Provenance, policy: Policy) -> str:
    """Where the field that a problem begins with was written, as ` (group web, fleet.py:7)`."""
    path = problem.partition(":")[0]
    while path and path not in provenance:
        path = path.rpartition(".")[0]
    sources = provenance.get(path) or ([policy.origin] if policy.origin else [])
    return f" [{'; '.join(sources)}]" if sources else ""


def _variables(groups: Iterable[Group]) -> list[str]:
    """What pyinfra would take amiss: it makes a group of each variable of the file that is a list or tuple."""
    frame = sys._getframe(2)  # noqa: SLF001 - the inventory file that called fleet()
    problems = []
    labels = {id(joined): joined.label for joined in groups}
    for name, value in frame.f_globals.items():
        if name.startswith("_"):
            continue
        if id(value) in labels and labels[id(value)] != name:
            problems.append(f"group {labels[id(value)]!r} is in the variable {name!r}: call both the same")
        elif isinstance(value, (list, tuple)) and any(isinstance(item, (Policy, Host)) for item in value):
            problems.append(f"the variable {name!r} would be a group of pyinfra: let its name start with an underscore")
    return problems


def _never_ask() -> None:
    """Let a dry run go on past a host that fails: it changes nothing, and may have nobody to ask."""
    state.should_raise_failed_hosts = None
    config.FAIL_PERCENT = None


def _command_line(names: Sequence[str], groups: Mapping[str, Group]) -> list[str]:
    """What is wrong with pyinfra's own command line, when there is one.

    pyinfra itself answers a `--limit` that matches nothing with a warning and exit status 0.
    """
    context = click.get_current_context(silent=True)
    if context is None or "limit" not in context.params:
        return []
    known = [*names, *groups, "all", Path(str(context.params.get("inventory"))).stem]
    if any(word.endswith("host.py") for word in entries_of_run()):
        # Here as well as in the deploy file, which is never run when no host can be reached.
        from deploys._run import summarise_at_exit  # noqa: PLC0415 - only such a run needs the proof's machinery

        summarise_at_exit()
    problems = ["--no-wait would exit with 0 whatever fails: leave it out"] if context.params.get("no_wait") else []
    if context.params.get("dry"):
        _never_ask()
        if context.params.get("yes"):
            problems.append("--dry with -y would show no changes at all, as -y skips their detection: leave -y out")
    problems += each_by_name(entries_of_run(), context.params.get("limit") or (), names, groups)
    problems += [
        f"--{option} {pattern}: no such host or group{near(pattern, known)}"
        for option in ("limit", "exclude")
        for pattern in context.params.get(option) or ()
        if not any(fnmatch.fnmatch(name, pattern) for name in known)
    ]
    for argument in context.params.get("data") or ():
        key, _, value = argument.partition("=")
        if key == "only":
            _, unknown = names_in(value)
            problems += [f"--data only={value}: {text}" for text in unknown]
        elif key == "prove" and value.lower() not in {"true", "false"}:
            problems.append(f"--data prove={value}: true or false")
        elif key not in {*OPTIONS, *MORE_OPTIONS} and near(key, OPTIONS):
            problems.append(f"--data {key}: no such option{near(key, OPTIONS)}")
    return problems
