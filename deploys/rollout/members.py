"""Who is in a rollout, and what its inventory says of it and of its gates: asked of a checkout of its revision.

In a process of its own, whose modules are those of that checkout:

    python -m deploys.rollout.members INVENTORY [LIMIT...]                 a JSON object: settings, gates, hosts
    python -m deploys.rollout.members --ask GATE INVENTORY                 a JSON object: answer, words; the wave
                                                                           (number, hosts, untouched) on standard input
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pyinfra.api.host import Host
from pyinfra_cli.exceptions import UnexpectedExternalError

from deploys.refusal import Refusal
from deploys.rollout.digests import digest_of
from deploys.rollout.domains import domains_of
from deploys.rollout.gates import asked
from deploys.rollout.model import Answer, WaveHosts
from deploys.rollout.processes import answer_of, answering, ended_within
from deploys.rollout.results import plain
from deploys.rollout.settings import Gate, settings_of
from deploys.rollout.settings import Rollout as Settings
from deploys.rollout.store.reports import wave_of
from deploys.rollout.waves import Candidate
from deploys.verify.session import loaded
from inventories._merge import Effective

if TYPE_CHECKING:
    from deploys.rollout.place import Place
    from deploys.rollout.store.rows import Rollout
    from deploys.rollout.store.store import Store
Result = TypeVar("Result")
READ_SECONDS = 600
_ERROR = "error: "
GATE_SECONDS = 3700
"""The end of a gate that does not keep its own limit."""


@dataclass(frozen=True)
class Members:
    """What an inventory says. Gates and webhooks of `settings` are left out: they may hold secrets, and go by name."""

    settings: Settings
    gates: tuple[str, ...]
    webhooks: Mapping[str, tuple[str, ...]]
    """Name -> the events that it is told."""
    hosts: tuple[Candidate, ...]
    groups: tuple[str, ...] | None
    """All of the inventory; None when the checkout is of before they were told."""
    policies: Mapping[str, Mapping[str, str]]
    """Host -> policy -> a digest of all that it says, and of the commit's files that it names."""


def members(tree: Path, inventory: str, limit: Sequence[str]) -> Members:
    """Ask a checkout.

    Raises:
        Refusal: its inventory cannot be used.
    """
    return _run(tree, READ_SECONDS, [inventory, *limit], _understood)


def _understood(given: Mapping[str, Any]) -> Members:
    hosts = (Candidate(each["name"], tuple(each["groups"]), frozenset(each["domains"])) for each in given["hosts"])
    policies = {each["name"]: each["policies"] for each in given["hosts"]}
    webhooks = {name: tuple(events) for name, events in given.get("webhooks", {}).items()}
    groups = tuple(given["groups"]) if "groups" in given else None
    settings = Settings.model_validate(given["settings"])
    return Members(settings, tuple(given["gates"]), webhooks, tuple(hosts), groups, policies)


def ask(tree: Path, inventory: str, gate: str, wave: WaveHosts, seconds: float) -> tuple[Answer, str]:
    """Ask a gate; what goes wrong on the way is inconclusive."""
    try:
        return _run(tree, seconds, ["--ask", gate, inventory], _said, about=json.dumps(asdict(wave)))
    except Refusal as error:
        return Answer.INCONCLUSIVE, plain(str(error))


def _said(given: Mapping[str, Any]) -> tuple[Answer, str]:
    return Answer(given["answer"]), plain(str(given["words"]))


def asker(store: Store, place: Place) -> Callable[[Rollout, int, str], tuple[Answer, str]]:
    """Asks a gate of a wave of a rollout: what it says, and why."""

    def answer(rollout: Rollout, wave: int, gate: str) -> tuple[Answer, str]:
        tree = place.tree(rollout.revision)
        return ask(tree, rollout.inventory, gate, wave_of(store, rollout.id, wave), GATE_SECONDS)

    return answer


def _run(
    tree: Path, seconds: float, words: Sequence[str], understood: Callable[[Any], Result], about: str = ""
) -> Result:
    from deploys.rollout.place import environment  # noqa: PLC0415 - the asked side needs none of it

    command = [sys.executable, "-m", "deploys.rollout.members", *words]
    try:
        done = ended_within(seconds, command, given=about, cwd=tree, env=environment(tree))
    except subprocess.TimeoutExpired as error:
        message = f"no answer within {seconds:g} s"
        raise Refusal(message) from error
    except OSError as error:
        message = f"{tree}: its inventory cannot be asked: {error}"
        raise Refusal(message) from error
    if done.status:
        raise Refusal(_refused(done.err.strip()) or f"it ended with {done.status}")
    try:
        return understood(answer_of(done.out))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        shown = f"cd {tree}; PYTHONPATH=. {shlex.join(command)}"
        message = f"the answer of its checkout cannot be understood ({type(error).__name__}): `{shown}` gives it"
        raise Refusal(message) from error


def _refused(said: str) -> str:
    """The sentence at the end of what a process has said; what its inventory has started may have said more above."""
    _, found, words = f"\n{said}".rpartition(f"\n{_ERROR}")
    # An error that nobody has foreseen ends with a line that names it.
    return words if found else said.rpartition(_ERROR)[2].rpartition("\n")[2]


def _told(inventory: str, limit: Sequence[str]) -> dict[str, Any]:
    with loaded(inventory, limit) as session:
        settings = settings_of(inventory)
        domains = domains_of(session.hosts, settings.domains)
        hosts = [Candidate(each.name, tuple(each.groups), domains[each.name]) for each in session.hosts]
        policies = {member.name: _digests(member) for member in session.hosts}
    return {
        "settings": settings.model_dump(mode="json", exclude={"gates", "notify"}),
        "gates": [gate.name for gate in settings.gates],
        "webhooks": {each.name: each.events for each in settings.notify},
        "groups": sorted(session.state.inventory.groups),
        "hosts": [
            {"name": each.name, "groups": each.groups, "domains": sorted(each.domains), "policies": policies[each.name]}
            for each in hosts
        ],
    }


def _digests(member: Host) -> dict[str, str]:
    effective = member.data.get("policies")
    if not isinstance(effective, Effective):
        return {}
    trees = (Path.cwd(), Path(__file__).parents[2])
    return {name: digest_of(said, trees) for name, said in effective.to_json().items()}


def main(words: Sequence[str]) -> int:
    """Answer on standard output."""
    with answering() as answer:
        status, told = _answer(words)
        if told is not None:
            print(json.dumps(told), file=answer)
    return status


def _asked(inventory: str, gates: Sequence[Gate], gate: str, wave: WaveHosts) -> tuple[Answer, str]:
    try:
        return asked(inventory, gates, gate, wave)
    except Refusal:
        raise
    except Exception as error:  # noqa: BLE001 - what it says is kept and shown, and may hold what the gate was given
        return Answer.INCONCLUSIVE, f"it could not be asked: {type(error).__name__}"


def _answer(words: Sequence[str]) -> tuple[int, dict[str, Any] | None]:
    try:
        if words[0] == "--ask":
            gate, inventory = words[1:]
            about = json.loads(sys.stdin.read())
            wave = WaveHosts(about["number"], tuple(about["hosts"]), tuple(about["untouched"]))
            answer, why = _asked(inventory, settings_of(inventory).gates, gate, wave)
            return 0, {"answer": answer, "words": why}
        return 0, _told(words[0], words[1:])
    except Refusal as error:
        print(f"{_ERROR}{error}", file=sys.stderr)
        return 2, None
    except Exception as error:  # noqa: BLE001 - an inventory is a program of its author's
        # Of pyinfra's own error, which stands around what an inventory has raised, not even the text can be had.
        raised = error.exception if isinstance(error, UnexpectedExternalError) else error
        print(f"{_ERROR}the inventory cannot be read: {_where(raised)}: {type(raised).__name__}: {raised}",
              file=sys.stderr)  # fmt: skip
        return 2, None


def _where(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{last.filename}:{last.lineno}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
