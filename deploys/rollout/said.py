"""What a run says of the policies of a host, for who has started it: see results.py.

Which operation is of which policy is noted while operations are declared; the rest is told when the run has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from pyinfra import host, state
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from deploys.rollout.model import PolicyVerdict
from deploys.rollout.store.rows import PolicyResult
from deploys.verify import Verdict
from operations.updates import OPEN

_POLICY_OF: dict[str, str] = {}
"""Operation -> policy. pyinfra names an operation by its place in the deploy, which is one policy's on every host."""
_DECLARED: dict[str, list[str]] = {}
"""Host -> the policies that were applied, in order."""
UPDATE = "update"


@contextmanager
def noted(policy: str) -> Iterator[None]:
    """Note that the operations that are declared within for the current host are of a policy."""
    operations = state.ops[ctx_host.get()]
    before = len(operations)
    try:
        yield
    finally:
        names = _DECLARED.setdefault(host.name, [])
        if len(operations) > before and policy not in names:
            names.append(policy)
        for each in islice(operations, before, None):
            _POLICY_OF[each] = policy


def policies_of(run: State, member: Host, verdicts: Sequence[Verdict] | None) -> tuple[PolicyResult, ...]:
    """What came of each policy that was applied to a host.

    Args:
        run: that has ended.
        member: the host.
        verdicts: of its proof; None when the run did not come so far.
    """
    changed: dict[str, list[str]] = {}
    failed: dict[str, list[str]] = {}
    for operation, data in run.ops[member].items():
        policy, meta = _POLICY_OF.get(operation), data.operation_meta
        if policy is None or not meta.is_complete():
            continue
        names = ", ".join(sorted(run.op_meta[operation].names))
        if not meta.did_succeed():
            failed.setdefault(policy, []).append(names)
        elif meta.did_change():
            changed.setdefault(policy, []).append(names)
    return tuple(
        _policy(name, verdicts, changed.get(name, ()), failed.get(name, ())) for name in _DECLARED.get(member.name, ())
    )


def _policy(
    name: str, verdicts: Sequence[Verdict] | None, changed: Sequence[str], failed: Sequence[str]
) -> PolicyResult:
    mine = [each for each in verdicts or () if each.policy == name]
    wrong = [*failed, *(f"{each.check}: not true that {each.proves}" for each in mine if not each.passed)]
    if wrong:
        verdict = PolicyVerdict.FAILED
    elif verdicts is None:
        verdict = PolicyVerdict.UNPROVED
    else:
        verdict = PolicyVerdict.CHANGED if changed else PolicyVerdict.PROVED
    passed = sum(each.passed for each in mine)
    return PolicyResult(name, verdict, len(mine), passed, tuple(changed), tuple(wrong))


def advisories_of(member: Host, policies: Sequence[PolicyResult]) -> tuple[str, ...] | None:
    """The ids of the advisories that are open on a host; None where the run did not ask for any."""
    found = OPEN.get(member.name)
    if found is None:
        return None
    installed = any(each.policy == UPDATE and each.verdict is PolicyVerdict.CHANGED for each in policies)
    return found.left if installed else found.ids
