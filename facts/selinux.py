"""SELinux: what the kernel does now, what the next boot will do, and what has been changed from the distribution's."""

from __future__ import annotations

import re
from typing import TypedDict

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

TOOLS = ("getenforce", "setenforce", "getsebool", "setsebool", "restorecon", "semanage")
_MODES = {"0": "permissive", "1": "enforcing", "absent": "disabled"}


class State(TypedDict):
    """`now` and `boot` are enforcing, permissive or disabled; `boot` is "" without a configuration.

    `type`: the policy of the configuration, such as default; `tools`: what the host has of `TOOLS`.
    """

    now: str
    boot: str
    type: str
    tools: list[str]


class SelinuxState(FactBase[State]):
    """
    Returns what SELinux does, now and from the next boot on:

    .. code:: python

        {"now": "permissive", "boot": "permissive", "type": "default", "tools": ["getenforce"]}

    Source of the format: /sys/fs/selinux/enforce of the kernel, and /etc/selinux/config (selinux_config(5)).
    """

    @override
    def command(self) -> str:
        return (
            "{ cat /sys/fs/selinux/enforce 2>/dev/null && echo || echo absent; } | head -n 1; "
            f"for tool in {' '.join(TOOLS)}; do ! command -v $tool >/dev/null || printf '%s ' $tool; done; echo; "
            "[ ! -f /etc/selinux/config ] || grep -E '^(SELINUX|SELINUXTYPE)=' /etc/selinux/config || true"
        )

    @override
    def process(self, output: list[str]) -> State:
        try:
            now, tools, *lines = output
            configured = dict(line.strip().split("=", 1) for line in lines)
            return {
                "now": _MODES[now.strip()], "boot": configured.get("SELINUX", "").strip().lower(),
                "type": configured.get("SELINUXTYPE", "").strip(), "tools": tools.split(),
            }  # fmt: skip
        except (ValueError, KeyError) as error:
            message = f"expected the mode, the tools and the configuration, found {output!r}"
            raise FactProcessError(message) from error


class SelinuxBooleans(FactBase[dict[str, bool]]):
    """
    Returns the booleans as they are now:

    .. code:: python

        {"httpd_can_network_connect": True, "virt_use_nfs": False}

    Source of the format: getsebool(8), `-a`; a value that is set and not yet committed follows as `pending:`.
    """

    @override
    def command(self) -> str:
        return "getsebool -a"

    @override
    def process(self, output: list[str]) -> dict[str, bool]:
        found = {}
        for line in output:
            if not (match := re.fullmatch(r"(\S+) --> (on|off)(?: pending: (?:on|off))?\s*", line)):
                message = f"getsebool printed {line!r}"
                raise FactProcessError(message)
            found[match[1]] = match[2] == "on"
        return found


class SelinuxKeptBooleans(FactBase[dict[str, bool]]):
    """
    Returns the booleans that somebody has set for good, beyond what the policy itself has:

    .. code:: python

        {"httpd_can_network_connect": True}

    Source of the format: booleans.local of libsemanage, NAME=1 or NAME=0.
    """

    @override
    def command(self) -> str:
        return "cat /var/lib/selinux/*/active/booleans.local 2>/dev/null || true"

    @staticmethod
    @override
    def default() -> dict[str, bool]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, bool]:
        pairs = (line.split("=", 1) for line in output if "=" in line and not line.startswith("#"))
        return {name.strip(): value.strip() in {"1", "on", "true"} for name, value in pairs}


class SelinuxContexts(FactBase[dict[str, str]]):
    """
    Returns the local file contexts for all kinds of files: pattern to context.

    .. code:: python

        {"/srv/app(/.*)?": "system_u:object_r:httpd_sys_content_t:s0"}

    Source of the format: `semanage fcontext -l -C` (semanage-fcontext(8)).
    """

    @override
    def command(self) -> str:
        return "semanage fcontext -l -C"

    @staticmethod
    @override
    def default() -> dict[str, str]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        matches = (re.fullmatch(r"(/\S*)\s+all files\s+(\S+)\s*", line) for line in output)
        return {match[1]: match[2] for match in matches if match}
