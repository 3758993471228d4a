"""The command that proves hosts and changes nothing: verify."""

from __future__ import annotations

import json
import sys
from collections import Counter

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

    Status: 0 all is so, 4 something is not, 6 a host could not be reached (and all is so on the others).
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
    bad = any(not verdict.passed for verdicts in found.values() for verdict in verdicts)
    sys.exit(Status.DRIFT if bad else Status.UNREACHABLE if session.unreachable else Status.CLEAN)


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
    return f"{name}: {'ok' if passed == len(verdicts) else 'FAILED'}; {passed} of {len(verdicts)} checks passed"


def _to_json(found: dict[str, list[Verdict]], unreachable: dict[str, str]) -> dict[str, object]:
    hosts = {
        name: {
            "checks": len(verdicts), "policies": dict(Counter(verdict.policy for verdict in verdicts)),
            "failed": [
                {"policy": verdict.policy, "check": verdict.check, "proves": verdict.proves, "rules": verdict.rules,
                 "expected": verdict.expected, "actual": verdict.actual}
                for verdict in verdicts if not verdict.passed
            ],
        }
        for name, verdicts in found.items()
    }  # fmt: skip
    return {"schema": SCHEMA, "hosts": hosts, "unreachable": dict(unreachable)}
