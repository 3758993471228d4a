"""The command that proves hosts and changes nothing: verify."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import click

from deploys.errors import InputError
from deploys.policies import names_in
from deploys.statuses import Status
from deploys.verify import Verdict, prove, report
from deploys.verify.session import Session, connect, loaded
from inventories._merge import effective_of

SCHEMA = 1


@click.command()
@click.argument("inventory")
@click.option("--limit", multiple=True, help="Only these hosts, groups or patterns.")
@click.option("--only", help="Only these policies, such as firewall,ssh.")
@click.option("--json", "as_json", is_flag=True, help="The same for programs.")
def verify(inventory: str, limit: tuple[str, ...], only: str | None, *, as_json: bool) -> None:
    """Read every check of every policy of INVENTORY's hosts, and say what is not so; changes nothing.

    Status: 0 all is so, 4 something is not, 6 a host could not be reached, or was lost meanwhile (and nothing is known
    not to be so).
    """
    complaints = names_in(only)[1] if only else []
    if complaints:
        raise InputError("--only: " + "; ".join(complaints))
    with loaded(inventory, limit) as session:
        for member in session.hosts:
            effective_of(member)
        connect(session)
        found = _proved(session, only)
    if as_json:
        click.echo(json.dumps(_to_json(found, session.unreachable), indent=2))
    else:
        for name, words in session.unreachable.items():
            click.echo(f"{name}: could not be reached: {words}")
        for name, verdicts in found.items():
            click.echo(_line(name, verdicts))
            if any(not verdict.passed for verdict in verdicts):
                click.echo(report(verdicts))
    sys.exit(_status(found, session.unreachable))


def _status(found: Mapping[str, Sequence[Verdict]], unreachable: Mapping[str, str]) -> Status:
    """What a host did not answer is not known: it is no drift."""
    failed = [verdict for verdicts in found.values() for verdict in verdicts if not verdict.passed]
    if any(not verdict.unanswered for verdict in failed):
        return Status.DRIFT
    return Status.UNREACHABLE if failed or unreachable else Status.CLEAN


def _proved(session: Session, only: str | None) -> dict[str, list[Verdict]]:
    chosen = None if only is None else names_in(only)[0]
    reached = [member for member in session.hosts if member.name not in session.unreachable]
    running = {
        member.name: session.state.pool.spawn(
            prove, member,
            [policy for name, policy in effective_of(member).policies.items() if chosen is None or name in chosen],
        )
        for member in reached
    }  # fmt: skip
    return {name: greenlet.get() for name, greenlet in running.items()}


def _line(name: str, verdicts: list[Verdict]) -> str:
    if not verdicts:
        return f"{name}: nothing to prove: it has none of the policies asked for"
    passed = sum(verdict.passed for verdict in verdicts)
    lost = sum(verdict.unanswered for verdict in verdicts)
    words = "ok" if passed == len(verdicts) else "NOT KNOWN" if passed + lost == len(verdicts) else "FAILED"
    more = f", {lost} could not be read" if lost else ""
    return f"{name}: {words}; {passed} of {len(verdicts)} checks passed{more}"


def _to_json(found: dict[str, list[Verdict]], unreachable: dict[str, str]) -> dict[str, object]:
    hosts = {
        name: {
            "checks": len(verdicts), "policies": dict(Counter(verdict.policy for verdict in verdicts)),
            "failed": [
                {"policy": verdict.policy, "check": verdict.check, "proves": verdict.proves, "rules": verdict.rules,
                 "expected": verdict.expected, "actual": verdict.actual,
                 "unanswered": verdict.unanswered}
                for verdict in verdicts if not verdict.passed
            ],
        }
        for name, verdicts in found.items()
    }  # fmt: skip
    return {"schema": SCHEMA, "hosts": hosts, "unreachable": dict(unreachable)}
