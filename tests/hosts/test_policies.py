"""One test for each check of each policy of each host."""

from __future__ import annotations

import pytest

from deploys.verify.verdicts import judge


def test_check(member, policy, check, reason, failed, request) -> None:
    if check is None:
        pytest.fail(f"{member.name}: unreachable: {reason}", pytrace=False)
    verdict = judge(member.name, policy, check, request.getfixturevalue("target"), failed)
    if not verdict.passed:
        failed.add(check.id)
    if verdict.because is not None:
        pytest.skip(verdict.actual)
    if not verdict.passed:
        pytest.fail(str(verdict), pytrace=False)
