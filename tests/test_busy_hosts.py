"""A host that another run is changing is left alone, and remembered as busy."""

from __future__ import annotations

import pytest

from deploys.guard import owner
from deploys.guard.arrive import arrive
from tests.guarded import refusal, run

NOBODY = {"lock": [], "armed": [], "verdict": [], "records": []}
ANN = ["by: ann@ctl, process 7", "since: 2026-01-01", "why: ticket 4711", "commit: c0ffee"]
ARMED = ["policy: ssh", "by: ann@ctl, process 7", "commit: c0ffee", "until: 2026-01-01T00:00:00Z"]


@pytest.mark.parametrize(
    ("traces", "words"),
    [
        ({**NOBODY, "lock": ANN}, "ann@ctl, process 7 is changing this host since 2026-01-01 (ticket 4711; "),
        ({**NOBODY, "armed": ARMED}, "a change to ssh by ann@ctl, process 7 (commit c0ffee) is not confirmed"),
    ],
)
def test_a_host_that_another_run_is_changing_is_remembered_as_busy(traces, words, monkeypatch):
    monkeypatch.setattr("deploys.guard.owner.BUSY", {})
    message = refusal(arrive, {"run.OtherRuns": traces})
    assert words in message
    assert owner.BUSY.pop("host") == message


def test_a_host_that_nobody_changes_is_not_busy(monkeypatch):
    monkeypatch.setattr("deploys.guard.owner.BUSY", {})
    run(arrive, {"run.OtherRuns": NOBODY})
    assert owner.BUSY == {}
