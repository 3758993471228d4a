"""From checks to verdicts. A check that cannot be read has failed: nobody has seen that it is true."""

from __future__ import annotations

from collections.abc import Iterable
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

    def __str__(self) -> str:
        where = f"{self.policy}.{self.field}" if self.field else self.policy
        return (
            f"{self.host}: {where}: not true that {self.proves}\n"
            f"    check     {self.check}\n    expected  {self.expected}\n    actual    {self.actual}"
        )


def judge(host: str, policy: str, check: Check, target: TestinfraHost) -> Verdict:
    """Read one check and compare."""
    try:
        actual = check.read(target)
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
    return [judge(host.name, policy.name, check, target) for policy in policies for check in policy.checks()]
