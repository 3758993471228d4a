"""Container images without a registry: archives as `docker save` makes them, from the machine's busybox.

The image `lab/web:1` is an HTTP server that says hello on port 80 and answers /health. It is as nginx-like as a
static binary allows.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from tests.lab import base, machine
from tests.lab.machine import BUSYBOX
from tests.lab.settings import cache_dir

# The first process of a container ignores SIGTERM unless it asks for it; a reboot would wait 90 seconds for that.
_COMMAND = "trap 'exit 0' TERM; httpd -f -p 80 -h /www & wait"
_APPLETS = ("sh", "httpd", "wget", "sleep", "cat", "echo", "env")


def _layer(greeting: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        _file(tar, "bin/busybox", BUSYBOX.read_bytes(), 0o755)
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        _file(tar, "www/index.html", f"{greeting}\n".encode(), 0o644)
        _file(tar, "www/health", b"ok\n", 0o644)
        _file(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nweb:x:1000:1000:web:/:/bin/sh\n", 0o644)
    return buffer.getvalue()


def _file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def web(tag: str = "1", greeting: str = "hello from a lab container") -> Path:
    """The archive of `lab/web:TAG`; the same arguments always give the same image id."""
    if not BUSYBOX.exists():
        machine.prepare()
    path = cache_dir() / "images" / f"web-{tag}-{hashlib.sha256((_COMMAND + greeting).encode()).hexdigest()[:8]}.tar"
    with base.locked("images"):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_bytes(_archive(f"lab/web:{tag}", _layer(greeting)))
            partial.rename(path)
    return path


def _archive(reference: str, layer: bytes) -> bytes:
    configuration = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/sh", "-c", _COMMAND], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        },
        sort_keys=True,
    ).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": ["layer/layer.tar"]}]).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        _file(tar, name, configuration, 0o644)
        _file(tar, "layer/layer.tar", layer, 0o644)
        _file(tar, "manifest.json", manifest, 0o644)
    return buffer.getvalue()
