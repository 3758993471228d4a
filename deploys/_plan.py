"""What this run is about to change on its hosts; and the plan that it is held to, when there is one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path

from pyinfra import host, state
from pyinfra.api import OperationError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from deploys.policies.base import Policy
from deploys.refusal import Refusal
from deploys.rollout.plan import PLAN, PROVE, Bound, HostPlan, Step, write_hosts
from deploys.verify import prove
from operations._contain import ASSUMED, FAILURES

_FAILING: dict[str, list[str]] = {}
"""Host name -> what its policies say and is not so."""
_POLICIES: dict[str, dict[str, str]] = {}
"""Host name -> operation (its hash) -> the policy that it belongs to."""
_UNKNOWN: dict[str, dict[str, str]] = {}
"""Host name -> policy -> why it cannot be told what it would change."""
BOUND = "plan"
"""The option of pyinfra's --data that names the file of the plan."""


@contextmanager
def planned(policy: str) -> Iterator[None]:
    """What is declared within belongs to a policy; a host that fails within cannot be told of."""
    target = ctx_host.get()
    operations = state.ops[target]
    before = len(operations)
    failed = target in state.failed_hosts
    try:
        yield
    finally:
        mine = _POLICIES.setdefault(target.name, {})
        mine |= dict.fromkeys(islice(operations, before, None), policy)
        if target in state.failed_hosts:
            words = FAILURES.get(target.name, ["it could not be read"])[-1]
            _UNKNOWN.setdefault(target.name, {})[policy] = "not looked at any more" if failed else words


def policies_in(name: str) -> Mapping[str, str]:
    """Operation of a host -> the policy that it belongs to, in the order of the run."""
    return _POLICIES.get(name, {})


def plan_of(run: State, member: Host) -> HostPlan:
    """What the run, which is prepared and not carried out yet, would change on a host."""
    if member not in run.activated_hosts:
        return HostPlan(reached=False)
    mine, assumed = _POLICIES.get(member.name, {}), ASSUMED.get(member.name, {})
    steps = []
    for name, data in run.ops[member].items():
        if name not in mine or not (data.operation_meta.will_change or name in assumed):
            continue
        words = ", ".join(sorted(run.op_meta[name].names))
        if name in assumed:
            steps.append(Step(mine[name], words, "may", assumed[name]))
        elif data.global_arguments.get("_if"):
            steps.append(Step(mine[name], words, "may", "when an earlier step changes something"))
        else:
            steps.append(Step(mine[name], words))
    unknown = dict(_UNKNOWN.get(member.name, {}))
    if member in run.failed_hosts and not unknown:
        unknown[""] = FAILURES.get(member.name, ["it failed while it was looked at"])[-1]
    return HostPlan(tuple(steps), unknown, failing=tuple(_FAILING.get(member.name, ())))


def write_plans(run: State) -> None:
    """Write down what a dry run would change, where somebody has asked for that."""
    members = [member for member in run.inventory if run.is_host_in_limit(member)]
    write_hosts(Path(os.environ[PLAN]), {member.name: plan_of(run, member) for member in members})


def look_for_changes() -> None:
    """Have a run that is held to a plan look what it would change; with -y pyinfra does not."""
    if host.data.get(BOUND):
        state.check_for_changes = True


def prove_plan(policies: Iterable[Policy]) -> None:
    """Read the checks of policies on the current host as well, in a dry run of which that was asked."""
    target = ctx_host.get()
    if state.is_executing or not os.environ.get(PROVE) or target in state.failed_hosts:
        return
    verdicts = prove(target, policies)
    _FAILING[target.name] = [
        f"{verdict.policy}: {verdict.proves} (expected {verdict.expected}; {verdict.actual})"
        for verdict in verdicts if not verdict.passed and verdict.because is None and not verdict.unanswered
    ]  # fmt: skip
    lost = [verdict for verdict in verdicts if verdict.unanswered]
    if lost:
        _UNKNOWN.setdefault(target.name, {})["checks"] = f"the host did not answer {len(lost)}, first: {lost[0].actual}"


@cache
def _bound(path: str) -> Bound:
    return Bound.read(Path(path))


def keep_to_plan() -> None:
    """Stop the current host before its first change when the run would do something else than was planned.

    Raises:
        OperationError: it would; with what differs.
    """
    path = host.data.get(BOUND)
    if not path or state.is_executing:
        return
    try:
        complaint = _bound(str(path)).complaint(host.name, plan_of(state, ctx_host.get()))
    except Refusal as error:
        complaint = str(error)
    if complaint:
        message = f"stopped: {complaint}; nothing was changed"
        raise OperationError(message)
