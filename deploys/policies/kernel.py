"""The kernel: its flavour, settings that survive a reboot, modules, and arguments of the command line.

Settings are kept in a file of /etc/sysctl.d that is read after Photon's own 50-security-hardening.conf, and set now one
by one; nothing re-reads the other files. What only a reboot can bring (another flavour, an argument, a blacklisted
module that is loaded) is said by the proof: the policy never reboots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator
from typing_extensions import override

from deploys.policies.base import Check, Item, Policy, Risk, file_check
from deploys.policies.render import render
from facts.kernel import arguments_of, setting_path
from operations import file, kernel, tdnf

if TYPE_CHECKING:
    from testinfra.host import Host

Flavour = Literal["linux", "linux-esx", "linux-rt"]
SETTINGS = "/etc/sysctl.d/90-photon-fleet.conf"
MODULES = "/etc/modules-load.d/photon-fleet.conf"
BLACKLIST = "/etc/modprobe.d/photon-fleet.conf"
FORWARDING = ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding")


def _key(value: str) -> str:
    if not kernel.SETTING.fullmatch(value):
        message = f"{value!r} is no name of a kernel setting, such as vm.swappiness"
        raise ValueError(message)
    return value


def _as_text(value: Any) -> Any:  # noqa: ANN401 - pydantic judges what it is
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _value(value: str) -> str:
    if not kernel.normalised(value) or "\n" in value or "\0" in value or value.strip().startswith("#"):
        message = f"{value!r} is no value of a kernel setting"
        raise ValueError(message)
    return kernel.normalised(value)


def _module(value: str) -> str:
    if not kernel.MODULE.fullmatch(value):
        message = f"{value!r} is no name of a kernel module"
        raise ValueError(message)
    return value.replace("-", "_")


def _argument(value: str) -> str:
    if not value or value.startswith("-") or any(letter.isspace() or letter in "'\"\\" for letter in value):
        message = f"{value!r} is no argument of the kernel, such as audit=1"
        raise ValueError(message)
    return value


Module = Annotated[str, AfterValidator(_module)]
Argument = Annotated[str, AfterValidator(_argument)]


class Setting(Item):
    """A setting of the kernel, as in sysctl.d(5)."""

    identity: ClassVar[str] = "key"

    key: Annotated[str, AfterValidator(_key)]
    """Such as `vm.swappiness`; `net/ipv4/conf/eth0.5/forwarding` where a name has a dot."""
    value: Annotated[str, BeforeValidator(_as_text), AfterValidator(_value)]
    optional: bool = False
    """Passed over on a kernel that does not have it; without this such a host is refused."""


class Kernel(Policy):
    """The kernel of a host."""

    name: ClassVar[str] = "kernel"
    risk: ClassVar[Risk] = Risk.REBOOT

    flavour: Flavour | None = None
    """Installed, and proved to be the one that runs and the one that the next boot starts."""
    settings: tuple[Setting, ...] = ()
    modules: tuple[Module, ...] = ()
    """In the kernel now and after each boot."""
    blacklist: tuple[Module, ...] = ()
    """Never loaded from now on, by whatever asks for them. One that is loaded stays until the next boot."""
    arguments: tuple[Argument, ...] = ()
    """Proved to be on the command line of the kernel that runs; nothing in /boot is changed."""

    @override
    def contradictions(self) -> Iterable[str]:
        yield from super().contradictions()
        for module in sorted({*self.modules} & {*self.blacklist}):
            yield f"blacklist: {module} is also to be loaded"
        seen: dict[str, str] = {}
        for setting in self.settings:
            path = setting_path(setting.key)
            if path in seen:
                yield f"settings: {seen[path]!r} and {setting.key!r} are the same setting"
            seen[path] = setting.key

    @override
    def conflicts(self, others: Mapping[str, Policy]) -> Iterable[str]:
        for setting in self.settings:
            if "docker" in others and setting_path(setting.key) in FORWARDING and setting.value != "1":
                yield (
                    f"settings[{setting.key}]: the docker policy of this host needs forwarding, "
                    f"and {setting.value} would take every container off the network"
                )

    def render(self) -> str:
        """The text of the settings' file."""
        return render("kernel/sysctl", settings=self.settings)

    @override
    def apply(self) -> None:
        if self.flavour is not None:
            tdnf.packages(name=f"Install the kernel {self.flavour}", present=[self.flavour])
        file.text(
            name="Forbid modules", path=BLACKLIST, mode="644", content=render("kernel/modprobe", modules=self.blacklist)
        )
        kernel.modules(name="Load modules now", names=list(self.modules))
        file.text(
            name="Load modules at boot", path=MODULES, mode="644",
            content=render("kernel/modules-load", modules=self.modules),
        )  # fmt: skip
        # First the kernel, then the file: a value that the kernel refuses is not kept for the next boot.
        kernel.settings(
            name="Set the kernel's settings now", values={setting.key: setting.value for setting in self.settings},
            optional=[setting.key for setting in self.settings if setting.optional], may_come=bool(self.modules),
        )  # fmt: skip
        file.text(name="Keep the kernel's settings", path=SETTINGS, content=self.render(), mode="644")

    @override
    def checks(self) -> Iterable[Check]:
        if self.flavour is not None:
            yield Check(
                id="kernel.flavour", field="flavour", proves=f"the kernel that runs is {self.flavour}",
                read=running_flavour, expect=self.flavour,
            )  # fmt: skip
            yield Check(
                id="kernel.next-flavour", field="flavour", proves=f"the next boot starts {self.flavour}",
                read=next_flavour, expect=self.flavour,
            )  # fmt: skip
        for path in (SETTINGS, MODULES, BLACKLIST):
            yield file_check(f"kernel.file[{path.split('/')[2]}]", "", path, "644")
        for setting in self.settings:
            yield from self._setting_checks(setting)
        for module in self.modules:
            yield Check(
                id=f"kernel.module[{module}]", field=f"modules[{module}]", proves=f"{module} is in the kernel",
                read=partial(module_state, module), expect="there",
            )  # fmt: skip
            yield Check(
                id=f"kernel.module[{module}].boot", field=f"modules[{module}]", proves=f"{module} is loaded at boot",
                read=partial(is_a_line, MODULES, module), expect=True,
            )  # fmt: skip
        for module in self.blacklist:
            yield Check(
                id=f"kernel.blacklist[{module}]", field=f"blacklist[{module}]", proves=f"{module} cannot be loaded",
                read=partial(loading, module), expect="install /bin/false",
            )  # fmt: skip
            yield Check(
                id=f"kernel.blacklist[{module}].now", field=f"blacklist[{module}]", proves=f"{module} is not loaded",
                read=partial(module_state, module), expect="not there",
            )  # fmt: skip
        for argument in self.arguments:
            yield Check(
                id=f"kernel.argument[{argument}]", field=f"arguments[{argument}]",
                proves=f"the kernel was started with {argument}",
                read=partial(has_argument, argument), expect="it was",
            )  # fmt: skip

    @staticmethod
    def _setting_checks(setting: Setting) -> Iterable[Check]:
        where, value = f"settings[{setting.key}]", setting.value
        expected = f"{value}, or no such setting" if setting.optional else value
        yield Check(
            id=f"kernel.setting[{setting.key}]", field=where, proves=f"{setting.key} is {expected}",
            read=partial(value_now, setting.key, expected if setting.optional else ""), expect=expected,
        )  # fmt: skip
        yield Check(
            id=f"kernel.setting[{setting.key}].boot", field=where, proves=f"{setting.key} is {value} after a reboot",
            read=partial(value_at_boot, setting.key, value), expect=value,
        )  # fmt: skip


def _flavour_of(name: str) -> str:
    """`6.1.111-1.ph5-esx`, or a file name with that in it, to its flavour."""
    release = name.removesuffix(".cfg")
    return next((f"linux-{kind}" for kind in ("esx", "rt") if release.endswith(f"-{kind}")), "linux")


def running_flavour(host: Host) -> str:
    """The flavour of the kernel that runs."""
    return _flavour_of(host.check_output("uname -r"))


def next_flavour(host: Host) -> str:
    """The flavour that the boot loader starts next, by the link that Photon's kernel packages set."""
    return _flavour_of(host.check_output("readlink /boot/photon.cfg"))


def value_now(key: str, expected: str, host: Host) -> str:
    """The value of the running kernel; `expected` when the setting may be missing, and is, or has that value."""
    found = host.run("sysctl -n %s", _for_sysctl(key))
    value = " ".join(found.stdout.split())
    if found.rc != 0:
        return expected or f"no such setting: {' '.join(found.stderr.split())}"
    return expected if expected and expected == f"{value}, or no such setting" else value


def _for_sysctl(key: str) -> str:
    """procps wants slashes where a name has a dot in it."""
    return setting_path(key) if "/" in key else key


def value_at_boot(key: str, wanted: str, host: Host) -> str:
    """The value that the files give at the next boot, with the file that decides when it is another one."""
    path, value = boot_settings(host.check_output("systemd-analyze cat-config --no-pager sysctl.d"), key)
    return value if value == wanted else f"{value or 'not set'} by {path or 'any file'}"


@lru_cache(maxsize=256)
def boot_settings(text: str, key: str) -> tuple[str, str]:
    """Which file decides, and the value: the last that names the setting, else the last whose pattern fits it."""
    path, exact, fitting = "", ("", ""), ("", "")
    for line in text.splitlines():
        if line.startswith("# /") and line.endswith(".conf") and " " not in line[2:]:
            path = line[2:]
        name, equals, value = line.strip().removeprefix("-").partition("=")
        if not equals or name.startswith(("#", ";")):
            continue
        wanted, named = setting_path(key), setting_path(name.strip())
        if named == wanted:
            exact = (path, kernel.normalised(value))
        elif fnmatchcase(wanted, named):
            fitting = (path, kernel.normalised(value))
    return exact if exact[0] else fitting


def module_state(module: str, host: Host) -> str:
    """Whether a module is in the kernel, loaded or built in."""
    if host.run("test -d %s", f"/sys/module/{module}").rc == 0:
        return "there"
    release = host.check_output("uname -r")
    built_in = host.run("cat %s", f"/lib/modules/{release}/modules.builtin").stdout.replace("-", "_")
    return "there" if f"/{module}.ko" in built_in else "not there"


def is_a_line(path: str, text: str, host: Host) -> bool:
    """Whether a file has this line."""
    return text in host.check_output("cat %s", path).splitlines()


def loading(module: str, host: Host) -> str:
    """What modprobe would do to load a module."""
    found = host.run("modprobe -n -v %s", module)
    return " ".join((found.stdout or found.stderr).split())


def has_argument(argument: str, host: Host) -> str:
    """Whether the running kernel has an argument, and if not, whether the next one will."""
    if argument in arguments_of(host.check_output("cat /proc/cmdline")):
        return "it was"
    for path in ("/boot/photon.cfg", "/boot/user.cfg", "/boot/systemd.cfg"):
        lines = host.run("cat %s", path).stdout.splitlines()
        if any("_cmdline=" in line and argument in arguments_of(line.partition("=")[2]) for line in lines):
            return f"it was not; {path} has it: reboot"
    return "it was not, and no file of /boot has it: add it to user_cmdline in /boot/user.cfg, or to photon_cmdline"
