"""A lab host that is a virtual machine and an image host: its own boot loader, kernel and initramfs, and ostree.

What it runs is what GRUB on its disk chose; a reboot is one of the guest's own, through the firmware and GRUB. The lab
gives it a second disk with its name, keys and address, which its initramfs reads.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import vm_image, vmroot
from tests.lab.image_host import STAND_IN
from tests.lab.machine import run
from tests.lab.settings import gateway
from tests.lab.vm import VmHost

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECTOR = 512


class VmImageHost(VmHost):
    """A virtual machine that boots by itself, and the thread that waits for its end."""

    # It is the only one of its test, and has more to do at a boot and at a shutdown.
    processors = 2

    def _prepare(self) -> None:
        directory = self.spec.directory
        if not (directory / "root.qcow2").exists():
            disk = vm_image.vm_image().disk
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", disk, directory / "root.qcow2")
        seed = vmroot.cpio(self._seed_entries())
        (directory / "seed.img").write_bytes(seed + b"\0" * (-len(seed) % _SECTOR))
        self._make_disks()

    def _seed_entries(self) -> Iterator[tuple[str, bytes | None, int]]:
        yield "address", f"address={self.spec.address}/24\ngateway={gateway()}\n".encode(), 0o644
        upper = self.spec.directory / "upper"
        for path in sorted(upper.rglob("*")):
            content = None if path.is_dir() else path.read_bytes()
            yield str(path.relative_to(upper)), content, stat.S_IMODE(path.stat().st_mode)
        if self.spec.image == "rpm-ostree":
            for directory in ("usrlocal", "usrlocal/bin"):
                yield directory, None, 0o755
            yield "usrlocal/bin/rpm-ostree", Path(STAND_IN).read_bytes(), 0o755

    def _boots_from(self) -> list[str]:
        directory = self.spec.directory
        return [
            "-drive", f"file={directory / 'root.qcow2'},if=none,id=root,cache=unsafe",
            "-device", "virtio-blk-pci,drive=root,bootindex=0",
            "-drive", f"file={directory / 'seed.img'},format=raw,if=none,id=seed,readonly=on",
            "-device", "virtio-blk-pci,drive=seed",
        ]  # fmt: skip
