"""Asking gates on the hosts of a wave: all at once, each over a connection of its own, and nothing is changed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pyinfra.api.host import Host

from deploys.rollout.gate_kinds import ContainerGate, HostCommandGate, HostGate, HostHttpGate, ProofGate, short
from deploys.rollout.gates import CANNOT_TELL
from deploys.rollout.model import Answer
from deploys.verify import prove, testinfra_host
from deploys.verify.session import connect, loaded
from inventories._merge import effective_of

TIMED_OUT = 124
"""What timeout(1) ends with."""
_MOST_HOSTS = 5

Said = tuple[Answer, str]


def on_hosts(inventory: str, gate: HostGate, hosts: Sequence[str]) -> Said:
    """What a gate says of hosts: fails when one does, and cannot tell when it cannot of one.

    Raises:
        InputError: the inventory cannot be used.
    """
    if not hosts:
        return Answer.INCONCLUSIVE, "no host of the wave was proved"
    with loaded(inventory, hosts) as session:
        connect(session)
        running = {
            member.name: session.state.pool.spawn(_asked, gate, member)
            for member in session.hosts if member.name not in session.unreachable
        }  # fmt: skip
        found = {name: greenlet.get() for name, greenlet in running.items()}
        lost = {
            name: (Answer.INCONCLUSIVE, f"could not be reached: {why}") for name, why in session.unreachable.items()
        }
    return combined({**found, **lost})


def combined(found: dict[str, Said]) -> Said:
    """The answers of hosts as one: the worst, with the words of those that gave it."""
    for answer in (Answer.FAIL, Answer.INCONCLUSIVE):
        names = [name for name, (said, _) in sorted(found.items()) if said is answer]
        if names:
            words = "; ".join(f"{name}: {found[name][1]}" for name in names[:_MOST_HOSTS])
            return answer, f"{words}{f'; and {len(names) - _MOST_HOSTS} more' if len(names) > _MOST_HOSTS else ''}"
    return Answer.PASS, f"{len(found)} hosts"


def _asked(gate: HostGate, member: Host) -> Said:
    try:
        match gate:
            case ProofGate():
                return _proof(member)
            case HostCommandGate():
                return _command(gate, member)
            case HostHttpGate():
                return _http(gate, member)
            case ContainerGate():
                return _containers(gate, member)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong on a host is what cannot be told of that host
        return Answer.INCONCLUSIVE, short(str(error) or type(error).__name__)


def _proof(member: Host) -> Said:
    failed = [verdict for verdict in prove(member, effective_of(member).policies.values()) if not verdict.passed]
    if not failed:
        return Answer.PASS, ""
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return Answer.FAIL, short(f"{failed[0].policy}: not true that {failed[0].proves}{more}")


def _run(member: Host, seconds: int, *words: str) -> tuple[int, str, str]:
    done = testinfra_host(member).run(f"timeout -k 5 {seconds} {shlex.join(words)}")
    return done.rc, done.stdout, done.stderr


def _command(gate: HostCommandGate, member: Host) -> Said:
    status, out, err = _run(member, gate.seconds, *gate.command)
    words = short((out.strip() or err.strip()).rpartition("\n")[2])
    if status == TIMED_OUT:
        return Answer.INCONCLUSIVE, f"no end within {gate.seconds} s"
    if status in {0, CANNOT_TELL}:
        return (Answer.INCONCLUSIVE if status else Answer.PASS), words
    return Answer.FAIL, f"it ended with {status}: {words}"


def _http(gate: HostHttpGate, member: Host) -> Said:
    """Source of the format: curl(1), `--write-out`."""
    seconds = str(gate.seconds)
    status, out, err = _run(
        member, gate.seconds + 5, "curl", "--silent", "--show-error", "--max-time", seconds, "--write-out",
        "\n%{http_code}", "--", gate.url,
    )  # fmt: skip
    if status:
        return Answer.INCONCLUSIVE, f"no answer: {short(err)}"
    text, _, code = out.rstrip("\n").rpartition("\n")
    if code != str(gate.status):
        return Answer.FAIL, f"the answer has the status {code}"
    if gate.contains and gate.contains not in text:
        return Answer.FAIL, f"the answer has no {gate.contains!r}: {short(text)}"
    return Answer.PASS, f"status {code}"


def _containers(gate: ContainerGate, member: Host) -> Said:
    chosen = ("--filter", f"label={gate.label}") if gate.label else ()
    status, out, err = _run(
        member, 30, "docker", "ps", "--all", *chosen, "--format", "{{.Names}}\t{{.State}}\t{{.Status}}"
    )
    if status:
        return Answer.INCONCLUSIVE, short(err or f"docker ended with {status}")
    return judged(out)


def judged(text: str) -> Said:
    """What the lines of `docker ps` say: NAME, STATE and STATUS, with tabs between.

    Source of the format: Docker's documentation, "Format command and log output"; the health is part of the status,
    as in "Up 3 minutes (unhealthy)".
    """
    starting = []
    for line in text.splitlines():
        name, state, status = (*line.split("\t"), "", "")[:3]
        done = state == "exited" and status.startswith("Exited (0)")
        if "(unhealthy)" in status or (state != "running" and not done):
            return Answer.FAIL, short(f"container {name}: {state}, {status}")
        if "(health: starting)" in status:
            starting.append(name)
    if starting:
        return Answer.INCONCLUSIVE, short(f"still starting: {', '.join(starting)}")
    return Answer.PASS, ""
