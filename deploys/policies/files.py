"""Files: texts, links and directories that no other policy owns, and paths where nothing is to be.

A text comes from the inventory, from a file of the controller, from a template, or is a secret; of a secret nothing is
ever shown. What is a directory is never replaced by a file, nor the other way round. A unit that uses a file is
reloaded or restarted when it runs with an older one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator
from pyinfra import host
from typing_extensions import override

from deploys.policies.base import Check, Item, Policy, Risk
from deploys.policies.file_contents import Content, Local, Template, shown, text_of
from deploys.policies.secret import Secret
from deploys.policies.services import UNRESTARTABLE, is_any
from deploys.policies.types import UnitName
from operations import file, path, systemd

if TYPE_CHECKING:
    from testinfra.host import Host

__all__ = ["Directory", "File", "Files", "Link", "Local", "Template"]

OWNED = {
    "ssh": ("/etc/ssh/*", "*/.ssh", "*/.ssh/authorized_keys*"),
    "firewall": ("/etc/systemd/scripts/*",),
    "docker": ("/etc/docker/daemon.json", "/var/lib/docker*"),
    "packages": ("/etc/yum.repos.d/*", "/etc/tdnf/*", "/etc/pki/rpm-gpg/*", "/etc/rpm/*", "/var/lib/rpm*"),
    "time": ("/etc/localtime", "/etc/systemd/timesyncd.conf*"),
    "logging": ("/etc/systemd/journald.conf*", "/etc/systemd/journal-upload.conf*"),
    "kernel": ("/etc/sysctl.d/*", "/etc/modules-load.d/*", "/etc/modprobe.d/*"),
    "services": ("/etc/systemd/system/*",),
    "accounts": ("/etc/passwd*", "/etc/shadow*", "/etc/group*", "/etc/gshadow*", "/etc/sudoers*", "/etc/pam.d/*"),
    "network": ("/etc/systemd/network/*", "/etc/resolv.conf"),
    "selinux": ("/etc/selinux/*",),
    "storage": ("/etc/fstab",),
}
"""What belongs to a policy of its own, or decides whether anybody can log in, as patterns."""

_SYSTEM = frozenset(
    (
        "/ /bin /boot /dev /etc /home /lib /lib64 /proc /root /run /sbin /srv /sys /tmp /usr /usr/bin /usr/lib "
        "/usr/lib64 /usr/sbin /var /var/lib /var/log /var/tmp"
    ).split()
)
_KERNEL = ("/proc/*", "/sys/*", "/dev/*", "/boot/*", "/var/lib/photon-fleet*", "/run/photon-fleet*")


def _path(value: str) -> str:
    if not re.fullmatch(r"(/[^/\n\0]+)+", value) or {".", ".."} & set(value.split("/")):
        message = f"{value!r} is no plain absolute path: no '..', no '//', no '/' at its end"
        raise ValueError(message)
    return value


def _mode(value: str) -> str:
    if not 3 <= len(value) <= 4 or not set(value) <= set("01234567"):  # noqa: PLR2004 - octal digits
        message = f"{value!r} is no mode, such as '644'"
        raise ValueError(message)
    return value.lstrip("0").zfill(3)


def _account(value: str) -> str:
    try:
        file.require_writable("", "644", value, value)
    except Exception:  # noqa: BLE001 - one sentence for whatever it says
        message = f"{value!r} is no name of a user or group"
        raise ValueError(message) from None
    return value


Path = Annotated[str, AfterValidator(_path)]
Mode = Annotated[str, AfterValidator(_mode)]
Account = Annotated[str, AfterValidator(_account)]


class File(Item):
    """A text file."""

    identity: ClassVar[str] = "path"

    path: Path
    content: Content
    """The text itself, `Local("motd")`, `Template("app.conf.j2", values={...})` or a `Secret`."""
    mode: Mode = "644"
    owner: Account = "root"
    group: Account = "root"
    check: str = ""
    """A shell command of the host that must succeed for `$new` before it is put in place."""
    reload: UnitName | None = None
    """Reloaded when it runs and has not read this file."""
    restart: UnitName | None = None
    """Restarted when it runs with an older file."""

    @property
    def is_secret(self) -> bool:
        """Whether nothing of the text may be shown."""
        return isinstance(self.content, Secret) or (isinstance(self.content, Template) and self.content.has_secrets)

    @override
    def contradictions(self) -> Iterable[str]:
        if self.reload and self.restart:
            yield "reload and restart: one of them is enough"
        if self.is_secret and int(self.mode[-1]):
            yield f"mode: {self.mode} would let everybody read a secret; '600' or '640'"


class Link(Item):
    """A symbolic link."""

    identity: ClassVar[str] = "path"

    path: Path
    target: str

    @override
    def contradictions(self) -> Iterable[str]:
        if not self.target or {"\n", "\0"} & set(self.target):
            yield f"target: {self.target!r} is no target of a link"


class Directory(Item):
    """A directory; what is in it is left alone."""

    identity: ClassVar[str] = "path"

    path: Path
    mode: Mode = "755"
    owner: Account = "root"
    group: Account = "root"


class Files(Policy):
    """Files of a host that no other policy owns."""

    name: ClassVar[str] = "files"
    risk: ClassVar[Risk] = Risk.SERVICE
    unproved: ClassVar[Mapping[str, str]] = {
        "files.check": "it is asked before the file is put in place; the content itself is proved",
    }

    directories: tuple[Directory, ...] = ()
    files: tuple[File, ...] = ()
    links: tuple[Link, ...] = ()
    absent: tuple[Path, ...] = ()
    """Files, links and empty directories that are removed."""

    @override
    def problems(self) -> Iterable[str]:
        places = [("files", one.path) for one in self.files] + [("links", one.path) for one in self.links]
        places += [("directories", one.path) for one in self.directories] + [("absent", one) for one in self.absent]
        seen: dict[str, str] = {}
        for field, place in places:
            if place in seen:
                yield f"{field}[{place}]: it is among the {seen[place]} as well"
            seen[place] = field
            yield from (f"{field}[{place}]: {reason}" for reason in _owned(place))
        for one in self.files:
            unit = one.reload or one.restart
            if unit and is_any(unit, UNRESTARTABLE):
                yield f"files[{one.path}]: a restart of {unit} would end sessions or break others"
            try:
                shown(one.content)
            except ValueError as error:
                yield f"files[{one.path}].content: {error}"
        for gone in self.absent:
            yield from (
                f"absent[{gone}]: {place} of this policy is in it"
                for _, place in places
                if place.startswith(f"{gone}/")
            )

    @override
    def apply(self) -> None:
        for one in host.loop(self.directories):
            path.directory(name=f"Directory {one.path}", path=one.path, mode=one.mode, user=one.owner, group=one.group)
        for wanted in host.loop(self.files):
            what = {
                "path": wanted.path, "content": text_of(wanted.content), "mode": wanted.mode, "user": wanted.owner,
                "group": wanted.group, "check": wanted.check,
            }  # fmt: skip
            unit = wanted.reload or wanted.restart
            if unit is None:
                file.text(name=f"File {wanted.path}", **what)
            else:
                systemd.configured(name=f"File {wanted.path}", unit=unit, reload=wanted.restart is None, **what)
        for link in host.loop(self.links):
            path.link(name=f"Link {link.path}", path=link.path, target=link.target)
        for gone in host.loop(self.absent):
            path.gone(name=f"Nothing at {gone}", path=gone)

    @override
    def checks(self) -> Iterable[Check]:
        for one in self.directories:
            yield _status_check("directories", one.path, f"directory {one.mode.lstrip('0')} {one.owner}:{one.group}")
        for wanted in self.files:
            yield from _file_checks(wanted)
        for link in self.links:
            yield Check(
                id=f"files.link[{link.path}]", field=f"links[{link.path}]",
                proves=f"{link.path} points to {link.target}",
                read=partial(target_of, link.path), expect=link.target,
            )  # fmt: skip
        for gone in self.absent:
            yield Check(
                id=f"files.absent[{gone}]", field=f"absent[{gone}]", proves=f"nothing is at {gone}",
                read=partial(is_there, gone), expect=False,
            )  # fmt: skip


def _owned(place: str) -> Iterable[str]:
    """Why a path cannot be one of this policy's."""
    if place in _SYSTEM or is_any(place, _KERNEL):
        yield "it belongs to the system itself"
    for policy, patterns in OWNED.items():
        if is_any(place, patterns):
            yield f"it belongs to the {policy} policy"
    if place.endswith("photon-fleet.conf") or "/photon-fleet" in place:
        yield "names with photon-fleet are other policies'"


def _status_check(field: str, place: str, expect: str) -> Check:
    return Check(
        id=f"files.{'file' if field == 'files' else 'directory'}[{place}].status", field=f"{field}[{place}]",
        proves=f"{place} is a {expect}",
        read=lambda host: host.check_output("stat -Lc %s %s", "%F %a %U:%G", place).replace("regular empty", "regular"),
        expect=expect,
    )  # fmt: skip


def _file_checks(wanted: File) -> Iterable[Check]:
    label, where = f"files.file[{wanted.path}]", f"files[{wanted.path}]"
    yield _status_check("files", wanted.path, f"regular file {wanted.mode} {wanted.owner}:{wanted.group}")
    yield Check(
        id=f"{label}.content", field=f"{where}.content", proves=f"{wanted.path} has its text",
        read=partial(difference, wanted.path, wanted.content, wanted.is_secret), expect="as wanted",
    )  # fmt: skip
    unit = wanted.reload or wanted.restart
    if unit is not None:
        yield Check(
            id=f"{label}.in-force", field=f"{where}.{'reload' if wanted.reload else 'restart'}",
            proves=f"{unit} does not run with an older {wanted.path}",
            read=partial(has_read, unit, wanted.path, wanted.reload is not None), expect=True,
        )  # fmt: skip


def difference(place: str, content: Content, secret: bool, host: Host) -> str:  # noqa: FBT001 - bound by partial
    """The first line that differs; of a secret only that it does."""
    text = text_of(content)
    wanted = (text if text.endswith("\n") else f"{text}\n").encode()
    if host.check_output("sha256sum < %s", place).split()[0] == hashlib.sha256(wanted).hexdigest():
        return "as wanted"
    if secret:
        return "something else than the secret"
    actual = host.check_output("cat %s", place).splitlines()
    lines = wanted.decode().splitlines()
    for number, line in enumerate(lines):
        if number >= len(actual) or actual[number] != line:
            found = repr(actual[number]) if number < len(actual) else "missing"
            return f"line {number + 1} is {found}, not {line!r}"
    return (
        f"line {len(lines) + 1} is too much: {actual[len(lines)]!r}" if len(actual) > len(lines) else "other line ends"
    )


def has_read(unit: str, place: str, reload: bool, host: Host) -> bool | str:  # noqa: FBT001 - bound by partial
    """Whether the unit's process began, or was told to read again, no earlier than the file changed (seconds)."""
    changed = int(host.check_output("stat -Lc %%Y %s", place))
    shown = host.check_output("systemctl show --property=LoadState,MainPID %s", unit)
    found = dict(line.split("=", 1) for line in shown.splitlines())
    if found["LoadState"] == "not-found":
        return f"there is no unit {unit}"
    pid = found.get("MainPID", "0")
    if pid == "0" or int(host.check_output("stat -c %%Y %s", f"/proc/{pid}")) >= changed:
        return True
    if not reload:
        return False
    marker = host.run("stat -c %%Y %s", systemd.marker_of(unit, place))
    return marker.rc == 0 and int(marker.stdout) >= changed


def target_of(place: str, host: Host) -> str:
    """Where a link points to."""
    found = host.run("readlink %s", place)
    return str(found.stdout).rstrip("\n") if found.rc == 0 else "no link"


def is_there(place: str, host: Host) -> bool:
    """Whether anything is at a path, a broken link included."""
    return bool(host.run("test -e %s || test -L %s", place, place).rc == 0)
