"""What an entry deploy needs to know of the run: the host's policies, those that were asked for, and their proof."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

from pyinfra import host, state
from pyinfra.api import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_host, ctx_state

from deploys._plan import write_plans
from deploys.errors import InputError
from deploys.guard import BUSY, NEWS, UNDONE, Owner, arrive, take_turns
from deploys.policies import POLICIES, names_in
from deploys.policies.base import Policy
from deploys.rollout import RESULT, UNPROVED
from deploys.rollout.plan import PLAN
from deploys.verify import Verdict, prove, report
from operations._contain import FAILURES, Commands, fail, operation

if TYPE_CHECKING:
    from deploys.rollout.store.rows import HostResult
VERDICTS: dict[str, list[Verdict]] = {}
"""Host name -> what its proof found in this run."""


@cache
def known_to_inspect(deploy_file: str) -> None:
    """Give a deploy file a module, under a name that nobody imports.

    pyinfra executes the file without making it one, and at every operation of every host asks `inspect` about each
    frame of the stack: for a file of no module, that looks through all modules there are.
    """
    module = ModuleType(f"{deploy_file} as executed by pyinfra")
    module.__file__ = deploy_file
    sys.modules[module.__name__] = module


@cache
def owner_of_run(why: str) -> Owner:
    """Whose run this is; the same one for all its hosts."""
    return Owner(why)


def begin() -> Owner:
    """Begin a run on the current host: look who else is there, and lock it before the first change."""
    owner = owner_of_run(str(host.data.get("why", default="")))
    take_turns(owner)
    arrive(name="Look for other runs, and for what they left")
    return owner


def selected() -> list[type[Policy]]:
    """The policies of this run, in registry order: all, or those of `--data only=`.

    Raises:
        InputError: a name is not a policy's.
    """
    only = host.data.get("only")
    if only is None:
        return [kind for kind in POLICIES if kind.of_host]
    names, complaints = names_in(str(only))
    if complaints:
        raise InputError("--data only=: " + "; ".join(complaints))
    return [kind for kind in POLICIES if kind.name in names and kind.of_host]


@contextmanager
def contained() -> Iterator[None]:
    """Keep one host's trouble (a secret that cannot be had, a refusal) from ending the run of the others."""
    try:
        yield
    except PyinfraError as error:
        fail(state, host, str(error))
        state.fail_hosts({ctx_host.get()})


@operation()
def proof(policies: list[Policy]) -> Commands:
    """
    Prove policies on the host: changes nothing, and fails the host when a check does not pass.

    + policies: whose checks are read
    """
    if not state.is_executing:
        return
    VERDICTS[host.name] = prove(ctx_host.get(), policies)
    failures = report(VERDICTS[host.name])
    if failures:
        yield FunctionCommand(fail, (failures,), {})
    else:
        host.noop(f"{len(VERDICTS[host.name])} checks passed")


@cache
def summarise_at_exit() -> None:
    """Print, after everything else, what is now true on which host. Once per run, however often asked."""
    # pyinfra ends an interrupted run with status 0, which a script would take for done.
    signal.signal(signal.SIGINT, _interrupted)
    # The context is gone at exit: keep what it stands for now.
    atexit.register(_summarise, ctx_state.get())


def _interrupted(*_: object) -> NoReturn:
    print("\nInterrupted: changes that are not confirmed are undone.", file=sys.stderr)
    sys.exit(130)


def _summarise(run: State) -> None:
    if not run.initialised or run.current_stage < StateStage.Connect:
        return
    members = [member for member in run.inventory if run.is_host_in_limit(member)]
    if os.environ.get(RESULT):
        # For who has started this run, and goes on by what came of each host.
        from deploys.rollout.results import write_results  # noqa: PLC0415 - a person's run needs none of it

        write_results({member.name: result for member in members if (result := _result(run, member)) is not None})
    if os.environ.get(PLAN) and not run.is_executing:
        write_plans(run)
    lines = _after_execution(run, members) if run.is_executing else _before_execution(run, members)
    for line in ["", *lines] if lines else []:
        print(line, file=sys.stderr)


def _result(run: State, member: Host) -> HostResult | None:
    """What came of a host; None when the run ended before anything did."""
    from deploys.rollout.model import Verdict  # noqa: PLC0415 - see _summarise
    from deploys.rollout.said import advisories_of, policies_of  # noqa: PLC0415 - see _summarise
    from deploys.rollout.store.rows import HostResult  # noqa: PLC0415 - see _summarise

    if member not in run.activated_hosts:
        return HostResult(Verdict.UNREACHABLE)
    if member.name in BUSY:
        return HostResult(Verdict.BUSY, 0, BUSY[member.name])
    if not run.is_executing:
        return (
            HostResult(Verdict.FAILED, 0, "it failed while the run was prepared")
            if member in run.failed_hosts
            else None
        )
    changes = sum(
        each.operation_meta.is_complete() and each.operation_meta.did_change() for each in run.ops[member].values()
    )
    line = _line(run, member)
    reasons = UNDONE.get(member.name) or FAILURES.get(member.name) or _last_words(run, member)
    words = "\n".join([line.partition(": ")[2], *reasons])
    policies = policies_of(run, member, VERDICTS.get(member.name))
    words_of_good = ("ok;", "nothing to do;", *(["done;"] if os.environ.get(UNPROVED) else []))
    good = line.startswith(tuple(f"{member.name}: {each}" for each in words_of_good))
    verdict = Verdict.OK if good else Verdict.FAILED
    if member.name in UNDONE and UNDONE[member.name][-1].startswith(("REVERTED:", "ROLLED BACK:")):
        verdict = Verdict.REVERTED
    return HostResult(verdict, changes, words, policies, advisories_of(member, policies))


def _last_words(run: State, member: Host) -> list[str]:
    """What the operation has said that failed."""
    for hash_, data in run.ops[member].items():
        meta = data.operation_meta
        if meta.is_complete() and not meta.did_succeed():
            names = ", ".join(sorted(run.op_meta[hash_].names))
            return [f"{names}: {line}" for line in meta.stderr_lines[-3:]] or [f"{names} failed"]
    return []


def _before_execution(run: State, members: list[Host]) -> list[str]:
    """A dry run, or one that ended before anything was changed: only what went wrong."""
    lines = []
    for member in members:
        if member not in run.activated_hosts:
            lines.append(f"{member.name}: could not be reached; nothing was changed")
        elif member in run.failed_hosts:
            lines.append(f"{member.name}: FAILED while preparing; nothing was changed")
    return lines


def _after_execution(run: State, members: list[Host]) -> list[str]:
    lines: list[str] = []
    last: dict[str, None] = {}
    for member in members:
        lines.append(_line(run, member))
        lines += [f"    {sentence}" for sentence in UNDONE.get(member.name, [])]
        lines += [f"    since the last run: {sentence}" for sentence in NEWS.get(member.name, [])]
        if member in run.activated_hosts:
            lines += [f"    {line}" for line in getattr(member.connector, "closing_words", list)()]
        last |= dict.fromkeys(getattr(member.connector, "last_words", list)())
    return [*lines, *last]


def _line(run: State, member: Host) -> str:
    """One host's closing line. `ok` is said only of what was proved, and only when everything was carried out."""
    if member not in run.activated_hosts:
        return f"{member.name}: could not be reached; nothing was changed"
    operations = [data.operation_meta for data in run.ops[member].values()]
    changes = sum(operation.is_complete() and operation.did_change() for operation in operations)
    changed = f"{changes} change{'' if changes == 1 else 's'}"
    verdicts = VERDICTS.get(member.name)
    carried_out = member not in run.failed_hosts and all(
        operation.is_complete() and operation.did_succeed() for operation in operations
    )
    if member.name in UNDONE:
        # What the policy changed before is undone as well: a count would say too much.
        return f"{member.name}: {UNDONE[member.name][-1].partition(':')[0]}; not proved"
    if verdicts is None:
        state_word = "done" if carried_out else "FAILED"
        return f"{member.name}: {state_word}; {changed}; not proved"
    if carried_out and not verdicts:
        return f"{member.name}: nothing to do; it has none of the policies asked for"
    passed = sum(verdict.passed for verdict in verdicts)
    good = carried_out and passed == len(verdicts)
    return f"{member.name}: {'ok' if good else 'FAILED'}; {changed}; {passed} of {len(verdicts)} checks passed"
