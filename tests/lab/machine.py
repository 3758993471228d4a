"""What this machine must have before it can run lab hosts, and how it gets it.

`prepare()` checks for root, installs the Debian packages that are missing (one line says which), loads kernel
modules and raises the inotify limit. A machine that cannot run the lab is told so before anything is changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.lab.errors import LabError

PROGRAMS: Mapping[str, str] = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "unshare": "util-linux",
    "ssh-keygen": "openssh-client",
    "rpmbuild": "rpm",
    "rpmsign": "rpm",
    "createrepo_c": "createrepo-c",
    "gpg": "gnupg",
    "losetup": "mount",
}
"""Program that the lab runs -> the Debian package that brings it."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
BUSYBOX = Path("/bin/busybox")
MODULES = ("overlay", "br_netfilter", "veth", "bridge", "loop", "ip_tables", "ip6_tables")

# 30 hosts of systemd and Docker need more inotify instances than the kernel's default of 128: without them
# hosts come up without sshd and say nothing about it.
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 8192

_LOCK = Path("/run/photon-lab.lock")


def say(message: str) -> None:
    """One line of progress for the person at the terminal."""
    print(f"lab: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def file_locked(path: Path) -> Iterator[None]:
    """Hold the lock on a file, against other processes, threads and greenlets alike.

    Asks again instead of waiting inside flock(2): a greenlet that waits there stops the one that would unlock. No
    threading.Lock either, as one made before gevent patches that module blocks every greenlet.
    """
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                break
        yield


def run(*command: str | Path, check: bool = True, timeout: float = 600, stdin: str | None = None) -> str:
    """Run a program and return its standard output.

    Raises:
        LabError: it failed (with its own words), or took longer than `timeout` seconds.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL if stdin is None else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"{' '.join(words)}: {error}"
        raise LabError(message) from error
    if check and done.returncode:
        message = f"{' '.join(words)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}"
        raise LabError(message)
    return done.stdout


def require_root() -> None:
    if os.geteuid() != 0:
        words = sys.argv[0]
        command = "python -m tests.lab" if words.endswith("__main__.py") else words
        message = (
            "lab hosts are systemd containers and need root. Run the same command as root "
            f'(for example: sudo env PATH="$PATH" {command} ...), '
            "or use hosts of your own: see inventories/staging.py."
        )
        raise LabError(message)


def missing_packages() -> list[str]:
    """Debian packages that must be installed before the lab can run."""
    packages = {package for program, package in PROGRAMS.items() if not shutil.which(program)}
    if not KEYRING.exists():
        packages.add("debian-archive-keyring")
    if not BUSYBOX.exists():
        packages.add("busybox-static")
    return sorted(packages)


def install(packages: Sequence[str]) -> None:
    """Install Debian packages, saying so in one line; a machine without apt is told what it lacks."""
    if not packages:
        return
    if not shutil.which("apt-get"):
        message = f"the lab needs {', '.join(packages)}; this machine has no apt-get: install them by hand."
        raise LabError(message)
    say(f"installing what this machine lacks: {' '.join(packages)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Several hosts and labs may be the first on a bare machine at once: apt-get does not wait for another one.
    with file_locked(_LOCK):
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *packages]):
            done = subprocess.run(command, env=env, text=True, capture_output=True, check=False)
            if done.returncode:
                message = f"{' '.join(command)}: {done.stderr.strip()[-2000:]}"
                raise LabError(message)


def prepare() -> None:
    """Make this machine able to run lab hosts, or say why it cannot.

    Raises:
        LabError: not root, not Linux, a package cannot be installed.
    """
    if sys.platform != "linux":
        message = f"lab hosts need Linux, this is {sys.platform}: run it in a Debian or Ubuntu virtual machine."
        raise LabError(message)
    require_root()
    install(missing_packages())
    # A kernel with these built in has no such modules: what is really missing shows when a host boots.
    if shutil.which("modprobe"):
        run("modprobe", "-a", *MODULES, check=False)
    if int(INOTIFY_LIMIT.read_text()) < INOTIFY_INSTANCES:
        INOTIFY_LIMIT.write_text(str(INOTIFY_INSTANCES))
