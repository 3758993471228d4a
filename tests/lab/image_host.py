"""A lab host that is booted from an ostree deployment: what a boot loader does, done by the lab.

Each boot takes the entry of the boot menu with the highest version, as a boot loader would, and starts systemd-nspawn
on that deployment: /usr read-only, /var and /boot shared by all deployments, /sysroot the disk. Staging, finalizing at
shutdown, /etc merges and the roles of deployments are real. Not real: kernel, initrd and the boot loader itself.
/boot is a small file system of its own, so that it can be full.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from tests.lab import disks, ostree_root, seed
from tests.lab.errors import LabError
from tests.lab.host import LabHost
from tests.lab.machine import run
from tests.lab.ostree_root import STATEROOT

BOOT_MEBIBYTES = 24
STAND_IN = Path(__file__).parent / "rpmostree.py"
_ARGUMENT = re.compile(r"\bostree=(?P<path>/ostree/boot\.[01]/\S+)")


class ImageHost(LabHost):
    """A host with a disk of its own, and the thread that boots what is first in its menu."""

    @property
    def _sysroot(self) -> Path:
        return self.spec.directory / "sysroot"

    @property
    def _var(self) -> Path:
        return self._sysroot / "ostree/deploy" / STATEROOT / "var"

    def _seed(self) -> None:
        """Give the host a disk with the first version, and what cloud-init would write, before its first boot."""
        if (self.spec.directory / "deployed").exists():
            return
        shutil.rmtree(self._sysroot, ignore_errors=True)
        self.spec.directory.mkdir(parents=True, exist_ok=True)
        run("cp", "-a", ostree_root.image_root().sysroot, self._sysroot)
        root = self._default(self._sysroot / "boot")
        seed.write(self.spec, [root])
        upper = self.spec.directory / "upper"
        run("cp", "-a", f"{upper / 'etc'}/.", root / "etc")
        (self._var / "roothome").mkdir(mode=0o700, exist_ok=True)
        run("cp", "-a", f"{upper / 'root'}/.", self._var / "roothome")
        if self.spec.image == "rpm-ostree":
            self._add_stand_in()
        run("chattr", "+i", root)
        run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", self._sysroot / "boot",
            self.spec.directory / "boot.img", f"{BOOT_MEBIBYTES}M")  # fmt: skip
        (self.spec.directory / "deployed").touch()

    def _add_stand_in(self) -> None:
        # Below /var, where updates leave it alone; a real one is in the image.
        programs = self._var / "usrlocal/bin"
        programs.mkdir(parents=True, exist_ok=True)
        for path in (self._var / "usrlocal", programs):
            path.chmod(0o755)
        shutil.copy(STAND_IN, programs / "rpm-ostree")
        (programs / "rpm-ostree").chmod(0o755)

    def _default(self, boot: Path) -> Path:
        """The deployment that is first in the boot menu.

        Raises:
            LabError: there is none that could be booted.
        """
        entries = {}
        for path in (boot / "loader/entries").glob("*.conf"):
            text = path.read_text()
            version = re.search(r"(?m)^version (\d+)", text)
            argument = _ARGUMENT.search(text)
            if version and argument:
                entries[int(version[1])] = argument["path"]
        if not entries:
            message = f"{self.spec.name} has no boot entries: it would stop at the boot loader"
            raise LabError(message)
        return (self._sysroot / entries[max(entries)].lstrip("/")).resolve()

    def _mount(self) -> None:
        boot = self._sysroot / "boot"
        if not boot.is_mount():
            run("mount", "-o", "loop", self.spec.directory / "boot.img", boot)

    def _unmount(self) -> None:
        self._let_go()
        with contextlib.suppress(LabError):
            run("umount", "--lazy", self._sysroot / "boot")

    def _let_go(self) -> None:
        # A deployment that is still mounted somewhere cannot be removed by ostree.
        root = self.spec.directory / "root"
        while f" {root} " in Path("/proc/self/mountinfo").read_text():
            run("umount", "--lazy", "--recursive", root)

    def _binds(self) -> list[str]:
        """Put the next deployment in place as the root, and name what goes with it."""
        root, deployment = self.spec.directory / "root", self._default(self._sysroot / "boot")
        self._let_go()
        run("mount", "--bind", deployment, root)
        run("mount", "--bind", deployment / "usr", root / "usr")
        run("mount", "-o", "remount,bind,ro", root / "usr")
        marker = self.spec.directory / "booted"
        marker.touch()
        return [
            f"--bind={self._sysroot}:/sysroot",
            f"--bind={self._sysroot / 'boot'}:/boot",
            f"--bind={self._var}:/var",
            f"--bind-ro={marker}:/run/ostree-booted",
            *disks.binds(self._disks),
        ]
