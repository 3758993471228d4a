"""The simulator's program: built from its sources here when they have changed, with Debian's Go and govmomi."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.machine import file_locked, install, say
from tests.lab.settings import cache_dir

SOURCES = Path(__file__).parent
GOPATH = Path("/usr/share/gocode")
PACKAGES = {"golang-go": "go", "golang-github-vmware-govmomi-dev": str(GOPATH / "src/github.com/vmware/govmomi")}
"""Debian package -> the program or directory that it brings."""

SECONDS = 900.0
KEEP = 7 * 86400.0
"""Programs of other sources that were not run for so many seconds are removed."""


def lacking() -> list[str]:
    """The Debian packages that a build needs and this machine has not."""
    return [package for package, brings in PACKAGES.items() if not (shutil.which(brings) or Path(brings).exists())]


def program() -> Path:
    """The path of the simulator's program, built first where that is needed (a minute the first time).

    Raises:
        LabError: Go or govmomi is missing and cannot be installed, or the build fails.
    """
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"vcenter-{_digest()}"
    with file_locked(cache / "vcenter.lock"):
        if not path.exists():
            _install()
            say("building the vCenter simulator (a minute the first time)")
            _build(path, cache / "go")
        path.touch()
        for other in cache.glob("vcenter-*"):
            if other.stat().st_mtime < time.time() - KEEP:
                other.unlink()
    return path


def _cache() -> Path:
    """The lab's cache; a person who is not root has one of their own."""
    if os.geteuid() == 0 or "LAB_CACHE" in os.environ:
        return cache_dir()
    return Path.home() / ".cache" / "photon-lab"


def _digest() -> str:
    digest = hashlib.sha256()
    for source in sorted(SOURCES.glob("*.go")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _install() -> None:
    packages = lacking()
    if packages and os.geteuid() != 0:
        message = f"the vCenter simulator needs {' and '.join(packages)}: install them, or run this as root"
        raise LabError(message)
    install(packages)


def _build(path: Path, go_cache: Path) -> None:
    made = path.with_suffix(".new")
    env = {**os.environ, "GOPATH": str(GOPATH), "GO111MODULE": "off", "GOCACHE": str(go_cache), "GOFLAGS": ""}
    command = ["go", "build", "-ldflags", "-s -w", "-o", str(made), "."]
    try:
        done = subprocess.run(
            command, cwd=SOURCES, env=env, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"the vCenter simulator cannot be built: {error}"
        raise LabError(message) from error
    if done.returncode:
        message = f"the vCenter simulator cannot be built: {done.stderr.strip()[-2000:]}"
        raise LabError(message)
    made.rename(path)
