"""The first look of a run at a host: is somebody else there, and what has happened since the last run?"""

from __future__ import annotations

from pyinfra import host, logger
from pyinfra.api import StringCommand

from deploys.guard.guard import outcome
from deploys.guard.owner import busy, refusal
from facts.run import GUARD, RECORDS, OtherRuns, Traces
from operations._contain import Commands, operation, read

NEWS: dict[str, list[str]] = {}
"""Host name -> sentences about what happened to the host between the runs, for the end of this one."""

_TAKE_NOTE = (
    f"cd {GUARD} 2>/dev/null && [ ! -e verdict ] || mv -f verdict verdict.seen; "
    f"cd {RECORDS} 2>/dev/null || exit 0; mkdir -p seen && find new -type f -exec mv -f -t seen {{}} +"
)


def refuse_company(traces: Traces) -> None:
    """End the operation when another run is at the host, or its last change may still be undone.

    Raises:
        OperationError: who, since when and why.
    """
    if traces["lock"]:
        raise busy(host.name, refusal(traces["lock"]) or f"refused: the host is locked: {traces['lock']}")
    if traces["armed"]:
        about = dict(line.split(": ", 1) for line in traces["armed"] if ": " in line)
        message = (
            f"refused: a change to {about.get('policy')} by {about.get('by')} (commit {about.get('commit')}) is not "
            f"confirmed; the host undoes it at {about.get('until')}, and at its next boot. Run again after that "
            "(long past? See 'refused' in docs/on-call.md)."
        )
        raise busy(host.name, message)


def news(traces: Traces) -> list[str]:
    """Sentences about what happened since the last run."""
    found = [told] if (told := outcome("", traces["verdict"])) else []
    for lines in traces["records"]:
        record = dict(line.split(": ", 1) for line in lines if ": " in line)
        found.append(
            f"FIX: {record.get('what')} at {record.get('at')} by {record.get('by')} "
            f"(why: {record.get('why')}; commit {record.get('commit')})"
        )
    return found


@operation()
def arrive() -> Commands:
    """
    Refuse a host at which another run is, and tell what was done to the host since the last one.

    Takes note of what it told, so that it is told once.
    """
    traces = read(OtherRuns)
    refuse_company(traces)
    found = news(traces)
    if not found:
        host.noop("nobody else is at this host")
        return
    if host.name not in NEWS:
        for sentence in found:
            host.log_styled(sentence, fg="yellow", log_func=logger.warning)
    NEWS[host.name] = found
    yield StringCommand(f"( {_TAKE_NOTE} )")
