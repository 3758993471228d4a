"""What a VM of the lab boots from: a disk image, a kernel and an initrd, built once and cached.

The root is the one of the container hosts with udev, NFS and the modules of Debian's cloud kernel put under the Photon
layer, and without Docker. The initrd is busybox and the few modules that lead to the root disk and the network.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import base, layer, machine, packages
from tests.lab.errors import LabError
from tests.lab.machine import run, say
from tests.lab.settings import cache_dir

PACKAGES = "udev nfs-kernel-server nfs-common"
IMAGE_MEBIBYTES = 2048
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4", "crc32c_generic", "crc32c_intel", "button")

# What a lab host has no use for, and waits for: half of the time of a boot.
LEAN = (
    "systemd-pstore.service apt-daily.timer modprobe@fuse.service modprobe@loop.service modprobe@dm_mod.service "
    "modprobe@drm.service modprobe@efi_pstore.service kmod-static-nodes.service docker.service docker.socket "
    "containerd.service rpcbind.service rpcbind.socket serial-getty@ttyS0.service dev-hugepages.mount dev-mqueue.mount "
    "sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount modprobe@configfs.service "
    "sys-fs-fuse-connections.mount systemd-binfmt.service proc-sys-fs-binfmt_misc.automount "
    "systemd-update-utmp.service systemd-update-utmp-runlevel.service"
).split()

_GENERATORS = "cryptsetup getty gpt-auto hibernate-resume integritysetup rc-local run system-update sysv veritysetup"
LESS_TO_DO = f"""
# Of two hundred devices, a hundred of them consoles, udev shall look only at those that a host is about; its power
# button, which switches it off politely, is an input.
mkdir -p $systemd/system/systemd-udev-trigger.service.d $systemd/system-generators
cat > $systemd/system/systemd-udev-trigger.service.d/lab.conf <<'X'
[Service]
ExecStart=
ExecStart=-udevadm trigger --action=add --subsystem-match=block --subsystem-match=input --subsystem-match=net \\
  --subsystem-match=pci --subsystem-match=scsi --subsystem-match=virtio
X
# Programs that find nothing here are half of what a boot or a reload of systemd waits for.
for each in {_GENERATORS}; do
  ln -s /dev/null $systemd/system-generators/systemd-$each-generator
done
"""
"""Shell: for the root whose /etc/systemd is $systemd."""

# In a mount namespace of its own, so that nothing is left on the machine however this ends.
_BUILD = f"""
set -eu
work=$1 layer=$2 base=$3 rpms=$4
mkdir -p $work/pkg $work/top $work/w1 $work/w2 $work/root
mount -t overlay vm-packages -o "lowerdir=$base,upperdir=$work/pkg,workdir=$work/w1" $work/root
root=$work/root
mount -t proc proc $root/proc; mount --bind /dev $root/dev; mount -t tmpfs tmpfs $root/tmp
cat /etc/resolv.conf > $root/etc/resolv.conf
chroot $root /bin/sh -eu <<'X'
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
exec 2>&1
apt="apt-get -qq -o APT::Sandbox::User=root"
$apt update
$apt install -y --no-install-recommends {PACKAGES} >/dev/null
cd /tmp
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \\(linux-image[^ ]*\\).*/\\1/p' | head -n 1)
$apt download "$kernel"
# Not onto the root itself: its directory lib would take the place of the link to usr/lib.
dpkg-deb -x linux-image*.deb kernel
mv kernel/lib/modules /usr/lib/modules
mv kernel/boot/vmlinuz-* /boot/
depmod "$(ls /lib/modules)"
rm -rf /var/lib/apt/lists/* /var/cache/apt/*
# As on Photon, where presets leave the NFS server and rpcbind off.
find /etc/systemd/system -name 'nfs*' -o -name 'rpc*' | xargs rm -rf
X
umount $root/tmp $root/dev $root/proc $root
mount -t overlay vm-root -o "lowerdir=$layer:$work/pkg:$base,upperdir=$work/top,workdir=$work/w2" $root
cd $root/etc/systemd/system
# Half of what a login takes is its registration with logind.
sed -i /pam_systemd/d $root/etc/pam.d/common-session
rm -f systemd-udevd.service modprobe@.service proc-fs-nfsd.mount
systemd=..
{LESS_TO_DO}
rm -rf $root/usr/bin/docker* $root/usr/sbin/docker* $root/usr/bin/containerd* $root/usr/bin/ctr $root/usr/sbin/runc
: > $root/etc/fstab
# What is on the disk is in the RPM database as well: tdnf in an emulated machine is slow.
mount -t tmpfs tmpfs $root/tmp
for each in btrfs-progs xfsprogs nfs-utils; do
  find "$rpms/rpms" -name "$each-*.rpm" -exec cp {{}} $root/tmp/ ';'
done
chroot $root rpm -i --justdb --nodeps --force-debian --noscripts /tmp/*.rpm 2>&1
umount $root/tmp
cp $root/boot/vmlinuz-* $work/kernel
cp -a $root/lib/modules $work/modules
cp $root/bin/busybox $work/busybox
rm -rf $root/boot/*
truncate -s {IMAGE_MEBIBYTES}M $work/disk.img
mke2fs -q -t ext4 -E lazy_itable_init=1,nodiscard -d $root $work/disk.img
"""

_INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs d /dev; $b mount -t proc p /proc; $b mount -t sysfs s /sys
for m in $($b cat /order); do $b insmod /m/$m; done
i=0; while [ ! -b /dev/vda ] && [ $i -lt 200 ]; do $b usleep 20000; i=$((i + 1)); done
$b mount -t ext4 -o rw /dev/vda /r || exec $b sh
[ -e /r/etc/.seeded ] || { $b cp -a /seed/. /r/ && : > /r/etc/.seeded; }
. /address
$b ip addr add $address dev eth0; $b ip link set eth0 up; $b ip route add default via $gateway
$b umount /sys; $b umount /proc; $b mount --move /dev /r/dev
exec $b switch_root /r /sbin/init
"""


@dataclass(frozen=True)
class VmRoot:
    """The files that every VM shares; nobody writes to them."""

    disk: Path
    kernel: Path
    initrd: Path


def vm_root() -> VmRoot:
    """Build what VMs boot from when it is missing (about half a minute, 700 MB).

    Raises:
        LabError: it cannot be built, or the base is a user's own image.
    """
    if base.image() is not None:
        message = "VMs of the lab are made from its own base only: unset LAB_IMAGE"
        raise LabError(message)
    photon, root = layer.lower_directories()
    digest = hashlib.sha256(f"{photon}:{root}".encode() + Path(__file__).read_bytes()).hexdigest()[:12]
    out = cache_dir() / f"vm-{digest}"
    with base.locked("vm"):
        if not out.exists():
            say("building the image of the virtual machines once (about half a minute)")
            for old in cache_dir().glob("vm-*"):
                if time.time() - old.stat().st_mtime > layer.STALE_SECONDS:
                    shutil.rmtree(old)
            _build(out, photon, root)
    return VmRoot(out / "disk.img", out / "kernel", out / "initrd")


def _build(out: Path, photon: Path, root: Path) -> None:
    partial = out.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    program = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _BUILD)
    run(*program, "sh", partial, photon, root, packages.build())
    (kernel,) = (partial / "modules").iterdir()
    archive = initrd(kernel, partial / "busybox", _INIT, ("r", "seed"))
    (partial / "initrd").write_bytes(gzip.compress(archive, 1))
    for name in ("pkg", "top", "w1", "w2", "root", "modules", "busybox"):
        path = partial / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.utime(partial)
    partial.rename(out)


def initrd(kernel: Path, busybox: Path, init: str, directories: Iterable[str]) -> bytes:
    """An archive with busybox, the modules of MODULES with what they need (from `kernel`, a directory), and `init`."""
    needs = dict(line.split(":", 1) for line in (kernel / "modules.dep").read_text().splitlines())
    order: dict[str, Path] = {}
    for name in MODULES:
        # One that is built into the kernel has no file; the older spelling of a name has dashes.
        for path in [path for path in needs if Path(path).name in {f"{name}.ko", f"{name.replace('_', '-')}.ko"}]:
            for each in [*reversed(needs[path].split()), path]:
                order.setdefault(Path(each).name, kernel / each)
    entries = [(name, None, 0o755) for name in ("bin", "dev", "proc", "sys", "m", *directories)]
    files = [("bin/busybox", busybox.read_bytes(), 0o755), ("init", init.encode(), 0o755)]
    files += [("order", " ".join(order).encode(), 0o644)]
    files += [(f"m/{name}", path.read_bytes(), 0o644) for name, path in order.items()]
    return cpio([*entries, *files])


def cpio(entries: Iterable[tuple[str, bytes | None, int]]) -> bytes:
    """An archive in the form that the kernel unpacks ("newc"): path, content (None is a directory) and mode."""
    archive = bytearray()
    for number, (name, content, mode) in enumerate([*entries, ("TRAILER!!!", b"", 0)], start=1):
        kind = stat.S_IFDIR if content is None else stat.S_IFREG
        data, path = content or b"", name.encode() + b"\0"
        fields = (number, kind | mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        archive += b"070701" + b"".join(f"{field:08x}".encode() for field in fields) + path
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def initrd_for(root: VmRoot, seed: Path, address: str, gateway: str) -> bytes:
    """The initrd of one VM: the shared one, and after it the files that this VM is given before its first boot."""
    entries: list[tuple[str, bytes | None, int]] = [
        ("address", f"address={address}/24\ngateway={gateway}\n".encode(), 0o644), ("seed", None, 0o755)
    ]  # fmt: skip
    for path in sorted(seed.rglob("*")):
        content = None if path.is_dir() else path.read_bytes()
        entries.append((f"seed/{path.relative_to(seed)}", content, stat.S_IMODE(path.stat().st_mode)))
    shared = root.initrd.read_bytes()
    # The kernel looks for a further archive at a multiple of four bytes.
    return shared + b"\0" * (-len(shared) % 512) + cpio(entries)


def require_programs() -> None:
    """Install what VMs need on this machine beyond what container hosts do."""
    wanted = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mke2fs": "e2fsprogs"}
    machine.install(sorted({package for program, package in wanted.items() if not shutil.which(program)}))
