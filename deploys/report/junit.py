"""A report as JUnit's XML: a test case for each host and policy, and for a rollout's waves and gates.

Source of the format: the schema of Jenkins' xUnit plugin, of which GitLab and GitHub's actions read the same elements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from deploys.report.model import said
from deploys.rollout.model import Answer, PolicyVerdict, State, Verdict, WaveState
from deploys.rollout.store.policies import HostRow
from deploys.rollout.store.reports import Progress

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """A test case. `failed` and `skipped` say why; both are empty where it passed."""

    host: str
    name: str
    failed: str = ""
    skipped: str = ""
    more: str = ""

    def __str__(self) -> str:
        head = f"<testcase classname={_quoted(self.host)} name={_quoted(self.name)}"
        if self.failed:
            return f"{head}><failure message={_quoted(self.failed)}>{escape(_clean(self.more))}</failure></testcase>"
        if self.skipped:
            return f"{head}><skipped message={_quoted(self.skipped)}/></testcase>"
        return f"{head}/>"


def _clean(text: str) -> str:
    return _NO_XML.sub("�", text)


def _quoted(text: str) -> str:
    return quoteattr(_clean(" ".join(text.split())))


def cases(host: HostRow) -> Iterator[Case]:
    """The test cases of a host: of its policies, and one of its own where they do not say what is wrong with it."""
    failed = False
    for each in host.policies:
        if each.verdict is PolicyVerdict.FAILED:
            failed = True
            yield Case(host.name, each.policy, "; ".join(each.failed) or "failed", more=host.words)
        elif each.verdict is PolicyVerdict.UNPROVED:
            yield Case(host.name, each.policy, skipped="not proved")
        else:
            yield Case(host.name, each.policy)
    words = said(host.verdict, host.back)
    if host.verdict is None:
        yield Case(host.name, "host", skipped=words)
    elif host.verdict is not Verdict.OK and not failed:
        yield Case(host.name, "host", words, more=host.words)
    if host.back not in {None, Verdict.OK}:
        yield Case(host.name, "way back", words, more=host.words)
    elif host.verdict is Verdict.OK and not host.policies:
        yield Case(host.name, "host")


_WELL = {WaveState.PASSED, State.DONE}
_BAD = {WaveState.FAILED, WaveState.BACK, WaveState.ENDED, State.BACK, State.STOPPED, State.WENT_BACK, State.ABORTED}


def of_rollout(progress: Progress | None) -> Iterator[Case]:
    """The test cases of a rollout itself: hosts that are well may have been stopped by a gate, or gone back."""
    if progress is None:
        return
    of = f"rollout {progress.rollout.id}"
    yield _state(of, "rollout", progress.rollout.state, progress.rollout.words)
    for wave in progress.waves:
        yield _state(of, f"wave {wave.number + 1}", wave.state, wave.words)
    for number, gate, answer, words in progress.answers:
        # What cannot tell has let nothing on.
        failed = "" if answer == Answer.PASS else f"{'' if answer == Answer.FAIL else 'cannot tell: '}{words}" or answer
        yield Case(of, f"gate {gate} of wave {number + 1}", failed)


def _state(of: str, name: str, state: WaveState | State, words: str) -> Case:
    if state in _WELL:
        return Case(of, name)
    said = f"{state}{f': {words}' if words else ''}"
    return Case(of, name, failed=said) if state in _BAD else Case(of, name, skipped=said)


def junit(title: str, hosts: Callable[[], Iterable[HostRow]], progress: Progress | None = None) -> Iterator[str]:
    """The lines of a report; hosts are asked for twice, as the numbers come first. `progress`: of a rollout's."""

    def all_of_them() -> Iterator[Case]:
        yield from of_rollout(progress)
        for host in hosts():
            yield from cases(host)

    tests = failures = skipped = 0
    for case in all_of_them():
        tests += 1
        failures += bool(case.failed)
        skipped += bool(case.skipped)
    numbers = f'tests="{tests}" failures="{failures}" errors="0" skipped="{skipped}"'
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites name="photon-fleet" {numbers}>'
    yield f"<testsuite name={_quoted(title)} {numbers}>"
    yield from map(str, all_of_them())
    yield "</testsuite>"
    yield "</testsuites>"
