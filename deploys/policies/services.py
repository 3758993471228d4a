"""Services: units that run or do not, now and at boot, own unit files and timers, and drop-ins for others' units.

Unit files and drop-ins are checked by systemd itself before any of them is put in place. What a host cannot be reached
or mended without is not stopped, disabled or masked, and neither is what another policy of the host keeps running.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field
from pyinfra import host
from typing_extensions import override

from deploys.policies.base import Check, Item, Policy, Risk, file_check
from deploys.policies.types import UnitName, Word
from operations import systemd
from operations.systemd import DIRECTORY

if TYPE_CHECKING:
    from testinfra.host import Host

PROTECTED = (
    "sshd*", "ssh.*", "systemd-networkd.*", "systemd-journald*", "systemd-logind.*", "systemd-user-sessions.*",
    "systemd-udevd*", "systemd-tmpfiles-setup*", "dbus*", "*.target", "*.slice", "*.mount", "init.scope",
)  # fmt: skip
"""Units without which a host cannot be reached, booted or mended, as patterns."""
SAFE_TO_MASK = ("ctrl-alt-del.target",)

OWNERS: Mapping[str, tuple[str, ...]] = {
    "docker": ("docker.*", "containerd.*"),
    "firewall": ("iptables.*",),
    "time": ("systemd-timesyncd.*",),
    "logging": ("rsyslog.*", "systemd-journal-upload.*"),
    "network": ("systemd-resolved.*",),
    "package_mirror": ("photon-fleet-package-mirror*",),
    "ostree_server": ("photon-fleet-ostree-server*",),
}
"""Units that other policies keep running."""

UNRESTARTABLE = ("dbus*", "systemd-logind.*", "iptables.*", "*.target", "*.slice", "*.mount")
"""Units whose restart ends sessions, or takes Docker's rules away."""

_RESERVED = "photon-fleet"
_ON = {"enabled", "static", "alias", "indirect", "generated", "transient"}
_SWITCHED_ON = {"enabled", "enabled-runtime", "linked", "linked-runtime"}
_UP = {"active", "reloading"}


def is_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _content(value: str) -> str:
    if not value.lstrip().startswith(("[", "#", ";")) or "\0" in value:
        message = "no text of a unit file: it begins with a section such as [Service], or a comment"
        raise ValueError(message)
    return value if value.endswith("\n") else f"{value}\n"


Content = Annotated[str, AfterValidator(_content)]


class Service(Item):
    """What a unit is to be; None leaves it as it is."""

    identity: ClassVar[str] = "unit"

    unit: UnitName
    enabled: bool | None = None
    running: bool | None = None
    masked: bool = False
    """Stopped, and started by nobody."""

    @override
    def contradictions(self) -> Iterable[str]:
        if self.masked and (self.enabled or self.running):
            yield "masked, and yet to be enabled or running"
        if not self.masked and self.enabled is None and self.running is None:
            yield "says nothing: give enabled, running or masked"

    @property
    def switches_off(self) -> bool:
        """Whether anything of the unit is taken away."""
        return self.masked or self.enabled is False or self.running is False


class UnitFile(Item):
    """A unit of one's own: /etc/systemd/system/NAME. It does nothing until it is among the units, or a timer's."""

    name: UnitName
    content: Content
    restart: bool = True
    """Restart the unit when it runs with an older file."""

    @property
    def place(self) -> str:
        """Where it is below /etc/systemd/system."""
        return self.name

    @property
    def unit(self) -> str:
        """The unit it defines."""
        return self.name


class DropIn(Item):
    """A piece of a unit of others: /etc/systemd/system/UNIT.d/NAME.conf."""

    identity: ClassVar[str] = "unit"

    unit: UnitName
    name: Word = "50-services"
    content: Content
    restart: bool = True
    """Restart the unit when it runs without this."""

    @property
    @override
    def ident(self) -> str:
        return f"{self.unit}/{self.name}"

    @property
    def place(self) -> str:
        """Where it is below /etc/systemd/system."""
        return f"{self.unit}.d/{self.name}.conf"


class Services(Policy):
    """Units of a host, and what they are made of."""

    name: ClassVar[str] = "services"
    risk: ClassVar[Risk] = Risk.SERVICE

    units: tuple[Service, ...] = Field(default=())
    files: tuple[UnitFile, ...] = ()
    drop_ins: tuple[DropIn, ...] = ()

    @override
    def problems(self) -> Iterable[str]:
        for service in self.units:
            if service.switches_off and is_any(service.unit, PROTECTED) and service.unit not in SAFE_TO_MASK:
                yield f"units[{service.unit}]: without it the host could not be reached, booted or mended"
        for file in self.files:
            if is_any(file.name, (*PROTECTED, *sum(OWNERS.values(), ()))) and not file.name.endswith(
                (".mount", ".slice", ".target")
            ):
                yield f"files[{file.name}]: a file of this name would replace the system's own unit; use a drop-in"
        for drop_in in self.drop_ins:
            if drop_in.name.startswith(_RESERVED):
                yield f"drop_ins[{drop_in.ident}].name: names that begin with {_RESERVED} are other policies'"
            if drop_in.restart and is_any(drop_in.unit, UNRESTARTABLE):
                yield (
                    f"drop_ins[{drop_in.ident}].restart: a restart of {drop_in.unit} would end sessions "
                    "or break others; set restart=False, and it holds from the next boot on"
                )

    @override
    def conflicts(self, others: Mapping[str, Policy]) -> Iterable[str]:
        for service in self.units:
            for owner, patterns in OWNERS.items():
                if owner in others and service.switches_off and is_any(service.unit, patterns):
                    yield f"units[{service.unit}]: the {owner} policy of this host keeps it running"

    def definitions(self) -> tuple[UnitFile | DropIn, ...]:
        """All files of the policy."""
        return (*self.files, *self.drop_ins)

    @override
    def apply(self) -> None:
        systemd.definitions(
            name="Define units and drop-ins",
            files={each.place: each.content for each in self.definitions()},
            restart=[each.unit for each in self.definitions() if each.restart],
        )
        for service in host.loop(self.units):
            systemd.unit(
                name=f"Unit {service.unit}", unit=service.unit, enabled=service.enabled, running=service.running,
                masked=service.masked,
            )  # fmt: skip

    @override
    def checks(self) -> Iterable[Check]:
        for file in self.files:
            yield from _definition_checks(f"files[{file.ident}]", file)
        for drop_in in self.drop_ins:
            yield from _definition_checks(f"drop_ins[{drop_in.ident}]", drop_in)
        for service in self.units:
            yield from _unit_checks(service)


def _definition_checks(where: str, each: UnitFile | DropIn) -> Iterable[Check]:
    path, label = f"{DIRECTORY}/{each.place}", f"services.file[{each.place}]"
    yield Check(
        id=label, field=f"{where}.content", proves=f"{path} has the policy's text",
        read=lambda host: host.check_output("cat %s", path), expect=each.content.rstrip("\n"),
    )  # fmt: skip
    yield file_check(f"{label}.mode", where, path, "644")
    if "@." in each.unit:
        return
    yield Check(
        id=f"{label}.loaded", field=where, proves=f"systemd has read {path}",
        read=partial(is_loaded, each.unit, path), expect=True, needs=label,
    )  # fmt: skip
    if each.restart:
        yield Check(
            id=f"{label}.in-force", field=f"{where}.restart", proves=f"{each.unit} does not run with an older {path}",
            read=partial(is_in_force, each.unit, path), expect=True, needs=label,
        )  # fmt: skip


def _unit_checks(service: Service) -> Iterable[Check]:
    unit, where = service.unit, f"units[{service.unit}]"
    if service.masked:
        yield Check(
            id=f"services.unit[{unit}].masked", field=f"{where}.masked", proves=f"nobody can start {unit}",
            read=partial(said, "is-enabled", unit), expect="masked",
        )  # fmt: skip
    if service.enabled is not None:
        yield Check(
            id=f"services.unit[{unit}].enabled", field=f"{where}.enabled",
            proves=f"{unit} {'starts' if service.enabled else 'does not start'} at boot",
            read=partial(starts_at_boot, unit, _ON if service.enabled else _SWITCHED_ON), expect=service.enabled,
        )  # fmt: skip
    if service.masked or service.running is not None:
        yield Check(
            id=f"services.unit[{unit}].running", field=f"{where}.running",
            proves=f"{unit} {'runs' if service.running else 'is off'}",
            read=lambda host: said("is-active", unit, host) in _UP, expect=bool(service.running),
        )  # fmt: skip


def starts_at_boot(unit: str, words: set[str], host: Host) -> bool:
    """Whether systemctl says one of these words: a static unit is neither switched on nor off."""
    return said("is-enabled", unit, host) in words


def said(verb: str, unit: str, host: Host) -> str:
    """systemctl's one word about a unit; its exit status says the same."""
    return str(host.run(f"systemctl {verb} %s", unit).stdout).strip() or "not-found"


def is_loaded(unit: str, path: str, host: Host) -> bool:
    """Whether systemd knows this file, and nothing newer than what it knows is there."""
    shown = host.check_output("systemctl show --property=FragmentPath,DropInPaths,NeedDaemonReload %s", unit)
    found = dict(line.split("=", 1) for line in shown.splitlines())
    known = {found["FragmentPath"], *found["DropInPaths"].split()}
    return path in known and found["NeedDaemonReload"] == "no"


def is_in_force(unit: str, path: str, host: Host) -> bool:
    """Whether the unit's process began no earlier than the file was last changed (seconds), where it has one."""
    pid = host.check_output("systemctl show --property=MainPID --value %s", unit)
    if pid in {"", "0"}:
        return True
    return int(host.check_output("stat -c %%Y %s", f"/proc/{pid}")) >= int(host.check_output("stat -c %%Y %s", path))
