"""pytest tests/hosts --inventory inventories/prod.py [--limit web] [--only firewall] [--rule PHTN-50-000079]

Hosts are connected once, in parallel, before the first test. Each check is one test, named by host and check; a host
that cannot be reached is one failed test.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from deploys.errors import InputError, near
from deploys.policies import names_in
from deploys.verify import Proof
from deploys.verify.session import Session, connect, loaded
from inventories._merge import effective_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploys.policies.base import Check, Policy

_session = pytest.StashKey[Session]()
_open = pytest.StashKey[contextlib.ExitStack]()


def _policies(member, only: str | None) -> list[Policy]:
    effective = effective_of(member)
    return [policy for name, policy in effective.policies.items() if only is None or name in names_in(only)[0]]


def _require_known(only: str | None) -> None:
    complaints = names_in(only)[1] if only else []
    if complaints:
        raise InputError("--only: " + "; ".join(complaints))


def _checks(member, config: pytest.Config) -> Iterator[tuple[Policy, Check]]:
    rule = config.getoption("--rule")
    for policy in _policies(member, config.getoption("--only")):
        for check in policy.checks():
            if rule is None or rule in policy.rules_of(check):
                yield policy, check


def _require_rule(session: Session, config: pytest.Config) -> None:
    rule = config.getoption("--rule")
    if rule is None or any(True for member in session.hosts for _ in _checks(member, config)):
        return
    hosts = [policy for member in session.hosts for policy in effective_of(member).policies.values()]
    known = sorted({found for policy in hosts for check in policy.checks() for found in policy.rules_of(check)})
    message = f"--rule {rule}: no check of these hosts proves it{near(rule, known)}"
    raise InputError(message)


def _start(config: pytest.Config) -> Session | None:
    inventory = config.getoption("--inventory")
    if inventory is None:
        return None
    if _session not in config.stash:
        stack = config.stash[_open] = contextlib.ExitStack()
        only = config.getoption("--only")
        try:
            _require_known(only)
            session = stack.enter_context(loaded(inventory, config.getoption("--limit") or ()))
            for member in session.hosts:
                _policies(member, only)
            _require_rule(session, config)
        except InputError as error:
            raise pytest.UsageError(str(error)) from None
        connect(session)
        config.stash[_session] = session
    return config.stash[_session]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _open in config.stash:
        config.stash[_open].close()


def _cases(session: Session, config: pytest.Config) -> Iterator[object]:
    for member in session.hosts:
        if member.name in session.unreachable:
            yield pytest.param(member, None, None, id=f"{member.name}::connection")
            continue
        for policy, check in _checks(member, config):
            yield pytest.param(member, policy, check, id=f"{member.name}::{check.id}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "check" not in metafunc.fixturenames:
        return
    session = _start(metafunc.config)
    names = ("member", "policy", "check")
    if session is None:
        skip = pytest.mark.skip(reason="no --inventory given: this suite proves a fleet of yours")
        metafunc.parametrize(names, [pytest.param(None, None, None, marks=skip, id="no-inventory")])
        return
    metafunc.parametrize(names, list(_cases(session, metafunc.config)))


@pytest.fixture(scope="session")
def proofs(request) -> dict[str, Proof]:
    """One proof of one moment for each host that was reached, by name: read at once, and on all hosts at once."""
    session = request.config.stash[_session]

    def collected(member) -> Proof:
        proof = Proof(member)
        proof.collect(check for _, check in _checks(member, request.config))
        return proof

    reached = [member for member in session.hosts if member.name not in session.unreachable]
    running = {member.name: session.state.pool.spawn(collected, member) for member in reached}
    return {name: greenlet.get() for name, greenlet in running.items()}


@pytest.fixture
def proof(member, proofs) -> Proof:
    return proofs[member.name]


@pytest.fixture
def reason(request, member) -> str | None:
    """Why the host cannot be reached, or None."""
    return request.config.stash[_session].unreachable.get(member.name)
