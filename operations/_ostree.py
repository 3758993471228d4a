"""How operations run ostree and rpm-ostree: with a time limit, and with a sentence when it fails.

`carried_out` is what they yield. The command's answer travels framed, so that what it says can be told as a sentence
(facts/_ostree_sentences.py) and the exit status alone is never the proof.
"""

from __future__ import annotations

import shlex
from functools import reduce

from paramiko import SSHException
from pyinfra import host as target
from pyinfra import logger
from pyinfra.api import FunctionCommand, OperationError, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from facts import _ostree
from facts._answer import Answer, AnswerError
from facts._ostree import Deployment, ImageHost
from facts._ostree_sentences import sentence
from operations._around import connector_arguments, surrounding
from operations._contain import Commands, fail

SECONDS = 3600
"""For what pulls an image."""
QUICK_SECONDS = 120
ORIGIN = "/run/photon-fleet-origin"

# A staged update that does not fit into /boot succeeds now and is gone after the reboot, without a trace in status. The
# name of a kernel's directory in /boot is the checksum of kernel and initramfs; one that did not fit leaves it empty.
FITS_IN_BOOT = r"""
new=$(ostree admin status | sed -n '1s,^..\([^ ]*\) \([^ ]*\) .*,/ostree/deploy/\1/deploy/\2,p')
k=$(ls -d "$new"/usr/lib/modules/*/vmlinuz 2>/dev/null | head -n 1)
if [ -e /run/ostree/staged-deployment ] && [ -n "$k" ]; then
  i=${k%/*}/initramfs.img; [ -e "$i" ] || i=
  sum=$(cat "$k" $i | sha256sum | cut -d' ' -f1)
  need=$(cat "$k" $i | wc -c)
  if [ "$(cat /boot/ostree/*-"$sum"/vmlinuz* /boot/ostree/*-"$sum"/initramfs* 2>/dev/null | wc -c)" -lt "$need" ]; then
    free=$(stat -f -c '%a %S' /boot); free=$((${free% *} * ${free#* }))
    if [ "$free" -lt "$need" ]; then
      ostree admin undeploy 0 >/dev/null
      echo "error: Installing kernel: $need bytes, and $free are free: No space left on device" >&2; exit 1
    fi
  fi
fi
"""


def carried_out(
    command: str, seconds: int = SECONDS, *, before: str = "", after: str = "", reboots: bool = False
) -> FunctionCommand:
    """A command of ostree or rpm-ostree; when it fails, the host fails with a sentence.

    `before` and `after` are scripts that have to succeed as well. One that reboots may lose the connection.
    """
    script = f"{before} && {command}" if before else command
    script = f"{script} && {{ {after.strip()}\n}}" if after else script
    function = run_into_reboot if reboots else run
    return FunctionCommand(function, (short(command), f"sh -c {shlex.quote(script)}", seconds), {})


def at_index(command: str, deployment: Deployment) -> FunctionCommand:
    """A command of `ostree admin` that takes an index: looked up by the very script that uses it, as indexes shift."""
    name = f"{deployment['checksum']}.{deployment['serial']}"
    # Two stateroots may have the same commit with the same number.
    line = f" {deployment['stateroot']} {name}( |$)".replace(".", "[.]")
    find = (
        f"n=$(ostree admin status | grep -E '^[* ] [^ ]' | grep -n -E {shlex.quote(line)} | cut -d: -f1) && "
        f"{{ [ -n \"$n\" ] || {{ echo 'error: Invalid index: {name} is gone' >&2; exit 1; }}; }}"
    )
    return carried_out(f"ostree admin {command} $((n - 1))", QUICK_SECONDS, before=find)


def next_of(found: ImageHost) -> Deployment:
    """What the next boot starts."""
    return found["deployments"][0]


def runs(found: ImageHost, what: str) -> None:
    """Say that there is nothing to do but a reboot, or not even that."""
    waits = "" if "booted" in next_of(found)["roles"] else " after the next reboot"
    target.noop(f"the host runs {what}{waits}")


def staged(revision: str, refspec: str) -> FunctionCommand:
    """Stage what this host has already, offline; without the origin file it would follow the bare checksum."""
    return carried_out(
        f"ostree admin deploy --stage --origin-file={ORIGIN} {revision}",
        before=f"(umask 077; printf '[origin]\\nrefspec=%s\\n' {refspec} > {ORIGIN})", after=FITS_IN_BOOT,
    )  # fmt: skip


def taken_back(found: ImageHost) -> Commands:
    """Remove what is staged or pending: everything before the image that runs."""
    for each in found["deployments"]:
        if "booted" in each["roles"]:
            return
        if "pinned" in each["roles"]:
            message = f"{each['version'] or each['checksum'][:12]} is pinned, and would be started next: unpin it first"
            raise OperationError(message)
        if found["tool"] == "rpm-ostree":
            yield carried_out("rpm-ostree cleanup -p", QUICK_SECONDS)
            return
        yield at_index("undeploy", each)


def run(state: State, host: Host, command: str, script: str, seconds: int) -> bool:
    """Run it on the host, and tell what it said. What is done around a change is done around this one too."""
    line: StringCommand = reduce(
        lambda inner, each: each.wrapped(inner), surrounding(host, host.current_op_hash),
        StringCommand(_ostree.framed(script, seconds)),
    )  # fmt: skip
    succeeded, output = host.run_shell_command(line, **connector_arguments(host))
    try:
        given = _ostree.answer(output.stdout_lines)
    except AnswerError:
        said = "\n".join([*output.stdout_lines, *output.stderr_lines]).strip()
        return fail(state, host, f"{command}: {said or 'the connection was lost'}")
    if given.exit or not succeeded:
        return fail(state, host, sentence(command, given))
    for text in told(given):
        host.log_styled(text, log_func=logger.info)
    return True


def run_into_reboot(state: State, host: Host, command: str, script: str, seconds: int) -> bool:
    """As `run`; the reboot may come before the answer, and whoever waits for the host sees whether it came."""
    try:
        return run(state, host, command, script, seconds)
    except (SSHException, OSError, EOFError):
        return True


def short(command: str) -> str:
    """A command without options and arguments: `ostree admin upgrade`."""
    words = command.split()
    return " ".join(words[: 3 if words[1] in {"admin", "remote"} else 2])


def told(given: Answer) -> list[str]:
    """What a run that succeeded said that is worth a line."""
    lines = (line.strip() for line in given.stdout.splitlines())
    return [line for line in lines if line and not line.startswith(("Copying /etc", "Transaction complete", "Freed "))]
