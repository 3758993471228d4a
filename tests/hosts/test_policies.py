"""One test for each check of each policy of each host."""

from __future__ import annotations

import pytest


def test_check(member, policy, check, reason, request) -> None:
    if check is None:
        pytest.fail(f"{member.name}: unreachable: {reason}", pytrace=False)
    verdict = request.getfixturevalue("proof").judge(policy, check)
    if verdict.because is not None:
        # Nothing was looked at, and the check it needs has failed this proof already.
        pytest.skip(verdict.actual)
    if not verdict.passed:
        pytest.fail(str(verdict), pytrace=False)
