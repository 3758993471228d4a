"""The lab as its users see it: `boot`, `reset`, `stop`, `down`, `status`, and how to reach a host.

Safe to call from several greenlets, threads and processes at once: starting the lab and changing its list of hosts
happen under a lock. `down()` proves that nothing is left behind, and raises when something is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import layer, machine, ostree_repo, packages, seed, vm_image, vmroot
from tests.lab.errors import LabError
from tests.lab.life import end_life, left_over_after, start_time, take_interface_away
from tests.lab.machine import run, say
from tests.lab.seed import Spec
from tests.lab.settings import cache_dir, network, state_dir
from tests.lab.supervisor import jail_command

START_SECONDS = 60.0
BOOT_SECONDS = 360.0
DISK = ("upper", "docker", "containerd")
"""The directories of a host that are its disk."""
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Access:
    """How to reach a host over SSH: address, user, private key and the file with its pinned host key."""

    address: str
    user: str
    key: Path
    known_hosts: Path


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    state_dir().mkdir(parents=True, exist_ok=True)
    with machine.file_locked(state_dir().parent / f".{state_dir().name}.lock"):
        yield


def _request(do: str, host: str = "", timeout: float = 180.0, **more: int) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(state_dir() / "control"))
        with connection.makefile("rw") as stream:
            stream.write(json.dumps({"do": do, "name": host, **more}) + "\n")
            stream.flush()
            line = stream.readline()
    if not line:
        message = f"the lab died while it was asked to {do} {host}; see {state_dir() / 'supervisor.log'}"
        raise LabError(message)
    answer: dict[str, Any] = json.loads(line)
    if not answer["ok"]:
        raise LabError(str(answer["error"]))
    return answer


def is_up() -> bool:
    try:
        _request("status", timeout=10)
    except (OSError, LabError):
        return False
    return True


def _require_free_network() -> None:
    """Two labs (or a network of this machine's own) in one /24 would answer for each other's hosts."""
    for line in run("ip", "-o", "-4", "address", "show").splitlines():
        words = line.split()
        if words[3].startswith(f"{network()}."):
            message = f"{words[1]} of this machine is in {network()}.0/24 already: set LAB_NET to another network"
            raise LabError(message)


def _start() -> None:
    machine.prepare()
    take_interface_away()
    _require_free_network()
    layer.lower_directories()
    packages.build()
    log = state_dir() / "supervisor.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            jail_command(), cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    seed.replace_text(state_dir() / "life", f"{process.pid} {start_time(process.pid)}\n")
    deadline = time.monotonic() + START_SECONDS
    while not is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            end_life()
            message = f"the lab did not start:\n{tail}"
            raise LabError(message)
        time.sleep(0.05)


def start() -> None:
    """Make sure the lab runs, with whatever hosts.

    Raises:
        LabError: no root, or no such thing possible on this machine.
    """
    machine.require_root()
    with _locked():
        if not is_up():
            _start()


def boot_clone(host: str, guestinfo: str, card: str) -> str:
    """Make sure that the lab host that stands for a vCenter's machine runs, and return its address.

    It is a copy of a template that nobody can log in to yet: cloud-init does what its guestinfo says.

    Args:
        host: its name in the lab.
        guestinfo: the address of its guestinfo, to which `&key=...` is added.
        card: the MAC of its network card.
    """
    start()
    with _locked():
        spec = seed.add(host, machine=guestinfo, card=card)
    _request("boot", host, timeout=BOOT_SECONDS)
    return spec.address


def remove(host: str) -> None:
    """Switch a host off for good and throw its disk away."""
    spec = seed.specs().get(host)
    if spec is None:
        return
    if is_up():
        kill(host)
    _throw_away(spec.directory)
    with _locked():
        seed.forget(host)


def boot(
    host: str, *, expired: bool = False, disks: Sequence[int] = (), vm: bool = False, image: bool | str = False
) -> Access:
    """Make sure the lab host `host` runs, and return how to reach it. What it is made of is decided the first time.

    Args:
        host: its name.
        expired: leave root's password expired.
        disks: sizes of virtual disks in MiB: /dev/sdb, /dev/sdc, ... (from /dev/sda on in a VM).
        vm: give it a kernel of its own; booting takes half a minute instead of half a second.
        image: boot it from an ostree deployment, with the rpm-ostree stand-in (True) or without ("ostree").

    Raises:
        LabError: no root, no such thing possible on this machine, or the host did not come up.
    """
    start()
    with _locked():
        spec = seed.add(host, expired=expired, disks=disks, vm=vm, image=image)
        seed.host_key(spec)
        _write_access(seed.specs().values())
    if spec.vm and spec.image:
        vm_image.require_programs()
        vm_image.publish()
    elif spec.vm:
        vmroot.require_programs()
        vmroot.vm_root()
    elif spec.image:
        ostree_repo.publish()
    _request("boot", host, timeout=BOOT_SECONDS)
    return access(spec)


def access(spec: Spec) -> Access:
    # A file for each host: pyinfra reads a known_hosts file once per run, and this one grows while hosts boot.
    return Access(spec.address, "root", state_dir() / "id", seed.known_hosts(spec))


def ssh_config() -> Path:
    return state_dir() / "ssh_config"


def _write_access(hosts: Any) -> None:
    lines = {spec: f"{spec.name},{spec.address} {seed.host_key(spec)}\n" for spec in hosts if not spec.machine}
    for spec, line in lines.items():
        seed.replace_text(seed.known_hosts(spec), line)
    seed.replace_text(state_dir() / "known_hosts", "".join(lines.values()))
    blocks = "".join(f"Host {spec.name}\n  HostName {spec.address}\n" for spec in lines)
    common = (
        f"Host *\n  User root\n  IdentityFile {state_dir() / 'id'}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {state_dir() / 'known_hosts'}\n  StrictHostKeyChecking yes\n  ConnectTimeout 5\n"
        "  ServerAliveInterval 5\n  ServerAliveCountMax 6\n"
    )
    seed.replace_text(ssh_config(), blocks + common)


def stop(host: str) -> None:
    """Switch a host off; its disk stays."""
    if is_up():
        _request("stop", host)


def keep(host: str, label: str) -> None:
    """Copy a host's disk as it is now, running or not."""
    directory = seed.specs()[host].directory
    copy = directory / "kept" / label
    copy.mkdir(parents=True)
    run("cp", "-a", *(str(directory / name) for name in DISK if (directory / name).exists()), str(copy))


def take_back(host: str, label: str) -> None:
    """Give a host, which is off afterwards, the disk that was kept."""
    stop(host)
    directory = seed.specs()[host].directory
    for name in (*DISK, "work"):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / "work").mkdir()
    run("cp", "-a", *map(str, sorted((directory / "kept" / label).iterdir())), str(directory))


def cut(host: str, *, down: bool = True) -> None:
    """Pull a host's network cable (or put it back with `down=False`)."""
    _request("cut" if down else "mend", host)


def kill(host: str) -> None:
    """Cut a host's power; its disk stays as it is at that moment."""
    _request("kill", host)


def grow(host: str, disk: int, mebibytes: int) -> None:
    """Make a virtual disk of a running host larger; `disk` 0 is /dev/sdb."""
    _request("grow", host, disk=disk, mebibytes=mebibytes)


def reset(host: str) -> Access:
    """Throw a host's disk away and boot it as new, with the same address and host key."""
    spec = seed.specs().get(host)
    if spec is None:
        message = f"there is no lab host {host!r}; `python -m tests.lab status` lists them"
        raise LabError(message)
    if is_up():
        kill(host)
    _throw_away(spec.directory)
    return boot(host, expired=spec.expired, disks=spec.disks, vm=spec.vm, image=spec.image)


def _throw_away(directory: Path) -> None:
    # ostree makes the root of a deployment immutable.
    below = "sysroot/ostree/deploy/*/deploy/*.[0-9]*"
    deployments = [str(path) for pattern in (below, f"hosts/*/{below}") for path in directory.glob(pattern)]
    if deployments:
        run("chattr", "-i", *deployments, check=False)
    shutil.rmtree(directory, ignore_errors=True)


def status() -> list[tuple[Spec, bool]]:
    """Every known host and whether it runs."""
    try:
        running = _request("status", timeout=10)["hosts"]
    except (OSError, LabError):
        running = {}
    return [(spec, bool(running.get(label))) for label, spec in seed.specs().items()]


def down(*, cache: bool = False) -> None:
    """Remove every host and all the lab made, and prove it; with `cache` also the base system and packages.

    Raises:
        LabError: something is left; the message names it.
    """
    with _locked():
        if state_dir().exists():
            machine.require_root()
        end_life()
        left = left_over_after()
        if left:
            message = "the lab is down, but this is left: " + "; ".join(left)
            raise LabError(message)
        _throw_away(state_dir())
        if cache:
            shutil.rmtree(cache_dir(), ignore_errors=True)
    (state_dir().parent / f".{state_dir().name}.lock").unlink(missing_ok=True)


def bring_up(names: list[str], disks: Sequence[int] = (), *, vm: bool = False, image: str = "") -> None:
    """Boot several hosts, with a line for each."""
    for host in names:
        started = time.monotonic()
        at = boot(host, disks=disks, vm=vm, image=image)
        say(f"{host} is up at {at.address} ({time.monotonic() - started:.1f} s)")
