"""The running kernel's settings and modules: what differs is changed now, one thing at a time, and nothing else is.

`sysctl --system` is never used: it re-reads every file of the host, and with Photon's own
50-security-hardening.conf that takes forwarding away from a Docker that runs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.kernel import KernelModules, KernelSettings, setting_path
from operations._contain import Commands, comes_first, operation, read

SETTING = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)+")
MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def normalised(value: str) -> str:
    """A value with one blank between its words: the kernel prints tabs."""
    return " ".join(value.split())


def _require_settings(values: Mapping[str, str]) -> None:
    for key, value in values.items():
        if not SETTING.fullmatch(key):
            message = f"{key!r} is no name of a kernel setting, such as vm.swappiness"
            raise OperationError(message)
        if not normalised(value) or "\0" in value:
            message = f"{key}: {value!r} is no value of a kernel setting"
            raise OperationError(message)


def _assignment(key: str, value: str) -> str:
    """One assignment; the kernel's own refusal is followed by a sentence with the key and the value."""
    path = shlex.quote(f"/proc/sys/{setting_path(key)}")
    sentence = shlex.quote(f"the kernel does not take {key} = {value}")
    return f"{{ printf '%s\\n' {shlex.quote(value)} > {path} || {{ echo {sentence} >&2; failed=1; }}; }}"


@operation()
def settings(values: Mapping[str, str], optional: Collection[str] = (), *, may_come: bool = False) -> Commands:
    """
    Make sure that settings of the running kernel have these values, now. A file of /etc/sysctl.d keeps them.

    + values: name to value; blanks and tabs between words do not matter. The name as in sysctl.d(5)
    + optional: those that a kernel may lack: they are then passed over; others are refused
    + may_come: an earlier operation of the same run may load the module that brings the missing ones

    **Example:**

    .. code:: python

        kernel.settings(name="Let the kernel forward now", values={"net.ipv4.ip_forward": "1"})
    """
    _require_settings(values)
    if not values:
        host.noop("there is no setting")
        return
    found = read(KernelSettings, keys=list(values))
    if silent := sorted(set(values) - set(found)):
        message = f"the host does not tell its setting {', '.join(silent)}"
        raise OperationError(message)
    missing = [key for key, value in found.items() if value is None and key not in optional]
    if missing:
        message = f"the kernel of this host has no setting {', '.join(missing)} (a module may be missing)"
        if not may_come:
            raise OperationError(message)
        comes_first(message)
    differing = {
        key: normalised(value)
        for key, value in values.items()
        if found[key] is not None and normalised(str(found[key])) != normalised(value)
    }
    if not differing and not missing:
        host.noop(f"{len(values)} settings of the kernel are as wanted")
        return
    assignments = "; ".join(_assignment(key, value) for key, value in differing.items())
    yield StringCommand(f'failed=; {assignments}; [ -z "$failed" ]' if assignments else "true")


@operation()
def modules(names: Sequence[str]) -> Commands:
    """
    Make sure that modules are in the kernel now: loaded, or built in. A file of /etc/modules-load.d keeps them.

    + names: of the modules; `-` and `_` are the same

    A module that does not exist for the running kernel fails with modprobe's own sentence.

    **Example:**

    .. code:: python

        kernel.modules(name="Load what Kubernetes needs", names=["br_netfilter", "overlay"])
    """
    for name in names:
        if not MODULE.fullmatch(name):
            message = f"{name!r} is no name of a kernel module"
            raise OperationError(message)
    found = read(KernelModules, names=list(names)) if names else {}
    missing = [name for name in names if found.get(name.replace("-", "_")) == "absent"]
    if not missing:
        host.noop(f"{len(names)} modules are in the kernel")
        return
    yield StringCommand("modprobe -a --", *[shlex.quote(name) for name in missing])
