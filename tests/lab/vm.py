"""A lab host with a kernel of its own: qemu on the lab's bridge, with the same addresses, keys and names as the others.

For what a container cannot show: udev, partitions, swap, NFS, kernel settings. It boots Debian's kernel directly; a
reboot is one of the guest's own. Its disks are /dev/sda, /dev/sdb, ... on a SCSI controller, as on vSphere; the root is
/dev/vda. Without KVM (LAB_ACCEL=kvm uses it) a boot takes half a minute.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
from pathlib import Path

from tests.lab import vmroot
from tests.lab.disks import MEBIBYTE
from tests.lab.errors import LabError
from tests.lab.host import LabHost
from tests.lab.machine import run
from tests.lab.settings import gateway, state_dir

MEMORY_MEBIBYTES = 512


class VmHost(LabHost):
    """A virtual machine and the thread that waits for its end."""

    boot_seconds = 300.0
    halt_seconds = 60.0
    processors = 1

    @property
    def _monitor(self) -> Path:
        return self.spec.directory / "monitor"

    def _prepare(self) -> None:
        root, directory = vmroot.vm_root(), self.spec.directory
        if not (directory / "root.qcow2").exists():
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", root.disk, directory / "root.qcow2")
        self._make_disks()
        initrd = vmroot.initrd_for(root, directory / "upper", self.spec.address, gateway())
        (directory / "initrd").write_bytes(initrd)

    def _make_disks(self) -> None:
        for number, mebibytes in enumerate(self.spec.disks):
            file = self.spec.directory / f"disk{number}.img"
            if not file.exists():
                with file.open("wb") as new:
                    new.truncate(mebibytes * MEBIBYTE)

    def _boot(self) -> int:
        interface = self.spec.interface
        run("ip", "link", "del", interface, check=False)
        run("ip", "tuntap", "add", "dev", interface, "mode", "tap")
        run("ip", "link", "set", interface, "master", "br0", "up")
        with self.console.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            return self._process.wait()

    def _boots_from(self) -> list[str]:
        directory, root = self.spec.directory, vmroot.vm_root()
        masks = " ".join(f"systemd.mask={unit}" for unit in vmroot.LEAN)
        return [
            "-kernel", str(root.kernel), "-initrd", str(directory / "initrd"),
            "-append", f"console=ttyS0 quiet net.ifnames=0 mitigations=off {masks}",
            "-drive", f"file={directory / 'root.qcow2'},if=none,id=root,cache=unsafe",
            "-device", "virtio-blk-pci,drive=root",
        ]  # fmt: skip

    def _command(self) -> list[str]:
        directory = self.spec.directory
        command = [
            "qemu-system-x86_64", "-name", self.spec.name, *_accelerator(), "-machine", "q35",
            "-smp", str(self.processors), "-m", str(MEMORY_MEBIBYTES), "-nodefaults", "-display", "none",
            "-serial", f"file:{directory / 'kernel.log'}", "-monitor", f"unix:{self._monitor},server,nowait",
            *self._boots_from(),
            "-netdev", f"tap,id=net,ifname={self.spec.interface},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net,mac={self.spec.mac}",
            "-device", "virtio-rng-pci", "-device", "virtio-scsi-pci,id=scsi",
        ]  # fmt: skip
        for number in range(len(self.spec.disks)):
            file = f"file={directory / f'disk{number}.img'},format=raw,if=none,id=disk{number},cache=unsafe"
            device = f"scsi-hd,bus=scsi.0,drive=disk{number},scsi-id={number},serial=lab-{number}"
            command += ["-drive", file, "-device", f"{device},wwn=0x5000c500000000{number:02x}"]
        return command

    def _tell(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(10)
            monitor.connect(str(self._monitor))
            answer = _until_prompt(monitor)
            monitor.sendall(f"{command}\n".encode())
            answer = _until_prompt(monitor)
        if "rror" in answer:
            message = f"{self.spec.name}: {command}: {answer.strip()}"
            raise LabError(message)

    def _ask_to_halt(self) -> None:
        with contextlib.suppress(OSError):
            self._tell("system_powerdown")

    def grow(self, number: int, mebibytes: int) -> None:
        if number >= len(self.spec.disks):
            message = f"{self.spec.name} has no disk {number}"
            raise LabError(message)
        self._tell(f"block_resize disk{number} {mebibytes}M")

    def _refuses_logins(self) -> bool:
        words = shlex.split(f"ssh -F {state_dir() / 'ssh_config'} {self.spec.name} true")
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode != 0


def _accelerator() -> list[str]:
    if os.environ.get("LAB_ACCEL") == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"]


def _until_prompt(monitor: socket.socket) -> str:
    text = ""
    while not text.endswith("(qemu) "):
        received = monitor.recv(4096)
        if not received:
            break
        text += received.decode(errors="replace")
    return text
