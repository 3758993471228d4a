"""What image hosts boot: a tree in an ostree repository, and a disk on which it is deployed; built once and cached.

The tree is the root of the container hosts in the shape that ostree asks for: /etc below /usr, what is writable below
/var, a kernel (random bytes: a container has none of its own), the units of Debian's ostree-boot, and neither tdnf nor
Docker, as on Photon's image hosts. `image_root()` gives the repository with its first version, a sysroot where that one
is deployed, and the keys.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab import base, layer, machine, rpms
from tests.lab.errors import LabError
from tests.lab.machine import run, say
from tests.lab.rpms import Keyring
from tests.lab.settings import REPOSITORY_HOST, cache_dir

STATEROOT = "photon"
REMOTE = "photon"
BRANCH = "photon/5.0/x86_64/minimal"
FIRST = "5.0_minimal"
URL = f"http://{REPOSITORY_HOST}/ostree"
KEY = "images"
STRANGER = "stranger"
KERNEL_MEBIBYTES = 4

# In a mount namespace of its own, so that nothing is left on the machine however this ends.
_TREE = f"""
set -eu
work=$1 layer=$2 base=$3
mkdir -p $work/pkg $work/top $work/w1 $work/w2 $work/root
root=$work/root
mount -t overlay image-packages -o "lowerdir=$base,upperdir=$work/pkg,workdir=$work/w1" $root
mount --bind /dev $root/dev; mount -t tmpfs tmpfs $root/tmp
cat /etc/resolv.conf > $root/etc/resolv.conf
chroot $root /bin/sh -eu <<'X'
exec 2>&1
cd /tmp
apt-get -qq -o APT::Sandbox::User=root update
apt-get -qq -o APT::Sandbox::User=root download ostree-boot
dpkg-deb -x ostree-boot*.deb unpacked
cp unpacked/lib/systemd/system/ostree-finalize-staged* unpacked/lib/systemd/system/ostree-boot-complete.service \\
  /usr/lib/systemd/system/
rm -rf /var/lib/apt/lists/* /var/cache/apt/*
X
umount $root/tmp $root/dev $root
mount -t overlay image-root -o "lowerdir=$layer:$work/pkg:$base,upperdir=$work/top,workdir=$work/w2" $root
cd $root
rm -rf usr/bin/docker* usr/sbin/docker* usr/bin/containerd* usr/bin/ctr usr/sbin/runc usr/lib/lab-tdnf usr/bin/tdnf* \\
  usr/bin/yum usr/bin/tyum usr/lib/systemd/system/docker* usr/lib/systemd/system/containerd* usr/share/lab-sudo \\
  usr/share/locale usr/share/doc usr/share/man usr/share/perl* usr/lib/x86_64-linux-gnu/perl* \\
  usr/lib/udev/hwdb.bin etc/tdnf etc/yum.repos.d usr/bin/btrfs* usr/sbin/xfs_* \\
  usr/sbin/nginx etc/nginx usr/lib/systemd/system/nginx*
for each in home root srv mnt; do rm -rf $each; done
ln -s var/home home; ln -s var/roothome root; ln -s var/srv srv; ln -s var/mnt mnt
rm -rf opt usr/local; ln -s var/opt opt; ln -s ../var/usrlocal usr/local
mkdir -p sysroot; ln -s sysroot/ostree ostree
rm -rf boot var run tmp media dev proc sys; mkdir boot var run tmp media dev proc sys; chmod 1777 tmp
cat > usr/lib/tmpfiles.d/photon-image.conf <<'X'
d /var/home 0755 root root -
d /var/roothome 0700 root root -
d /var/opt 0755 root root -
d /var/srv 0755 root root -
d /var/mnt 0755 root root -
d /var/usrlocal 0755 root root -
d /var/usrlocal/bin 0755 root root -
d /var/log 0755 root root -
d /var/lib 0755 root root -
d /var/cache 0755 root root -
d /var/spool 0755 root root -
L /var/run - - - - ../run
X
# The generator that starts these reads the kernel's command line, which a container does not have.
wants=usr/lib/systemd/system/multi-user.target.wants; mkdir -p $wants
ln -sf ../ostree-finalize-staged.path $wants/; ln -sf ../ostree-boot-complete.service $wants/
echo 'IMAGE_VERSION={FIRST}' >> usr/lib/os-release
kernel=usr/lib/modules/6.1.10-11.ph5; mkdir -p $kernel
head -c {KERNEL_MEBIBYTES << 20} /dev/urandom > $kernel/vmlinuz; head -c 4096 /dev/urandom > $kernel/initramfs.img
: > etc/fstab; : > etc/machine-id
mv etc usr/etc
find usr -name __pycache__ -prune -exec rm -rf {{}} +
# Not its inode: for ostree a root directory is what any other is.
ostree commit --repo=$work/repo --branch={BRANCH} --tree=dir=$root --add-metadata-string=version={FIRST} \\
  --subject='The first image' --timestamp='2025-05-01 10:00:00 +0000' --gpg-sign=$4 --gpg-homedir=$5
"""
_SYSROOT = f"""
set -eu
work=$1 s=$1/sysroot
mkdir -p $s
ostree admin init-fs $s
ostree admin os-init --sysroot=$s {STATEROOT}
ostree config --repo=$s/ostree/repo set sysroot.bootloader none
ostree config --repo=$s/ostree/repo set core.min-free-space-percent 0
ostree remote add --repo=$s/ostree/repo --no-gpg-verify {REMOTE} {URL} {BRANCH}
ostree pull-local --repo=$s/ostree/repo --remote={REMOTE} $work/repo {BRANCH}
ostree admin deploy --sysroot=$s --os={STATEROOT} --karg=quiet {REMOTE}:{BRANCH}
chattr -i $s/ostree/deploy/{STATEROOT}/deploy/*.0
"""


@dataclass(frozen=True)
class ImageRoot:
    """A directory with the repository, the sysroot where its first version is deployed, and the keyring."""

    directory: Path

    @property
    def repository(self) -> Path:
        return self.directory / "repo"

    @property
    def sysroot(self) -> Path:
        return self.directory / "sysroot"

    @property
    def keys(self) -> Keyring:
        return Keyring(self.directory / "keyring")


def require_programs() -> None:
    """Install what image hosts need on this machine beyond what container hosts do."""
    wanted = {"ostree": "ostree", "mke2fs": "e2fsprogs"}
    machine.install(sorted({package for program, package in wanted.items() if not shutil.which(program)}))


def image_root() -> ImageRoot:
    """The tree and what is made of it, built when missing (half a minute, 500 MB).

    Raises:
        LabError: it cannot be built, or the base is an image of the user's own.
    """
    require_programs()
    lower = layer.lower_directories()
    if base.image() is not None:
        message = "lab_image makes its tree from the lab's own base: leave LAB_IMAGE out"
        raise LabError(message)
    sources = (
        b"".join(Path(str(module.__file__)).read_bytes() for module in (rpms, layer)) + Path(__file__).read_bytes()
    )
    digest = hashlib.sha256(f"{lower}".encode() + sources).hexdigest()[:12]
    out = cache_dir() / f"ostree-{digest}"
    with base.locked("ostree"):
        if not out.exists():
            say("building the tree of the image hosts once (about half a minute, 500 MB)")
            for old in cache_dir().glob("ostree-*[0-9a-f]"):
                if time.time() - old.stat().st_mtime > layer.STALE_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
            _build(out, *lower)
    return ImageRoot(out)


def _build(out: Path, photon: Path, root: Path) -> None:
    partial = out.with_suffix(".partial")
    run("chattr", "-R", "-i", partial, check=False)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    keyring = Keyring(partial / "keyring")
    try:
        for key in (KEY, STRANGER):
            keyring.public(key)
        run("ostree", "init", f"--repo={partial / 'repo'}", "--mode=archive")
        in_namespace = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _TREE, "sh")
        run(*in_namespace, partial, photon, root, keyring.fingerprint(KEY), keyring.directory)
        run("ostree", "summary", f"--repo={partial / 'repo'}", "-u")
        run("sh", "-c", _SYSROOT, "sh", partial)
    finally:
        keyring.close()
    for name in ("pkg", "top", "w1", "w2", "root"):
        shutil.rmtree(partial / name)
    os.utime(partial)
    partial.rename(out)
