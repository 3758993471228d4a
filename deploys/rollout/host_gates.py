"""Asking gates on the hosts of a wave: all at once, each over a connection of its own, and nothing is changed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pyinfra.api.host import Host

from deploys.rollout.gate_kinds import ContainerGate, HostCommandGate, HostGate, HostHttpGate, ProofGate, short
from deploys.rollout.gates import CANNOT_TELL
from deploys.rollout.model import Answer
from deploys.verify import Verdict, prove, testinfra_host
from deploys.verify.session import connect, loaded
from inventories._merge import effective_of

TIMED_OUT, KILLED = 124, 137
"""What timeout(1) ends with; and with what it has to kill, as it takes no notice of TERM."""
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
    return proved(prove(member, effective_of(member).policies.values()))


def proved(verdicts: Sequence[Verdict]) -> Said:
    """What the proof of a host says: what the host did not answer is not known, and no failure of it."""
    failed = [verdict for verdict in verdicts if not verdict.passed and not verdict.unanswered]
    if failed:
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        return Answer.FAIL, short(f"{failed[0].policy}: not true that {failed[0].proves}{more}")
    lost = [verdict for verdict in verdicts if verdict.unanswered]
    if lost:
        words = f"{len(lost)} of {len(verdicts)} checks could not be read, the first of {lost[0].policy}"
        return Answer.INCONCLUSIVE, short(f"{words}: {lost[0].actual}")
    return Answer.PASS, ""


def _run(member: Host, seconds: int, *words: str) -> tuple[int, str, str]:
    done = testinfra_host(member).run(f"timeout -k 5 {seconds} {shlex.join(words)}")
    return done.rc, done.stdout, done.stderr


def _command(gate: HostCommandGate, member: Host) -> Said:
    return ended(gate, *_run(member, gate.seconds, *gate.command))


def ended(gate: HostCommandGate, status: int, out: str, err: str) -> Said:
    """What a command on a host says by its end."""
    words = short((out.strip() or err.strip()).rpartition("\n")[2])
    if status == TIMED_OUT:
        return Answer.INCONCLUSIVE, f"no end within {gate.seconds} s"
    if status == KILLED:
        return Answer.INCONCLUSIVE, f"it was killed, as it had not ended within {gate.seconds} s, or by somebody else"
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


_LISTED = (
    "{{.Name}}\t{{.State.Status}}\t{{.State.ExitCode}}\t{{.HostConfig.RestartPolicy.Name}}"
    "\t{{if .State.Health}}{{.State.Health.Status}}{{end}}"
)
_TO_END = {"no", "on-failure", ""}
"""Restart policies of containers that are to end."""


def _containers(gate: ContainerGate, member: Host) -> Said:
    chosen = ("--filter", f"label={gate.label}") if gate.label else ()
    status, out, err = _run(member, 30, "docker", "ps", "--all", "--quiet", "--no-trunc", *chosen)
    names = out.split()
    if not status and names:
        status, out, err = _run(member, 30, "docker", "inspect", "--type", "container", "--format", _LISTED, *names)
    if status:
        return Answer.INCONCLUSIVE, short(err or f"docker ended with {status}")
    return judged(out) if names else (Answer.INCONCLUSIVE, f"no container{' has its label' if gate.label else ''}")


def judged(text: str) -> Said:
    """What lines of `docker inspect` say: name, state, exit status, restart policy and health, with tabs between.

    Source of the words: Docker's Engine API, "Inspect a container".
    """
    starting = []
    for line in filter(None, text.splitlines()):
        name, state, status, restart, health = (*line.split("\t"), *[""] * 5)[:5]
        done = state == "exited" and status == "0" and restart in _TO_END
        if not done and (state != "running" or health == "unhealthy"):
            words = f"{state} with {status}, restart policy {restart}" if state == "exited" else f"{state} {health}"
            return Answer.FAIL, short(f"container {name.removeprefix('/')}: {words}")
        if health == "starting" and not done:
            starting.append(name.removeprefix("/"))
    if starting:
        return Answer.INCONCLUSIVE, short(f"still starting: {', '.join(starting)}")
    return (Answer.PASS, "") if text.strip() else (Answer.INCONCLUSIVE, "no container")
