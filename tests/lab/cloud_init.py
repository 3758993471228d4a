"""Debian's cloud-init, unpacked and not installed: installed it would act at the next boot of this machine.

PYTHONPATH=... /usr/bin/python3 -m cloudinit.cmd.main schema --config-file FILE
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.machine import file_locked, install, run, say
from tests.lab.settings import cache_dir

PYTHON = "/usr/bin/python3"
NEEDS = {
    "configobj": "python3-configobj", "jinja2": "python3-jinja2", "jsonpatch": "python3-jsonpatch",
    "jsonschema": "python3-jsonschema", "netifaces": "python3-netifaces", "oauthlib": "python3-oauthlib",
    "requests": "python3-requests", "yaml": "python3-yaml",
}  # fmt: skip
"""Module that it imports -> the Debian package that brings it."""


def unpacked() -> Path:
    """The directory to put into PYTHONPATH; made once, with what this machine lacks for it.

    Raises:
        LabError: not root, or no apt-get.
    """
    directory = cache_dir() / "cloud-init"
    modules = directory / "usr/lib/python3/dist-packages"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        message = "cloud-init is fetched by apt-get, as root"
        raise LabError(message)
    cache_dir().mkdir(parents=True, exist_ok=True)
    with file_locked(cache_dir() / "cloud-init.lock"):
        install([package for module, package in NEEDS.items() if not _has(module)])
        if not modules.exists():
            _unpack(directory)
    return modules


def _has(module: str) -> bool:
    return subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def _unpack(directory: Path) -> None:
    say("fetching cloud-init")
    with tempfile.TemporaryDirectory(dir=directory.parent) as place:
        try:
            _download(Path(place))
        except LabError:
            run("apt-get", "update", "-qq")
            _download(Path(place))
        run("dpkg-deb", "-x", next(Path(place).glob("*.deb")), Path(place, "tree"))
        Path(place, "tree").rename(directory)


def _download(place: Path) -> None:
    # It writes into the directory where it is started, as a user of its own where that one may.
    run("sh", "-c", 'cd "$1" && apt-get download -qq -o APT::Sandbox::User=root cloud-init', "sh", place)
