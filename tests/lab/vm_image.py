"""What an image host boots from that is a virtual machine: a disk with GRUB, /boot and an ostree sysroot.

Its tree is the one of the other image hosts and what a machine of its own needs: Debian's cloud kernel and modules,
udev, ostree's parts for a boot, and a stand-in for grub-mkconfig. ostree runs that for each new menu, as on Photon:
/boot/loader/grub.cfg is written, and /boot/grub2/grub.cfg leads there. The tree is a branch of its own in the lab's
repository. The initramfs is busybox, and starts the deployment's own ostree-prepare-root. Host name, keys and address
come from a second disk, as from cloud-init's. All of it is built once and cached.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab import base, layer, machine, ostree_repo, ostree_root, vmroot
from tests.lab.machine import run, say
from tests.lab.ostree_root import BRANCH, FIRST, REMOTE, STATEROOT, URL
from tests.lab.settings import cache_dir

VM_BRANCH = "photon/5.0/x86_64/vm"
KERNEL = "/usr/lib/modules/6.1.10-11.ph5"
INITRAMFS = f"{KERNEL}/initramfs.img"
BOOT_MEBIBYTES, ROOT_MEBIBYTES = 96, 2048
_SECTOR = 512
_BOOT_START, _ALIGN = 2048, 1 << 20
_GRUB = Path("/usr/lib/grub/i386-pc")
_GRUB_MODULES = (
    "biosdisk part_msdos ext2 normal linux configfile search search_fs_uuid loadenv test echo ls serial terminal gzio "
    "minicmd sleep reboot halt true"
).split()
KARGS = (
    "console=ttyS0", "quiet", "net.ifnames=0", "mitigations=off",
    *(f"systemd.mask={unit}" for unit in (*vmroot.LEAN, "systemd-timesyncd.service")),
)  # fmt: skip

# What of the packages is laid over the tree: their own files, without Debian's lists and the users they make.
_DELTA = f"""
set -eu
work=$1 base=$2
mkdir -p $work/pkg $work/w1 $work/root $work/delta
root=$work/root
mount -t overlay vm-image -o "lowerdir=$base,upperdir=$work/pkg,workdir=$work/w1" $root
mount -t proc proc $root/proc; mount --bind /dev $root/dev; mount -t tmpfs tmpfs $root/tmp
cat /etc/resolv.conf > $root/etc/resolv.conf
chroot $root /bin/sh -eu <<'X'
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
exec 2>&1
apt="apt-get -qq -o APT::Sandbox::User=root"
$apt update
$apt install -y --no-install-recommends udev grub-common gettext-base >/dev/null
cd /tmp
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \\(linux-image[^ ]*\\).*/\\1/p' | head -n 1)
$apt download "$kernel" ostree-boot
dpkg-deb -x linux-image*.deb kernel; dpkg-deb -x ostree-boot*.deb boot
mv kernel/lib/modules /usr/lib/modules
k=/usr/lib/modules/$(ls /usr/lib/modules)
# What a machine of qemu's has no use for is four fifths of them.
cd $k/kernel
rm -rf sound drivers/net/ethernet drivers/gpu drivers/infiniband drivers/scsi drivers/nvme drivers/md drivers/hv
depmod "${{k##*/}}"
# Where the tree has its stand-in for a kernel: ostree takes one directory only.
mkdir {KERNEL}; cp /tmp/kernel/boot/vmlinuz-* {KERNEL}/vmlinuz
cp -a /tmp/boot/lib/systemd/. /usr/lib/systemd/
cp -a /tmp/boot/usr/lib/ostree /usr/lib/
mkdir -p /usr/lib/lab-grub; cd /usr/lib/lab-grub
export pkgdatadir=/usr/share/grub GRUB_TIMEOUT=0 GRUB_TERMINAL_INPUT=serial GRUB_TERMINAL_OUTPUT=serial
export GRUB_SERIAL_COMMAND=serial GRUB_VIDEO_BACKEND=true
sh /etc/grub.d/00_header > header; sh /etc/grub.d/41_custom > custom
grep -q next_entry header; grep -q custom.cfg custom
cat > grub-mkconfig <<'Y'
#!/bin/sh -e
# A STAND-IN for grub-mkconfig, which takes a minute in an emulated machine: what GRUB's own 00_header and 41_custom
# print, and between them the entries of ostree, which it makes as for 15_ostree.
export GRUB2_BOOT_DEVICE_ID=none GRUB2_PREPARE_ROOT_CACHE="insmod ext2"
{{ cat /usr/lib/lab-grub/header; ostree admin instutil grub2-generate; cat /usr/lib/lab-grub/custom; }} > "$2"
Y
chmod 755 grub-mkconfig
X
umount $root/tmp $root/dev $root/proc $root
d=$work/delta
mkdir -p $d/usr/etc/systemd/system
cp -a $work/pkg/usr/. $d/usr/
rm -rf $d/usr/sbin/grub* $d/usr/bin/grub* $d/usr/share/grub $d/usr/lib/grub
cp -a $work/pkg/etc/udev $d/usr/etc/
mkdir -p $d/usr/sbin; ln -s ../lib/lab-grub/grub-mkconfig $d/usr/sbin/grub-mkconfig
rm -rf $d/usr/lib/udev/hwdb.bin $d/usr/lib/python3
for each in doc locale man info; do rm -rf $d/usr/share/$each; done
find $d -type c -exec rm {{}} +
# The tree masks them, as a container has no use for them.
for unit in systemd-udevd.service modprobe@.service; do
  ln -s /usr/lib/systemd/system/$unit $d/usr/etc/systemd/system/$unit
done
mkdir -p $d/usr/etc/pam.d
sed /pam_systemd/d $base/etc/pam.d/common-session > $d/usr/etc/pam.d/common-session
systemd=$d/usr/etc/systemd
{vmroot.LESS_TO_DO}
echo '/dev/vda1 /boot ext4 defaults 0 0' > $d/usr/etc/fstab
cp $root/bin/busybox $work/busybox 2>/dev/null || cp $base/bin/busybox $work/busybox
"""

_INIT = f"""#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs d /dev; $b mount -t proc p /proc; $b mount -t sysfs s /sys
for m in $($b cat /order); do $b insmod /m/$m; done
i=0; while [ ! -b /dev/vda2 ] && [ $i -lt 200 ]; do $b usleep 20000; i=$((i + 1)); done
$b mount -t ext4 -o rw /dev/vda2 /sysroot || exit 1
for word in $($b cat /proc/cmdline); do case $word in ostree=*) link=${{word#ostree=}} ;; esac; done
root=$($b readlink -f /sysroot$link)
var=/sysroot/ostree/deploy/{STATEROOT}/var
cd /seed; $b cpio -id < /dev/vdb; cd /
[ -e $var/.seeded ] || {{
  $b cp -a /seed/etc/. $root/etc/; $b mkdir -p $var/roothome; $b cp -a /seed/root/. $var/roothome/
  $b chmod 700 $var/roothome; [ ! -e /seed/usrlocal ] || $b cp -a /seed/usrlocal $var/; : > $var/.seeded
}}
. /seed/address
$b ip addr add $address dev eth0; $b ip link set eth0 up; $b ip route add default via $gateway
lib=$root/usr/lib/x86_64-linux-gnu
LD_LIBRARY_PATH=$lib $lib/ld-linux-x86-64.so.2 $root/usr/lib/ostree/ostree-prepare-root /sysroot || exit 1
$b umount /proc; $b umount /sys; $b mount --move /dev /sysroot/dev
exec $b switch_root /sysroot /sbin/init
"""

_SYSROOT = f"""
set -eu
work=$1 repo=$2 s=$1/sysroot
mkdir -p $s
ostree admin init-fs $s
ostree admin os-init --sysroot=$s {STATEROOT}
ostree config --repo=$s/ostree/repo set sysroot.bootloader none
ostree config --repo=$s/ostree/repo set core.min-free-space-percent 0
ostree remote add --repo=$s/ostree/repo --no-gpg-verify {REMOTE} {URL} {VM_BRANCH}
ostree pull-local --repo=$s/ostree/repo --remote={REMOTE} $repo {VM_BRANCH}
shift 2
ostree admin deploy --sysroot=$s --os={STATEROOT} "$@" {REMOTE}:{VM_BRANCH}
ostree config --repo=$s/ostree/repo set sysroot.bootloader grub2
chattr -i $s/ostree/deploy/{STATEROOT}/deploy/*.0
mkdir $s/boot/grub2
ln -s ../loader/grub.cfg $s/boot/grub2/grub.cfg
# As the guest's own grub-mkconfig will from the first update on.
grub=$work/delta/usr/lib/lab-grub
( cd $s && GRUB2_BOOT_DEVICE_ID=none GRUB2_PREPARE_ROOT_CACHE='insmod ext2' \
  _OSTREE_GRUB2_BOOTVERSION=$(readlink $s/boot/loader | sed 's/loader.//') \
  ostree admin instutil grub2-generate --sysroot=$s ) > $work/entries
cat $grub/header $work/entries $grub/custom > $s/boot/loader/grub.cfg
mv $s/boot $work/boot
mkdir $s/boot
"""


@dataclass(frozen=True)
class VmImage:
    """The files that every such VM shares; nobody writes to them."""

    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "disk.img"

    @property
    def repository(self) -> Path:
        """A repository with the branch's first version alone."""
        return self.directory / "repo"


def require_programs() -> None:
    """Install what these VMs need on this machine beyond what other VMs and image hosts do."""
    vmroot.require_programs()
    ostree_root.require_programs()
    wanted = {"grub-mkimage": "grub-common", str(_GRUB / "boot.img"): "grub-pc-bin"}
    machine.install(sorted({package for program, package in wanted.items() if not shutil.which(program) and
                            not Path(program).is_file()}))  # fmt: skip


def vm_image() -> VmImage:
    """The disk, built when missing (about a minute, 700 MB).

    Raises:
        LabError: it cannot be built, or the base is an image of the user's own.
    """
    require_programs()
    tree = ostree_root.image_root()
    sources = b"".join(Path(str(module.__file__)).read_bytes() for module in (ostree_root, vmroot))
    digest = hashlib.sha256(str(tree).encode() + sources + Path(__file__).read_bytes()).hexdigest()[:12]
    out = cache_dir() / f"vmimage-{digest}"
    with base.locked("vmimage"):
        if not out.exists():
            say("building the disk of the image hosts that are virtual machines once (about a minute)")
            for old in cache_dir().glob("vmimage-*[0-9a-f]"):
                if time.time() - old.stat().st_mtime > layer.STALE_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
            _build(out, tree)
    return VmImage(out)


def _build(out: Path, tree: ostree_root.ImageRoot) -> None:
    partial = out.with_suffix(".partial")
    run("chattr", "-R", "-i", partial, check=False)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    program = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _DELTA, "sh")
    run(*program, partial, layer.lower_directories()[1])
    delta = partial / "delta"
    (modules,) = {path.parent for path in delta.glob("usr/lib/modules/*/modules.dep")}
    initrd = vmroot.initrd(modules, partial / "busybox", _INIT, ("sysroot", "seed"))
    (delta / INITRAMFS.lstrip("/")).write_bytes(gzip.compress(initrd, 1))
    repo = partial / "repo"
    run("ostree", "init", f"--repo={repo}", "--mode=archive")
    run("ostree", "pull-local", f"--repo={repo}", tree.repository, BRANCH)
    keys = tree.keys
    run("ostree", "commit", f"--repo={repo}", f"--branch={VM_BRANCH}", f"--tree=ref={BRANCH}",
        f"--tree=dir={delta}", "--owner-uid=0", "--owner-gid=0", f"--add-metadata-string=version={FIRST}",
        "--subject=The first image of a machine", f"--gpg-sign={keys.fingerprint(ostree_root.KEY)}",
        f"--gpg-homedir={keys.directory}")  # fmt: skip
    keys.close()
    run("ostree", "refs", f"--repo={repo}", "--delete", BRANCH)
    run("sh", "-c", _SYSROOT, "sh", partial, repo, *(f"--karg-append={word}" for word in KARGS))
    _disk(partial)
    for path in partial.iterdir():
        if path.name not in {"repo", "disk.img"}:
            run("rm", "-rf", path)
    os.utime(partial)
    partial.rename(out)


def _disk(work: Path) -> None:
    """Two partitions, and GRUB in the boot sector and those that follow, where grub-install puts it too."""
    parts = {"boot": BOOT_MEBIBYTES, "sysroot": ROOT_MEBIBYTES}
    for name, mebibytes in parts.items():
        run("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard", "-d", work / name,
            work / f"{name}.img", f"{mebibytes}M")  # fmt: skip
    run("grub-mkimage", "-O", "i386-pc", "-o", work / "core.img", "-p", "(hd0,msdos1)/grub2", *_GRUB_MODULES)
    table, start = b"", _BOOT_START
    disk = work / "disk.img"
    with disk.open("wb") as out:
        for name, mebibytes in parts.items():
            sectors = (mebibytes << 20) // _SECTOR
            table += struct.pack("<B3sB3sII", 0x80 if name == "boot" else 0, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff",
                                 start, sectors)  # fmt: skip
            start += sectors
        out.write((_GRUB / "boot.img").read_bytes()[:440].ljust(446, b"\0") + table.ljust(64, b"\0") + b"\x55\xaa")
        out.write((work / "core.img").read_bytes())
        if out.tell() > _ALIGN:
            raise AssertionError
        out.truncate(_ALIGN + sum(parts.values()) * (1 << 20))
    offset = 1
    for name, mebibytes in parts.items():
        run("dd", f"if={work / f'{name}.img'}", f"of={disk}", "bs=1M", f"seek={offset}", "conv=notrunc,sparse")
        offset += mebibytes


def publish() -> None:
    """Put the branch into the lab's repository, unless it is there."""
    ostree_repo.publish()
    repository = ostree_repo.repository()
    with machine.file_locked(repository.parent / ".ostree.lock"):
        if VM_BRANCH not in run("ostree", "refs", f"--repo={repository}").split():
            run("ostree", "pull-local", f"--repo={repository}", vm_image().repository, VM_BRANCH)
            ostree_repo.refresh()
