"""From checks to verdicts. A check that cannot be read has failed: nobody has seen that it is true."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from deploys.policies.base import Check, Contains, Policy
from deploys.verify.backend import UnreadableError, testinfra_host

if TYPE_CHECKING:
    from pyinfra.api.host import Host

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
    """The failed check without which this one can tell nothing; then `actual` says only that."""
    rules: tuple[str, ...] = ()
    """The rules of a security guide that it proves."""
    unanswered: bool = False
    """The host did not answer, such as when the connection was cut: then it is not known whether it is so."""

    def __str__(self) -> str:
        where = f"{self.policy}.{self.field}" if self.field else self.policy
        rules = f"\n    rules     {', '.join(self.rules)}" if self.rules else ""
        return (
            f"{self.host}: {where}: not true that {self.proves}\n"
            f"    check     {self.check}{rules}\n    expected  {self.expected}\n    actual    {self.actual}"
        )


class Proof:
    """The proof of one host at one moment: remembers what failed, as later checks may need it."""

    def __init__(self, host: Host) -> None:
        self._host = host.name
        self._target = testinfra_host(host)
        self._failed: set[str] = set()
        self._lost: set[str] = set()
        self._found: dict[str, tuple[bool, str]] = {}

    def collect(self, checks: Iterable[Check]) -> None:
        """Read checks together before they are judged one by one: some round trips instead of one for each."""
        self._target.backend.collect([partial(self._find, check) for check in checks])

    def _find(self, check: Check) -> None:
        self._found[check.id] = self._read(check)

    def judge(self, policy: Policy, check: Check) -> Verdict:
        """Read one check and compare. Checks are judged in their policy's order."""
        because = check.needs if check.needs in self._failed else None
        passed, seen = (False, f"not checked, as {because} failed") if because else self._outcome(check)
        if not passed:
            self._failed.add(check.id)
        if because in self._lost:
            self._lost.add(check.id)
        return Verdict(
            self._host, policy.name, check.id, check.field, check.proves, passed, _shown(check.expect), seen, because,
            policy.rules_of(check), check.id in self._lost,
        )  # fmt: skip

    def _outcome(self, check: Check) -> tuple[bool, str]:
        return self._found[check.id] if check.id in self._found else self._read(check)

    def _read(self, check: Check) -> tuple[bool, str]:
        try:
            actual = check.read(self._target)
        except AssertionError:
            # testinfra's check_output repeats its own objects; what the command said is enough.
            return False, f"could not be read: {self._target.backend.last_words()}"
        except UnreadableError as error:
            self._lost.add(check.id)
            return False, f"could not be read: {_one_line(error)}"
        except Exception as error:  # noqa: BLE001 - whatever a read does, it is this check's verdict and no other's
            return False, f"could not be read: {_one_line(error)}"
        return _met(check.expect, actual), _shown(_unmet(check.expect, actual))


def _met(expect: object, actual: object) -> bool:
    return expect.met_by(actual) if isinstance(expect, Contains) else actual == expect


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
    proof = Proof(host)
    checks = [(policy, check) for policy in policies for check in policy.checks()]
    proof.collect(check for _, check in checks)
    return [proof.judge(policy, check) for policy, check in checks]


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
