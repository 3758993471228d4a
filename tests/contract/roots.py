"""Throwaway root file systems for the replay: overlays on the lab's base, inside a mount namespace of one's own.

Only for a process that runs in its own mount, network and PID namespace (see `replay`): what is mounted and started
here goes away with that namespace, whatever happens.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.lab.scenario import OTHER_KEY, Scenario

_LIBC = ctypes.CDLL(None, use_errno=True)
_RDONLY, _REMOUNT, _BIND = 1, 32, 4096
_DETACH = 2
STAND_IN = Path(__file__).parents[1] / "lab" / "tdnf"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
}
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# One moment for every .repo file: which of them is newer decides the order in which repos come.
_LONG_AGO = 1_700_000_000
_HIDDEN = ("etc/nginx", "usr/sbin/nginx", "usr/lib/nginx")
"""What the base system has for lab hosts, and the recorded machine did not have."""
_RPM = """#!/bin/sh
# Debian's rpm wants to be told that it may install packages.
case "$1" in
  -i*|-U*|-F*|-e*|--install|--upgrade|--erase) exec /usr/bin/rpm --force-debian "$@" ;;
esac
exec /usr/bin/rpm "$@"
"""


def mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    arguments = (source.encode(), str(target).encode(), kind.encode(), flags, options.encode())
    if _LIBC.mount(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source} on {target}: {os.strerror(number)} ({options})")


def unmount(target: Path) -> None:
    _LIBC.umount2(str(target).encode(), _DETACH)


def common_layer(scenario: Scenario, built: Path, out: Path) -> None:
    """Write what every state has: configuration, keys, the stand-in and the macros that place the RPM database."""
    files: dict[str, str] = dict(scenario.data["config_files"])
    files["/etc/rpm/macros.lab"] = "%_dbpath /usr/lib/sysimage/rpm\n"
    files["/usr/local/bin/rpm"] = _RPM
    for key in sorted((built / "keys").iterdir()):
        directory = "/srv/keys" if key.name == OTHER_KEY else "/etc/pki/rpm-gpg"
        files[f"{directory}/{key.name}{'.asc' * (key.name == OTHER_KEY)}"] = key.read_text()
    for name, text in files.items():
        path = out / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (_LONG_AGO, _LONG_AGO))
    (out / "usr/local/bin/rpm").chmod(0o755)
    shutil.copytree(STAND_IN, out / "usr/lib/lab-tdnf", ignore=shutil.ignore_patterns("__pycache__"))
    (out / "usr/bin").mkdir(exist_ok=True)
    shutil.copy(STAND_IN / "tdnf", out / "usr/bin/tdnf")
    (out / "usr/bin/tdnfj").symlink_to("tdnf")
    for name in _HIDDEN:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        # An overlay's mark for what is not there, whatever the layers below have.
        os.mknod(out / name, stat.S_IFCHR, os.makedev(0, 0))


class Root:
    """An overlay that can be run in: `with Root(...) as root: root.run(["tdnf", "list"])`."""

    def __init__(self, directory: Path, lower: Sequence[Path]) -> None:
        self.directory, self._lower = directory, lower
        self.path = directory / "root"
        self.upper = directory / "upper"

    def __enter__(self) -> Self:
        for name in ("root", "upper", "work"):
            (self.directory / name).mkdir(parents=True)
        self.upper.chmod(0o755)
        lower = ":".join(map(str, self._lower))
        options = f"lowerdir={lower},upperdir={self.upper},workdir={self.directory / 'work'}"
        mount("overlay", self.path, "overlay", 0, options)
        mount("proc", self.path / "proc", "proc")
        mount("tmpfs", self.path / "dev", "tmpfs", 0, "mode=755")
        for name in _DEVICES:
            (self.path / "dev" / name).touch()
            mount(f"/dev/{name}", self.path / "dev" / name, "", _BIND)
        return self

    def __exit__(self, *_: object) -> None:
        unmount(self.path)

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        network: bool = True,
        stdin: str | None = None,
        **more: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        text = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin.encode()}
        return subprocess.run(
            self.command(argv, user=user, network=network),
            capture_output=True,
            check=False,
            env=ENVIRONMENT,
            **text,
            **more,
        )

    def command(self, argv: Sequence[str], *, user: str = "root", network: bool = True) -> list[str]:
        """The command that runs `argv` in here, as `user`, without any network when that is wanted."""
        who = [] if user == "root" else [f"--userspec={user}:nogroup"]
        return [*([] if network else ["unshare", "--net"]), "chroot", *who, str(self.path), *argv]

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    # --- the conditions of recorded cases

    def read_only(self, path: str = "/") -> None:
        target = self.path / path.lstrip("/")
        if path != "/":
            mount(str(target), target, "", _BIND)
            mount("", target, "", _BIND | _REMOUNT | _RDONLY)
        else:
            mount("overlay", target, "", _REMOUNT | _RDONLY)

    def small(self, path: str, size: str, *, keep: bool) -> None:
        """Mount a small file system, with what was there before when `keep`."""
        target = self.path / path.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        copy = self.directory / "kept"
        if keep:
            shutil.copytree(target, copy)
        mount("tmpfs", target, "tmpfs", 0, f"size={size}")
        if keep:
            shutil.copytree(copy, target, dirs_exist_ok=True)
