"""SELinux: its mode, booleans, and the labels of paths.

Photon comes without it. A host whose kernel runs without SELinux is refused with what leads there; nothing is switched
on by this policy that needs a reboot. Enforcing is confirmed by a login under it, like all that the guard watches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator
from typing_extensions import override

from deploys.policies.base import Check, Item, Policy, Risk, Undo
from deploys.policies.render import render
from operations import selinux
from operations.selinux import CONFIGURATION, pattern_of

if TYPE_CHECKING:
    from testinfra.host import Host

Mode = Literal["enforcing", "permissive", "disabled"]


def _name(value: str) -> str:
    if selinux.names([value]):
        message = f"{value!r}: letters, digits and _ only, and a letter first"
        raise ValueError(message)
    return value


def _labelled_path(value: str) -> str:
    if not re.fullmatch(r"(/[^/\s]+)+", value) or {".", ".."} & set(value.split("/")):
        message = f"{value!r} is no plain absolute path"
        raise ValueError(message)
    return value


Name = Annotated[str, AfterValidator(_name)]


class Boolean(Item):
    """A switch of SELinux's policy."""

    name: Name
    value: bool


class FileContext(Item):
    """The type of a path and of all below it."""

    identity: ClassVar[str] = "path"

    path: Annotated[str, AfterValidator(_labelled_path)]
    type: Name
    """Such as `httpd_sys_content_t`."""


class Selinux(Policy):
    """What SELinux does on a host."""

    name: ClassVar[str] = "selinux"
    risk: ClassVar[Risk] = Risk.CONNECTIVITY
    unproved: ClassVar[Mapping[str, str]] = {
        "relabel": "what is done before enforcing is switched on; wrong labels are looked for in any case",
    }

    mode: Mode = "permissive"
    relabel: bool = False
    """Give every file its label before enforcing is switched on. Takes minutes on a large disk."""
    booleans: tuple[Boolean, ...] = ()
    contexts: tuple[FileContext, ...] = ()

    @override
    def problems(self) -> Iterable[str]:
        if self.mode == "disabled" and (self.booleans or self.contexts):
            yield "mode: with SELinux disabled there are no booleans and no contexts to set"
        for context in self.contexts:
            if context.path.count("/") == 1:
                yield f"contexts[{context.path}]: one type for all below {context.path} would break the system"

    @override
    def prepare(self) -> None:
        if self.relabel and self.mode == "enforcing":
            selinux.relabel(name="Give every file its label")

    @override
    def apply(self) -> None:
        # Labels and booleans first: they decide what enforcing lets through.
        selinux.contexts(name="Label paths", types={context.path: context.type for context in self.contexts})
        selinux.booleans(
            name="Set SELinux's booleans", values={boolean.name: boolean.value for boolean in self.booleans}
        )
        selinux.mode(name=f"Let SELinux be {self.mode}", mode=self.mode)

    @override
    def undo(self) -> Undo:
        return Undo(paths=(CONFIGURATION,), running=render("selinux/undo.sh"))

    @override
    def checks(self) -> Iterable[Check]:
        yield Check(
            id="selinux.mode", field="mode", proves=f"SELinux is {self.mode}", read=mode_now, expect=self.mode,
        )  # fmt: skip
        yield Check(
            id="selinux.boot", field="mode", proves=f"SELinux is {self.mode} from the next boot on",
            read=mode_at_boot, expect=self.mode,
        )  # fmt: skip
        for boolean in self.booleans:
            wanted = "on" if boolean.value else "off"
            where = f"booleans[{boolean.name}]"
            yield Check(
                id=f"selinux.boolean[{boolean.name}]", field=where, proves=f"{boolean.name} is {wanted}",
                read=partial(boolean_now, boolean.name), expect=wanted,
            )  # fmt: skip
            yield Check(
                id=f"selinux.boolean[{boolean.name}].boot", field=where,
                proves=f"{boolean.name} is {wanted} after a reboot",
                read=partial(is_kept, f"{boolean.name}={int(boolean.value)}"), expect=True,
            )  # fmt: skip
        for context in self.contexts:
            where = f"contexts[{context.path}]"
            yield Check(
                id=f"selinux.context[{context.path}]", field=where,
                proves=f"a relabel gives {context.path} the type {context.type}",
                read=partial(type_by_rule, context.path), expect=context.type,
            )  # fmt: skip
            yield Check(
                id=f"selinux.context[{context.path}].label", field=where,
                proves=f"{context.path} has the type {context.type}",
                read=partial(type_of, context.path, context.type), expect=context.type,
            )  # fmt: skip


def mode_now(host: Host) -> str:
    """What getenforce says; a host without it is judged by whether the kernel has SELinux's files."""
    found = host.run("getenforce")
    if found.rc == 0:
        return str(found.stdout).strip().lower()
    return "on, and there is no getenforce" if host.file("/sys/fs/selinux/enforce").exists else "disabled"


def mode_at_boot(host: Host) -> str:
    """What the configuration says; without one SELinux is off."""
    return host.run("sed -n s/^SELINUX=//p %s", CONFIGURATION).stdout.strip().lower() or "disabled"


def boolean_now(name: str, host: Host) -> str:
    """`on` or `off`."""
    return str(host.check_output("getsebool %s", name)).partition("--> ")[2].split()[0]


def is_kept(line: str, host: Host) -> bool:
    """Whether a boolean is set for good."""
    return line in host.check_output("cat /var/lib/selinux/*/active/booleans.local").splitlines()


def type_by_rule(path: str, host: Host) -> str:
    """The type that our own rule gives a path."""
    text = host.check_output("cat /etc/selinux/*/contexts/files/file_contexts.local")
    for line in reversed(text.splitlines()):
        words = line.split()
        if words and words[0] == pattern_of(path):
            return str(words[-1].split(":")[2])
    return "no rule of ours"


def type_of(path: str, wanted: str, host: Host) -> str:
    """The type in a path's label; what is not there has no wrong one."""
    found = host.run("stat -c %%C %s", path)
    if found.rc != 0:
        return wanted
    parts = found.stdout.strip().split(":")
    return parts[2] if len(parts) > 2 else "no label"  # noqa: PLR2004 - user:role:type
