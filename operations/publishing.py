"""What a server for fleets without internet publishes: fetch what is new, and promote a version to a channel.

The host's own script (publish.sh of the server's policy) does both, under its own locks: a run that loses the
connection in the middle leaves a host that goes on, or one where nothing was published.
"""

from __future__ import annotations

import re
import shlex

from pyinfra import host, logger
from pyinfra.api import OperationError, StringCommand

from facts.publishing import Published, Publishing, script_of
from operations._contain import Commands, comes_first, operation, read

STAGING = "staging"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def require_word(value: str, what: str) -> str:
    """Refuse what is no plain name.

    Raises:
        OperationError: other characters than letters, digits and _.+-, or one of them first.
    """
    if not _WORD.fullmatch(value):
        message = f"{value!r} is no name of a {what}"
        raise OperationError(message)
    return value


def fetch(server: str) -> StringCommand:
    """The command that fetches now, and says what it ended with."""
    unit = f"photon-fleet-{server.replace('_', '-')}-sync.service"
    # systemd carries it out: it goes on when the connection is lost.
    return StringCommand(
        f"systemctl start {unit} 2>/dev/null; status=$?; said=$(sed -n 's/^base=//p' {script_of(server)})/said; "
        f'if [ "$status" -eq 0 ]; then cat "$said"; else cat "$said" >&2; exit 1; fi'
    )


@operation()
def fetched(server: str, made_of: str) -> Commands:
    """
    Make sure that the channel `staging` holds what the policy asks for, and that the last fetch did not fail.

    What is newer upstream is left to the timer.


    + server: the name of the server's policy
    + made_of: the policy's digest of what decides what a version holds
    """
    require_word(server, "server")
    found = read(Published, server=server)
    if found["made_of"] == made_of and not found["failed"]:
        host.noop("staging holds what the policy asks for")
        return
    yield fetch(server)


@operation(is_idempotent=False, idempotent_notice="It looks upstream each time.")
def fetched_now(server: str) -> Commands:
    """
    Fetch what is new, and let `staging` name it.

    + server: the name of the server's policy
    """
    require_word(server, "server")
    if not read(Published, server=server)["there"]:
        comes_first(_missing(server))
    yield fetch(server)


def _missing(server: str) -> str:
    return f"this host is no such server yet: run deploys/host.py --data only={server} first"


def target_of(found: Publishing, channel: str, version: str | None) -> dict[str, str]:
    """What each branch of a channel is to name: branch -> version. A server without branches has the one named "".

    Raises:
        OperationError: there is no such version, or nothing in `staging`.
    """
    if version is not None:
        require_word(version, "version")
        branches = found["versions"].get(version)
        if branches is None:
            known = ", ".join(sorted(found["versions"])) or "none"
            message = f"there is no version {version} on this host; there are {known}"
            raise OperationError(message)
        return dict.fromkeys(branches, version)
    wanted = found["channels"].get(STAGING, {})
    if not wanted:
        message = f"nothing is in {STAGING} yet, so nothing can be promoted to {channel}: look at the last fetch"
        raise OperationError(message)
    return wanted


@operation()
def promoted(server: str, channel: str, version: str | None = None) -> Commands:
    """
    Make sure that a channel names a version.

    + server: the name of the server's policy
    + channel: the name of the channel, such as prod
    + version: what it is to name (a snapshot, or a commit); what `staging` names when None
    """
    require_word(server, "server")
    require_word(channel, "channel")
    found = read(Published, server=server)
    if not found["there"]:
        raise OperationError(_missing(server))
    wanted = target_of(found, channel, version)
    now = found["channels"].get(channel, {})
    moves = {branch: target for branch, target in wanted.items() if now.get(branch) != target}
    if not moves:
        host.noop(f"{channel} names {', '.join(sorted(set(wanted.values())))} already")
        return
    for branch, target in sorted(moves.items()):
        label = f"{branch}/{channel}" if branch else channel
        logger.info("%s%s: %s -> %s", host.print_prefix, label, now.get(branch, "nothing"), target)
        words = [shlex.quote(word) for word in (channel, target, *([branch] if branch else []))]
        yield StringCommand(f"/bin/sh {script_of(server)} promote {' '.join(words)}")
