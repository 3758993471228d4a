"""What a run says of the policies of a host, for who has started it: see results.py."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploys._plan import policies_in
from deploys.rollout.model import PolicyVerdict
from deploys.rollout.plan import INSTALLED
from deploys.rollout.store.rows import PolicyResult
from deploys.verify import Verdict
from operations.updates import OPEN


def policies_of(run: State, member: Host, verdicts: Sequence[Verdict] | None) -> tuple[PolicyResult, ...]:
    """What came of each policy that was applied to a host.

    Args:
        run: that has ended.
        member: the host.
        verdicts: of its proof; None when the run did not come so far.
    """
    policy_of = policies_in(member.name)
    changed: dict[str, list[str]] = {}
    failed: dict[str, list[str]] = {}
    for operation, data in run.ops[member].items():
        policy, meta = policy_of.get(operation), data.operation_meta
        if policy is None or not meta.is_complete():
            continue
        names = ", ".join(sorted(run.op_meta[operation].names))
        if not meta.did_succeed():
            failed.setdefault(policy, []).append(names)
        elif meta.did_change():
            changed.setdefault(policy, []).append(names)
    return tuple(
        _policy(name, verdicts, changed.get(name, ()), failed.get(name, ()))
        for name in dict.fromkeys(policy_of.values())
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
    installed = any(each.policy == INSTALLED and each.verdict is PolicyVerdict.CHANGED for each in policies)
    return found.left if installed else found.ids
