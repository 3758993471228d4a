"""What a run would change: of each host, by policy and step; and a digest that the run itself can be held to.

A step is an operation of a policy. It is `will` when the host as it is now needs it; `may` when it depends on what an
earlier step of the same run does. A policy is unknown where the host could not be read, or refuses it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from deploys.refusal import Refusal

PLAN = "PHOTON_FLEET_PLAN"
"""Environment variable: the file in which a dry run writes down what it would do."""
PROVE = "PHOTON_FLEET_PLAN_PROVE"
"""Environment variable: such a dry run reads every check as well, when it is not empty."""
INSTALLED = "installed updates"
"""What an update policy installs, among the policies of a plan and a report."""
SCHEMA = 1

Certainty = Literal["will", "may"]


@dataclass(frozen=True)
class Step:
    """An operation that would change something. `why` is what a `may` depends on."""

    policy: str
    name: str
    certainty: Certainty = "will"
    why: str = ""


@dataclass(frozen=True)
class HostPlan:
    """What a run would do on a host.

    Args:
        steps: in the order of the run.
        unknown: policy -> why it cannot be told; under "" what is so of the whole host.
        reached: whether somebody could log in.
        failing: what its policies say and is not so, where the checks were read; a sentence each.
    """

    steps: tuple[Step, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    reached: bool = True
    failing: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether it is known that nothing would be changed, and that nothing is wrong."""
        return self.reached and not self.steps and not self.unknown and not self.failing

    @property
    def drifted(self) -> bool:
        """Whether it is known that something would be changed, or is wrong; what nobody could tell is no drift."""
        return self.reached and bool(self.steps or self.failing)

    @property
    def digest(self) -> str:
        """The same for the same steps; the reasons do not count, as they may name moments."""
        about = [[each.policy, each.name, each.certainty] for each in self.steps]
        return _digest([about, sorted(self.unknown), self.reached])

    def lines(self) -> list[str]:
        """For people."""
        if not self.reached:
            return [f"unknown  {self.unknown.get('', 'it could not be reached')}"]
        return [
            *(f"{each.certainty:7}  {each.policy}: {each.name}{f' ({each.why})' if each.why else ''}"
              for each in self.steps),
            *(f"unknown  {policy or 'the whole host'}: {why}" for policy, why in self.unknown.items()),
            *(f"not so   {words}" for words in self.failing),
        ]  # fmt: skip

    def within(self, other: HostPlan) -> bool:
        """Whether nothing is in it that is not in the other one."""
        mine, theirs = ({(each.policy, each.name) for each in plan.steps} for plan in (self, other))
        return self.reached and mine <= theirs and set(self.unknown) <= set(other.unknown)

    def differs(self, other: HostPlan) -> list[str]:
        """What is in the other one and not here, and the other way round; for people."""
        mine, theirs = ({f"{each.policy}: {each.name}" for each in plan.steps} for plan in (self, other))
        return [
            *(f"more: {name}" for name in sorted(theirs - mine)),
            *(f"no longer: {name}" for name in sorted(mine - theirs)),
            *(["what can be told of it"] if sorted(self.unknown) != sorted(other.unknown) else []),
        ] or ["the order of the steps, or how sure they are"]  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What a rollout of a commit would do: host -> its plan."""

    inventory: str
    revision: str
    base: str
    hosts: Mapping[str, HostPlan]

    @property
    def digest(self) -> str:
        """Of the commit, of the one that hosts would go back to, and of what each host would be changed in."""
        hosts = {name: plan.digest for name, plan in sorted(self.hosts.items())}
        return _digest([self.inventory, self.revision, self.base, hosts])

    def to_json(self) -> dict[str, Any]:
        """For programs, and for `rollout --plan`."""
        return {"schema": SCHEMA, "inventory": self.inventory, "revision": self.revision, "base": self.base,
                "digest": self.digest, "hosts": hosts_to_json(self.hosts)}  # fmt: skip


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def hosts_to_json(hosts: Mapping[str, HostPlan]) -> dict[str, Any]:
    """Host -> its plan, as plain values."""
    return {
        name: {"digest": plan.digest, "clean": plan.clean, "reached": plan.reached,
               "steps": [asdict(each) for each in plan.steps], "unknown": dict(plan.unknown),
               "failing": list(plan.failing)}
        for name, plan in hosts.items()
    }  # fmt: skip


def hosts_from_json(given: Mapping[str, Any]) -> dict[str, HostPlan]:
    """The other way round.

    Raises:
        KeyError, TypeError, ValueError: it is something else, or a plan is not what its digest says.
    """
    found = {}
    for name, entry in given.items():
        steps = tuple(
            Step(each["policy"], each["name"], _certainty(each["certainty"]), each["why"]) for each in entry["steps"]
        )
        plan = HostPlan(steps, dict(entry["unknown"]), entry["reached"] is True, tuple(entry["failing"]))
        if plan.digest != entry["digest"]:
            message = f"the plan of {name} is not the one that its digest is of"
            raise ValueError(message)
        found[str(name)] = plan
    return found


def _certainty(given: str) -> Certainty:
    if given == "will":
        return "will"
    if given == "may":
        return "may"
    message = f"{given!r} is neither will nor may"
    raise ValueError(message)


def read_plan(path: Path) -> Plan:
    """A plan that `plan --output` has written.

    Raises:
        Refusal: there is none, or it was changed.
    """
    try:
        given = json.loads(path.read_text())
        if given["schema"] != SCHEMA:
            message = f"{path}: its schema is {given['schema']}, and this version reads {SCHEMA}: plan anew"
            raise Refusal(message)
        plan = Plan(given["inventory"], given["revision"], given["base"], hosts_from_json(given["hosts"]))
        digest = given["digest"]
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise Refusal(message) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is no plan: {error}"
        raise Refusal(message) from error
    if plan.digest != digest:
        message = f"{path}: its digest is of another plan: it was changed by hand. Plan anew"
        raise Refusal(message)
    return plan


def write_hosts(path: Path, hosts: Mapping[str, HostPlan], *, less: bool = False) -> None:
    """Write down the plans of a run's hosts, whole or not at all. `less`: see `Bound`."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps({"schema": SCHEMA, "less": less, "hosts": hosts_to_json(hosts)}))
    new.replace(path)


def read_hosts(path: Path) -> dict[str, HostPlan]:
    """The plans of a run's hosts; none where there is no such file, or one of another version.

    A run that is bound to a plan must not take "none" for "nothing to do": it stops at a host that is not in it.
    """
    try:
        given = json.loads(path.read_text())
        return hosts_from_json(given["hosts"]) if given["schema"] == SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


@dataclass(frozen=True)
class Bound:
    """What a run is held to.

    Args:
        hosts: their plans.
        less: a run that goes on where an earlier one was cut off may find some of it done.
    """

    hosts: Mapping[str, HostPlan]
    less: bool

    @classmethod
    def read(cls, path: Path) -> Bound:
        """What was written down for a run.

        Raises:
            Refusal: it cannot be read: then the run is held to nothing, and must not be.
        """
        try:
            given = json.loads(path.read_text())
            if given["schema"] == SCHEMA:
                return cls(hosts_from_json(given["hosts"]), given["less"] is True)
            reason = f"its schema is {given['schema']}, here {SCHEMA}"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = str(error)
        message = f"the plan {path} cannot be read: {reason}"
        raise Refusal(message)

    def complaint(self, name: str, found: HostPlan) -> str:
        """What is wrong with what would be done on a host; "" when it is what was planned."""
        wanted = self.hosts.get(name)
        if wanted is None:
            return "the plan says nothing of this host"
        if found.digest == wanted.digest or (self.less and found.within(wanted)):
            return ""
        return f"what would be changed is not what was planned ({'; '.join(wanted.differs(found))})"


def shown(plan: Plan, names: Iterable[str] | None = None) -> list[str]:
    """A plan for people: alike hosts are one entry."""
    alike: dict[str, list[str]] = {}
    for name in plan.hosts if names is None else names:
        if not plan.hosts[name].clean:
            alike.setdefault("\n".join(plan.hosts[name].lines()), []).append(name)
    lines = []
    for same in alike.values():
        lines.append(f"{_some(same)}:")
        lines += [f"    {line}" for line in plan.hosts[same[0]].lines()]
    return [*lines, summary(plan)]


_MOST_NAMES = 8


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(names[:_MOST_NAMES])}{more}"


def summary(plan: Plan) -> str:
    """A plan in one line."""
    steps = [each.certainty for host in plan.hosts.values() for each in host.steps]
    clean = sum(host.clean for host in plan.hosts.values())
    unknown = sum(bool(host.unknown) or not host.reached for host in plan.hosts.values())
    return (
        f"plan {plan.digest[:12]} of {plan.revision[:12]}: {len(plan.hosts)} hosts, {clean} clean; "
        f"{steps.count('will')} steps will, {steps.count('may')} may change something; {unknown} hosts not wholly known"
    )
