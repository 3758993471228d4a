"""SELinux's mode, booleans, file contexts and labels.

Enforcing is never switched on over wrong labels. The way back from an enforcing that locks everybody out is the guard
of the policy that calls these operations; an operation by itself has none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.selinux import SelinuxBooleans, SelinuxContexts, SelinuxKeptBooleans, SelinuxState, State
from operations._contain import Commands, operation, read
from operations.file import write

CONFIGURATION = "/etc/selinux/config"
MODES = ("enforcing", "permissive", "disabled")
PACKAGES = {
    "getenforce": "libselinux-utils", "setenforce": "libselinux-utils", "getsebool": "libselinux-utils",
    "setsebool": "policycoreutils", "restorecon": "policycoreutils", "semanage": "selinux-python",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

# What a login and a boot need. A file system with a wrong label here locks everybody out.
_NEEDED = "/etc /root /usr/bin /usr/sbin /usr/lib/systemd /var/lib/systemd /var/log"
_LABELS = (
    f"wrong=$(restorecon -nRv {_NEEDED}) || {{ echo 'the labels cannot be looked at' >&2; exit 1; }}; "
    '[ -z "$wrong" ] || { printf "%s\\n" "$wrong" | head -n 5 >&2; '
    "echo 'files have wrong labels: enforcing could lock everybody out. Relabel first (selinux.relabel)' >&2; exit 1; }"
)


def _require_on(state: State) -> None:
    """End the operation on a host whose kernel runs without SELinux.

    Raises:
        OperationError: with what leads there. Nothing has been changed.
    """
    if state["now"] != "disabled":
        return
    first = {"": "install selinux-policy, ", "permissive": ""}.get(
        state["boot"], f"let {CONFIGURATION} say SELINUX=permissive, "
    )
    message = (
        f"SELinux is not on in the kernel that runs, and nothing was changed: {first}"
        "add `security=selinux selinux=1` to the kernel's arguments, and reboot"
    )
    if state["boot"] == "enforcing":
        message += f". {CONFIGURATION} says enforcing now: that boot would lock everybody out if files have no labels"
    raise OperationError(message)


def _require_tools(state: State, *tools: str) -> None:
    missing = [tool for tool in tools if tool not in state["tools"]]
    if missing:
        packages = " ".join(dict.fromkeys(PACKAGES[tool] for tool in missing))
        message = f"this host has no {', '.join(missing)}: install {packages}"
        raise OperationError(message)


def _keep(state: State, mode: str) -> StringCommand:
    """The command that makes a mode the one of the next boot."""
    text = f"# Written by Photon Fleet (policy: selinux).\nSELINUX={mode}\nSELINUXTYPE={state['type'] or 'default'}\n"
    return write(CONFIGURATION, text, mode="644", after="true")


@operation()
def relabel() -> Commands:
    """
    Give every file its label, before enforcing is switched on. Takes minutes on a large disk.

    Under enforcing nothing is done: files get right labels as they are made. Under permissive it is done each time.

    **Example:**

    .. code:: python

        selinux.relabel(name="Label every file")
    """
    state = read(SelinuxState)
    _require_on(state)
    if state["now"] == "enforcing":
        host.noop("SELinux is enforcing, and files get their labels as they are made")
        return
    _require_tools(state, "restorecon")
    yield StringCommand("restorecon -RF -e /proc -e /sys -e /dev -e /run /")


@operation()
def mode(mode: str) -> Commands:
    """
    Make sure that SELinux is enforcing, permissive or disabled, now and from the next boot on.

    + mode: "enforcing", "permissive" or "disabled". Disabled holds from the next boot on, until then it is permissive

    Enforcing is refused while a file that logins and boots need has a wrong label: see `relabel`.

    **Example:**

    .. code:: python

        selinux.mode(name="Enforce SELinux's policy", mode="enforcing")
    """
    if mode not in MODES:
        message = f"{mode!r} is none of {', '.join(MODES)}"
        raise OperationError(message)
    state = read(SelinuxState)
    if mode == "disabled":
        yield from _disabled(state)
        return
    _require_on(state)
    if not state["boot"]:
        message = f"{CONFIGURATION} says nothing of SELINUX=: install selinux-policy"
        raise OperationError(message)
    if mode == "permissive":
        yield from _permissive(state)
        return
    yield from _enforcing(state)


def _enforcing(state: State) -> Commands:
    if (state["now"], state["boot"]) == ("enforcing", "enforcing"):
        host.noop("SELinux is enforcing")
        return
    _require_tools(state, "setenforce", "restorecon")
    # Labels matter to the next boot as much as to the logins of now.
    yield StringCommand(f"{_LABELS}; setenforce 1")
    if state["boot"] != "enforcing":
        yield _keep(state, "enforcing")


def _permissive(state: State) -> Commands:
    if (state["now"], state["boot"]) == ("permissive", "permissive"):
        host.noop("SELinux is permissive")
        return
    if state["boot"] != "permissive":
        yield _keep(state, "permissive")
    if state["now"] == "enforcing":
        _require_tools(state, "setenforce")
        yield StringCommand("setenforce 0")


def _disabled(state: State) -> Commands:
    if state["boot"] in {"", "disabled"} and state["now"] != "enforcing":
        host.noop("SELinux is disabled, from the next boot on" if state["now"] != "disabled" else "SELinux is off")
        return
    if state["boot"] not in {"", "disabled"}:
        yield _keep(state, "disabled")
    if state["now"] == "enforcing":
        _require_tools(state, "setenforce")
        yield StringCommand("setenforce 0")


@operation()
def booleans(values: Mapping[str, bool]) -> Commands:
    """
    Make sure that booleans of the policy have these values, now and after a reboot.

    + values: name to value; a name that the policy does not have is refused

    **Example:**

    .. code:: python

        selinux.booleans(name="Let web servers connect", values={"httpd_can_network_connect": True})
    """
    for name in values:
        if not _NAME.fullmatch(name):
            message = f"{name!r} is no name of a boolean"
            raise OperationError(message)
    if not values:
        host.noop("there is no boolean")
        return
    state = read(SelinuxState)
    _require_on(state)
    _require_tools(state, "getsebool", "setsebool")
    now, kept = read(SelinuxBooleans), read(SelinuxKeptBooleans)
    if unknown := [name for name in values if name not in now]:
        message = f"SELinux's policy on this host has no boolean {', '.join(unknown)}"
        raise OperationError(message)
    wrong = [f"{name}={int(value)}" for name, value in values.items() if now[name] != value or kept.get(name) != value]
    if not wrong:
        host.noop(f"{len(values)} booleans are as wanted")
        return
    yield StringCommand(f"setsebool -P {' '.join(wrong)}")


def pattern_of(path: str) -> str:
    """The pattern of file_contexts(5) for a path and all below it."""
    return re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", path) + "(/.*)?"


@operation()
def contexts(types: Mapping[str, str]) -> Commands:
    """
    Make sure that paths, and all that is below them, are labelled with a type, also by a later relabel.

    + types: absolute path to type, such as "/srv/app" to "httpd_sys_content_t"

    **Example:**

    .. code:: python

        selinux.contexts(name="Label the application", types={"/srv/app": "httpd_sys_content_t"})
    """
    for path, kind in types.items():
        if not re.fullmatch(r"(/[^/\s]+)+", path) or not _NAME.fullmatch(kind):
            message = f"{path!r}, {kind!r}: a path without blanks, and a type such as httpd_sys_content_t"
            raise OperationError(message)
    if not types:
        host.noop("there is no file context")
        return
    state = read(SelinuxState)
    _require_on(state)
    _require_tools(state, "semanage", "restorecon")
    found = read(SelinuxContexts)
    wrong = {path: kind for path, kind in types.items() if f":{kind}:" not in f"{found.get(pattern_of(path), '')}:"}
    if not wrong:
        host.noop(f"{len(types)} file contexts are as wanted")
        return
    yield StringCommand(
        " && ".join(_label(path, kind, known=pattern_of(path) in found) for path, kind in wrong.items())
    )


def _label(path: str, kind: str, *, known: bool) -> str:
    quoted = shlex.quote(path)
    verb = "-m" if known else "-a"
    return (
        f"semanage fcontext {verb} -t {kind} {shlex.quote(pattern_of(path))} && "
        f"{{ [ ! -e {quoted} ] || restorecon -RF {quoted}; }}"
    )


def names(values: Sequence[str]) -> list[str]:
    """Those that are no names of booleans or types."""
    return [value for value in values if not _NAME.fullmatch(value)]
