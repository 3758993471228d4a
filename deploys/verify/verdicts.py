"""From checks to verdicts. A check that cannot be read has failed: nobody has seen that it is true."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploys.policies.base import Absent, Check, Contains, Policy
from deploys.verify.backend import testinfra_host

if TYPE_CHECKING:
    from pyinfra.api.host import Host
    from testinfra.host import Host as TestinfraHost

MAX_TEXT = 1500


@dataclass(frozen=True)
class Verdict:
    """What a check found. `actual` says what was read, or why it could not be."""

    host: str
    policy: str
    check: str
    field: str
    proves: str
    passed: bool
    expected: str
    actual: str
    because: str | None = None
    """The failed check without which this one can tell nothing; then `actual` was not read."""

    def __str__(self) -> str:
        where = f"{self.policy}.{self.field}" if self.field else self.policy
        return (
            f"{self.host}: {where}: not true that {self.proves}\n"
            f"    check     {self.check}\n    expected  {self.expected}\n    actual    {self.actual}"
        )


def judge(host: str, policy: str, check: Check, target: TestinfraHost, failed: Container[str] = ()) -> Verdict:
    """Read one check and compare; `failed` are the ids of the checks before it that did not pass."""
    if check.needs is not None and check.needs in failed:
        seen = f"not checked, as {check.needs} failed"
        return Verdict(
            host, policy, check.id, check.field, check.proves, expected=_shown(check.expect), actual=seen,
            passed=False, because=check.needs,
        )  # fmt: skip
    try:
        actual = check.read(target)
    except AssertionError:
        # testinfra's check_output repeats its own objects; what the command said is enough.
        passed, seen = False, f"could not be read: {target.backend.last_words()}"
    except Exception as error:  # noqa: BLE001 - whatever a read does, it is this check's verdict and no other's
        passed, seen = False, f"could not be read: {_one_line(error)}"
    else:
        passed, seen = _met(check.expect, actual), _shown(_unmet(check.expect, actual))
    return Verdict(host, policy, check.id, check.field, check.proves, passed, _shown(check.expect), seen)


def _met(expect: object, actual: object) -> bool:
    return expect.met_by(actual) if isinstance(expect, (Contains, Absent)) else actual == expect


def _unmet(expect: object, actual: object) -> object:
    """Of a long list only what decides: the items that are missing."""
    if isinstance(expect, Contains) and isinstance(actual, (list, tuple)):
        missing = [item for item in expect.items if item not in actual]
        return f"without {', '.join(map(repr, missing))}" if missing else "all of them"
    return actual


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text)} characters)"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:MAX_TEXT]


def prove(host: Host, policies: Iterable[Policy]) -> list[Verdict]:
    """The verdicts of all checks of `policies` on a connected host, in order."""
    target = testinfra_host(host)
    verdicts: list[Verdict] = []
    failed: set[str] = set()
    for policy in policies:
        for check in policy.checks():
            verdict = judge(host.name, policy.name, check, target, failed)
            if not verdict.passed:
                failed.add(check.id)
            verdicts.append(verdict)
    return verdicts


def report(verdicts: Iterable[Verdict]) -> str:
    """What failed, causes only: what could not be checked because of one is counted behind it."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    lines = []
    for verdict in failed:
        if verdict.because is None:
            lines.append(str(verdict))
            ids = {verdict.check}
            # A check may need one that was itself not checked.
            for other in failed:
                if other.because in ids:
                    ids.add(other.check)
            if len(ids) > 1:
                lines.append(f"    and       {len(ids) - 1} more check(s) that cannot pass without it")
    return "\n".join(lines)
