"""The Photon layer: what turns the base into something that behaves like a fresh Photon host.

An overlay layer of its own, made in seconds from `rootfs/`, `layer.sh`, the tdnf stand-in and the lab's packages, and
cached under a hash of all of them: a change of any makes a new layer, without building the base again.
A user's own image (LAB_IMAGE) gets no layer: it is Photon already.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

from tests.lab import base, packages
from tests.lab.machine import run, say
from tests.lab.settings import cache_dir

_HERE = Path(__file__).parent
ROOTFS = _HERE / "rootfs"
SCRIPT = _HERE / "layer.sh"
STALE_SECONDS = 86400
STAND_IN = _HERE / "tdnf"

# The mounts are made in a mount namespace of their own, so that nothing is left on the machine however this ends.
_IN_OVERLAY = """
set -eu
base=$1 upper=$2 work=$3 root=$4 rpms=$5
mount -t overlay photon-layer -o "lowerdir=$base,upperdir=$upper,workdir=$work" "$root"
mount -t proc proc "$root/proc"; mount -t tmpfs tmpfs "$root/tmp"; mount --bind /dev "$root/dev"
cp "$rpms"/installed/*.rpm "$root/tmp/"
chroot "$root" /bin/sh -e /tmp.layer.sh
rm -f "$root/tmp.layer.sh"
"""


def _files() -> list[Path]:
    trees = (ROOTFS, STAND_IN)
    found = [path for tree in trees for path in sorted(tree.rglob("*")) if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]


def _digest(root: Path) -> str:
    content = hashlib.sha256(str(root).encode())
    for path in [*_files(), SCRIPT, Path(__file__), Path(packages.__file__)]:
        content.update(f"{path.relative_to(_HERE)}:{path.stat().st_mode}".encode())
        content.update(path.read_bytes())
    return content.hexdigest()[:12]


def lower_directories() -> list[Path]:
    """The read-only directories under every host, topmost first; built when missing."""
    root = base.base_root()
    if base.image() is not None:
        return [root]
    layer = cache_dir() / f"layer-{_digest(root)}"
    with base.locked("layer"):
        if not layer.exists():
            _build(root, layer)
    return [layer, root]


def _build(root: Path, layer: Path) -> None:
    say("preparing the Photon layer on the base system")
    rpms = packages.build()
    partial = layer.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    upper, work, mount = (partial / name for name in ("upper", "work", "root"))
    for path in (upper, work, mount):
        path.mkdir(parents=True)
    for path in _files():
        tree = ROOTFS if path.is_relative_to(ROOTFS) else STAND_IN
        target = (
            upper / path.relative_to(tree) if tree is ROOTFS else upper / "usr/lib/lab-tdnf" / path.relative_to(tree)
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    # Git keeps no modes but the executable bit, and this machine's umask must not shape the hosts.
    for path in upper.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    (upper / "etc/ssh/sshd_config").chmod(0o600)
    shutil.copy(SCRIPT, upper / "tmp.layer.sh")
    run(
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        _IN_OVERLAY,
        "sh",
        root,
        upper,
        work,
        mount,
        rpms,
    )
    for old in cache_dir().glob("layer-*[0-9a-f]"):
        if time.time() - old.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(old)
    os.utime(upper)
    upper.rename(layer)
    shutil.rmtree(partial)
