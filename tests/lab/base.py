"""The base root file system: a small Debian with what a Photon host has, built once and cached.

`base_root()` returns a directory that no host ever writes to: hosts are overlays on it. Its name holds a hash of
the suite and the package list, so a change of either builds a new one beside the old. With LAB_IMAGE set to a
directory or a tar archive, that is the base instead (a real Photon root file system, for example).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import machine
from tests.lab.errors import LabError
from tests.lab.machine import say
from tests.lab.settings import cache_dir

SUITE = "bookworm"
OLD_AFTER_DAYS = 30

PACKAGES = (
    "systemd-sysv dbus libpam-systemd openssh-server iproute2 iptables procps ca-certificates curl kmod "
    "rpm python3 python3-rpm python3-solv gpg docker.io busybox-static e2fsprogs btrfs-progs xfsprogs fdisk "
    "systemd-timesyncd rsyslog sudo ostree gpg-agent nginx cloud-init"
).split()
"""Debian packages of the base: the counterparts of what a minimal Photon host has, and what the tdnf stand-in needs.

rsyslog, ostree and nginx are no part of a minimal Photon: they are there, switched off, for the packages that the lab's
repository has. cloud-init is run by hosts that stand for a vCenter's machines
alone.
"""

_DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/info/*",
)


def image() -> Path | None:
    """The user's own root file system (LAB_IMAGE), or None."""
    value = os.environ.get("LAB_IMAGE")
    if not value:
        return None
    path = Path(value).expanduser().resolve()
    if not path.exists():
        message = f"LAB_IMAGE={value}: no such directory or tar archive."
        raise LabError(message)
    return path


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name` in the cache: two runs never build the same thing at once."""
    machine.require_root()
    cache_dir().mkdir(parents=True, exist_ok=True)
    with machine.file_locked(cache_dir() / f"{name}.lock"):
        yield


def base_root() -> Path:
    """Return the base root file system, building it when there is none (about a minute, 600 MB).

    Raises:
        LabError: it cannot be built; nothing half-built is left under its final name.
    """
    own = image()
    if own is not None:
        return own if own.is_dir() else _unpacked(own)
    digest = hashlib.sha256(repr((SUITE, PACKAGES, _DPKG_OPTIONS)).encode()).hexdigest()[:12]
    root = cache_dir() / f"base-{digest}"
    with locked("base"):
        if not root.exists():
            machine.prepare()
            _build(root)
    age = (time.time() - root.stat().st_mtime) / 86400
    if age > OLD_AFTER_DAYS:
        say(f"the base system is {age:.0f} days old; `python -m tests.lab refresh` builds it anew.")
    return root


def _build(root: Path) -> None:
    partial = root.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    say(f"building the base system once, in {root} (about a minute, 600 MB)")
    command = [
        "mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}",
        *[f"--dpkgopt={option}" for option in _DPKG_OPTIONS],
        "--aptopt=Apt::Install-Recommends false", SUITE, str(partial),
    ]  # fmt: skip
    _with_progress(command, cache_dir() / "base.log")
    # mtime tells the age of the base; mmdebstrap leaves the time of the newest package there.
    os.utime(partial)
    partial.rename(root)


def _with_progress(command: list[str], log: Path) -> None:
    """Run a long command, writing its output to `log`, with a sign of life every ten seconds."""
    started = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            while True:
                try:
                    status = process.wait(10)
                    break
                except subprocess.TimeoutExpired:
                    say(f"  {time.monotonic() - started:.0f} s: {_last_line(log)}")
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status:
        message = f"{command[0]} failed (exit {status}); the last lines of {log}:\n{_tail(log)}"
        raise LabError(message)
    say(f"  done in {time.monotonic() - started:.0f} s")


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _last_line(log: Path) -> str:
    return _tail(log, 1).strip()[:100]


def _unpacked(archive: Path) -> Path:
    """Unpack a user's image once; the copy is keyed by path, size and time of the archive."""
    stat = archive.stat()
    digest = hashlib.sha256(f"{archive}:{stat.st_size}:{stat.st_mtime_ns}".encode()).hexdigest()[:12]
    root = cache_dir() / f"image-{digest}"
    with locked("image"):
        if root.exists():
            return root
        say(f"unpacking {archive}")
        partial = root.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(partial, numeric_owner=True, filter="fully_trusted")  # noqa: S202 - the user's own root file system
        except (OSError, tarfile.TarError) as error:
            message = f"LAB_IMAGE={archive}: {error}"
            raise LabError(message) from error
        partial.rename(root)
    return root
