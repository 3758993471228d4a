"""The running kernel: its settings, its modules, its command line and the one of the next boot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.command import QuoteString
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

_FOUND, _MISSING, _UNREADABLE = "=", "-", "?"


def setting_path(key: str) -> str:
    """The file of a setting below /proc/sys, by the rule of sysctl.d(5).

    The first separator decides: `net.ipv4.ip_forward`; in `net/ipv4/conf/eth0.5/forwarding` a dot belongs to a name.
    """
    first = next((letter for letter in key if letter in "./"), ".")
    return key if first == "/" else key.translate(str.maketrans("./", "/."))


class KernelSettings(FactBase[dict[str, str | None]]):
    """
    Returns the values of kernel settings, words separated by one blank; None for one that the kernel does not have:

    .. code:: python

        {"net.ipv4.tcp_rmem": "4096 131072 6291456", "net.ipv4.no_such": None}

    Source of the format: proc(5), /proc/sys.
    """

    @override
    def command(self, keys: Sequence[str]) -> StringCommand:
        script = (
            "while [ $# -gt 0 ]; do "
            f'if [ ! -f "/proc/sys/$2" ]; then echo "$1 {_MISSING}"; '
            # Without globbing: a value such as `*` stays one.
            f"elif value=$(cat \"/proc/sys/$2\"); then printf '%s {_FOUND}' \"$1\"; printf ' %s' $value; echo; "
            f'else echo "$1 {_UNREADABLE}"; fi; shift 2; done'
        )
        words = [QuoteString(word) for key in keys for word in (key, setting_path(key))]
        return StringCommand("sh -fc", QuoteString(script), "sh", *words)

    @override
    def process(self, output: list[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for line in output:
            key, _, answer = line.partition(" ")
            mark, _, value = answer.partition(" ")
            if mark not in {_FOUND, _MISSING}:
                message = f"a setting of the kernel could not be read: {line!r}"
                raise FactProcessError(message)
            found[key] = value.strip() if mark == _FOUND else None
        return found


class KernelModules(FactBase[dict[str, str]]):
    """
    Returns whether modules are `loaded`, `built-in` or `absent`:

    .. code:: python

        {"br_netfilter": "loaded", "ext4": "built-in", "usb_storage": "absent"}

    A built-in module without parameters has no directory below /sys/module: the kernel package's list is looked
    at as well. Source of the format: /sys/module, and modules.builtin of kmod.
    """

    @override
    def command(self, names: Sequence[str]) -> StringCommand:
        script = (
            "list=/lib/modules/$(uname -r)/modules.builtin; "
            'for name; do if [ -e "/sys/module/$name/initstate" ]; then state=loaded; '
            'elif [ -d "/sys/module/$name" ]; then state=built-in; '
            'elif [ -f "$list" ] && tr - _ < "$list" | grep -q "/$name\\.ko"; then state=built-in; '
            'else state=absent; fi; echo "$name" $state; done'
        )
        words = [QuoteString(name.replace("-", "_")) for name in names]
        return StringCommand("sh -c", QuoteString(script), "sh", *words)

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in output:
            name, _, state = line.partition(" ")
            if state not in {"loaded", "built-in", "absent"}:
                message = f"expected a module and its state, found {line!r}"
                raise FactProcessError(message)
            found[name] = state
        return found


class Boot(TypedDict):
    """`running`: this boot's arguments; `files`: the arguments of each file of /boot; `entry`: the kernel's file."""

    running: list[str]
    entry: str
    files: dict[str, list[str]]


class CommandLine(FactBase[Boot]):
    """
    Returns the kernel's arguments, those that the files of /boot give to the next boot, and which kernel that is:

    .. code:: python

        {"running": ["ro", "audit=1"], "entry": "linux-6.1.111-1.ph5-esx.cfg",
         "files": {"photon_cmdline": ["init=/lib/systemd/systemd", "ro"], "user_cmdline": ["audit=1"]}}

    `entry` is "" where /boot/photon.cfg is no link. Source of the format: /proc/cmdline, and Photon's photon.cfg,
    systemd.cfg and user.cfg, whose lines are NAME_cmdline=ARGUMENTS.
    """

    @override
    def command(self) -> str:
        return (
            "cat /proc/cmdline && { readlink /boot/photon.cfg || echo; } && "
            "for file in /boot/photon.cfg /boot/systemd.cfg /boot/user.cfg; do "
            '[ ! -f "$file" ] || grep _cmdline= "$file" || [ $? -eq 1 ] || exit 1; done'
        )

    @override
    def process(self, output: list[str]) -> Boot:
        try:
            running, entry, *lines = output
            files = {}
            for line in lines:
                name, _, arguments = line.partition("=")
                files[name.strip()] = arguments_of(arguments)
            return {"running": arguments_of(running), "entry": entry, "files": files}
        except ValueError as error:
            message = f"expected the kernel's arguments and the file of the next kernel, found {output!r}"
            raise FactProcessError(message) from error


def arguments_of(arguments: str) -> list[str]:
    """Arguments are separated by blanks; a value with blanks is in double quotes, which belong to it."""
    return re.findall(r'(?:[^\s"]|"[^"]*"?)+', arguments)
