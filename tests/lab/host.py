"""One lab host: an overlay on the lower directories, a network namespace, systemd-nspawn with systemd as PID 1.

Runs inside the lab's namespaces only (see supervisor.py): the mounts and interfaces made here die with them.
A guest that reboots ends nspawn with status 133 and is started again in a fresh network namespace, as a rebooted
machine has fresh firewall rules; any other status means that it was switched off.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.lab import disks, seed
from tests.lab.errors import LabError
from tests.lab.machine import run
from tests.lab.seed import Spec
from tests.lab.settings import network, repository_address

REBOOT = 133
BOOT_SECONDS = 120.0
HALT_SECONDS = 20.0


class LabHost:
    """A host and the thread that keeps it running over reboots."""

    boot_seconds = BOOT_SECONDS
    halt_seconds = HALT_SECONDS

    def __init__(self, spec: Spec, lower: Sequence[Path], cgroup: Path) -> None:
        self.spec = spec
        self._lower = lower
        self._cgroup = cgroup / f"host-{spec.name}"
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._problem: str | None = None
        self._stopping = False
        self._disks: list[disks.LoopDisk] = []

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def console(self) -> Path:
        return self.spec.directory / "console.log"

    def start(self) -> None:
        """Boot and return when sshd answers.

        Raises:
            LabError: it did not come up in time, with the end of its console.
        """
        if self.running:
            return
        self._seed()
        self._prepare()
        self._problem, self._stopping = None, False
        self._thread = threading.Thread(target=self._keep_running, name=self.spec.name, daemon=True)
        self._thread.start()
        self._wait_for_ssh()

    def stop(self, *, at_once: bool = False) -> None:
        """Switch off: politely first, then for good."""
        self._stopping = True
        if self._process is not None and self._thread is not None and self._thread.is_alive():
            if not at_once:
                self._ask_to_halt()
                self._thread.join(self.halt_seconds)
            if self._thread.is_alive():
                self._process.kill()
                self._thread.join(self.halt_seconds)
        self._unmount()
        disks.detach(self._disks)
        self._disks = []

    def grow(self, number: int, mebibytes: int) -> None:
        """Make a virtual disk larger while the host runs."""
        if number >= len(self._disks):
            message = f"{self.spec.name} has no disk {number}"
            raise LabError(message)
        self._disks[number].grow(mebibytes)

    def cut(self, *, down: bool) -> None:
        """Pull the host's network cable, or put it back."""
        run("ip", "link", "set", self.spec.interface, "down" if down else "up")

    def _ask_to_halt(self) -> None:
        # SIGTERM asks nspawn for an orderly shutdown of the guest.
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def _seed(self) -> None:
        seed.write(self.spec, self._lower)

    def _unmount(self) -> None:
        with contextlib.suppress(LabError):
            run("umount", "--lazy", self.spec.directory / "root")

    def _prepare(self) -> None:
        self._mount()
        self._disks = self._disks or disks.attach(self.spec.directory, self.spec.disks)

    def _mount(self) -> None:
        directory = self.spec.directory
        root = directory / "root"
        if root.is_mount():
            return
        lower = ":".join(str(path) for path in self._lower)
        options = f"lowerdir={lower},upperdir={directory / 'upper'},workdir={directory / 'work'}"
        run("mount", "-t", "overlay", f"lab-{self.spec.name}", "-o", options, root)

    def _plug_in(self) -> None:
        name, interface, address = self.spec.name, self.spec.interface, self.spec.address
        run("ip", "netns", "del", name, check=False)
        run("ip", "link", "del", interface, check=False)
        run("ip", "netns", "add", name)
        run("ip", "link", "add", interface, "type", "veth",
            "peer", "name", "eth0", "address", self.spec.mac, "netns", name)  # fmt: skip
        run("ip", "link", "set", interface, "master", "br0", "up")
        # With its broadcast address, as networkd itself sets it: another one would be another address to networkd.
        commands = (
            f"link set lo up\naddr add {address}/24 brd + dev eth0\nlink set eth0 up\n"
            f"route add default via {network()}.1\n"
        )
        run("ip", "-n", name, "-b", "-", stdin=commands)

    def _binds(self) -> list[str]:
        """The options of systemd-nspawn for what the host sees beside its root."""
        directory = self.spec.directory
        # Docker's overlay cannot have its upper directory on ours.
        return [
            f"--bind={directory / 'docker'}:/var/lib/docker",
            f"--bind={directory / 'containerd'}:/var/lib/containerd",
            *disks.binds(self._disks),
        ]

    def _boot(self) -> int:
        self._plug_in()
        self._cgroup.mkdir(exist_ok=True)
        directory, name = self.spec.directory, self.spec.name
        command = [
            "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--link-journal=no",
            f"--machine={name}", f"--directory={directory / 'root'}",
            f"--network-namespace-path=/run/netns/{name}", "--capability=CAP_NET_ADMIN",
            "--resolv-conf=off", "--timezone=off", "--console=pipe",
            f"--uuid={uuid.uuid5(uuid.NAMESPACE_DNS, name)}",
            "--system-call-filter=add_key keyctl bpf",
            *self._binds(),
        ]  # fmt: skip
        # Without a cgroup of its own each guest's systemd would manage its neighbours' units.
        enter = ["sh", "-c", f'echo $$ > "{self._cgroup}/cgroup.procs" && exec "$@"', "sh"]
        environment = {
            **os.environ,
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
        }
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                [*enter, *command], env=environment,
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip
            return self._process.wait()

    def _keep_running(self) -> None:
        try:
            status = REBOOT
            while status == REBOOT and not self._stopping:
                status = self._boot()
                with self.console.open("a") as console:
                    console.write(f"--- nspawn ended with {status}\n")
        except LabError as error:
            self._problem = str(error)

    def _refuses_logins(self) -> bool:
        """Whether the guest is still booting: sshd then greets every login with pam_nologin's complaint."""
        pid = self._process.pid if self._process else 0
        try:
            init = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        except (OSError, IndexError):
            return True
        return Path(f"/proc/{init}/root/run/nologin").exists()

    def _wait_for_ssh(self) -> None:
        deadline = time.monotonic() + self.boot_seconds
        while time.monotonic() < deadline:
            if ssh_answers(self.spec.address) and not self._refuses_logins():
                return
            if not self.running:
                break
            time.sleep(0.03)
        problem = self._problem or (
            "it was switched off while booting" if not self.running else f"no sshd after {self.boot_seconds:.0f} s"
        )
        tail = "\n".join(self.console.read_text(errors="replace").splitlines()[-15:]) if self.console.exists() else ""
        message = f"lab host {self.spec.name} did not come up: {problem}\n{tail}"
        raise LabError(message)


def ssh_answers(address: str) -> bool:
    """Whether an SSH server greets us at `address`; asked from the lab's own bridge, never from outside."""
    try:
        with socket.create_connection((address, 22), 0.3, source_address=(repository_address(), 0)) as connection:
            connection.settimeout(2)
            return connection.recv(20).startswith(b"SSH-")
    except OSError:
        return False
