"""Which host goes in which wave, and with which others: decided beforehand, always alike, and written down.

Hosts of one failure domain (an ESXi host, a datastore, an anti-affinity rule) are never in one wave while there is a
way around it: a canary's trouble must not be a whole rack's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from deploys.refusal import Refusal


@dataclass(frozen=True)
class Candidate:
    """A host that is to be in a rollout.

    Args:
        groups: of the inventory.
        domains: its failure domains, such as "esxi:esx-3"; those that share one are kept apart.
    """

    name: str
    groups: tuple[str, ...] = ()
    domains: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Step:
    """How many hosts a wave has, and which: exactly one of the fields is given.

    Args:
        count: so many.
        percent: of all hosts of the rollout; at least one.
        group: all of a group that are left.
        rest: all that are left.
        apart: no two of one failure domain; what would be is left for later waves.
    """

    count: int | None = None
    percent: float | None = None
    group: str | None = None
    rest: bool = False
    apart: bool = True

    @property
    def label(self) -> str:
        """How it is called in words."""
        if self.count is not None:
            return f"{self.count} host{'' if self.count == 1 else 's'}"
        if self.percent is not None:
            return f"{self.percent:g} %"
        return f"group {self.group}" if self.group is not None else "the rest"


@dataclass(frozen=True)
class Wave:
    """Hosts that go together, in units of hosts that one run takes."""

    name: str
    units: tuple[tuple[str, ...], ...]
    apart: bool = True
    step: int = 0
    """The number, from 0, of the step that it is of."""
    hosts: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", tuple(name for unit in self.units for name in unit))


def order(candidates: Iterable[Candidate], salt: str) -> list[Candidate]:
    """The order in which hosts are taken: the same for the same rollout, and another one for the next.

    By a digest of name and salt: the canaries change from rollout to rollout, and cannot be foreseen from
    their names, but everybody who knows the salt comes to the same order.
    """
    return sorted(candidates, key=lambda each: (hashlib.sha256(f"{salt}\0{each.name}".encode()).digest(), each.name))


def waves(
    candidates: Sequence[Candidate], steps: Sequence[Step], salt: str, unit_hosts: int = 20,
    groups: Collection[str] | None = None,
) -> list[Wave]:  # fmt: skip
    """The waves of a rollout; every host is in exactly one.

    What the steps leave over goes into as many waves more as its failure domains need.

    Args:
        candidates: the hosts.
        steps: what the waves are to be, in order.
        salt: what tells this rollout from others, such as its revision.
        unit_hosts: how many hosts one run takes at the most.
        groups: those that there are, also of hosts that are in no wave; None: those of the candidates.

    Raises:
        Refusal: a step is of a group that there is not.
    """
    _require_groups({name for each in candidates for name in each.groups} if groups is None else groups, steps)
    left, total = order(candidates, salt), len(candidates)
    made: list[Wave] = []
    for number, step in enumerate([*steps, *([] if steps and steps[-1].rest else [Step(rest=True)])]):
        taken = _taken(left, step, total)
        while taken:
            made.append(Wave(step.label, _units(taken, unit_hosts), step.apart, number))
            names = {each.name for each in taken}
            left = [each for each in left if each.name not in names]
            # Whoever had to stay behind for its domain's sake follows in a wave of its own.
            taken = _taken(left, step, total) if step.rest or step.group is not None else []
    return made


def _taken(left: Sequence[Candidate], step: Step, total: int) -> list[Candidate]:
    """Those of a step: the first ones that may go together."""
    fitting = [each for each in left if step.group is None or step.group in each.groups]
    most = len(fitting)
    if step.count is not None:
        most = step.count
    elif step.percent is not None:
        most = max(1, math.floor(total * step.percent / 100))
    taken: list[Candidate] = []
    used: set[str] = set()
    for each in fitting:
        if len(taken) >= most:
            break
        if not step.apart or not used & each.domains:
            taken.append(each)
            used |= each.domains
    return taken


def _units(taken: Sequence[Candidate], most: int) -> tuple[tuple[str, ...], ...]:
    """Even shares: the last one is no leftover of one host."""
    count = math.ceil(len(taken) / most)
    size, more = divmod(len(taken), count)
    units, begin = [], 0
    for number in range(count):
        end = begin + size + (number < more)
        units.append(tuple(each.name for each in taken[begin:end]))
        begin = end
    return tuple(units)


def _require_groups(known: Collection[str], steps: Sequence[Step]) -> None:
    unknown = [step.group for step in steps if step.group is not None and step.group not in known]
    if unknown:
        message = f"rollout.waves: the inventory has no group {unknown[0]}"
        raise Refusal(message)


def domains_shared(wave: Sequence[Candidate]) -> Mapping[str, list[str]]:
    """The failure domains of which a wave has more than one host, and those hosts."""
    found: dict[str, list[str]] = {}
    for each in wave:
        for domain in sorted(each.domains):
            found.setdefault(domain, []).append(each.name)
    return {domain: names for domain, names in found.items() if len(names) > 1}
