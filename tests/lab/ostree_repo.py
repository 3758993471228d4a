"""The lab's repository of images at http://packages.lab/ostree, and how a test publishes a new version there.

A lab has a copy of its own, so that what one publishes no other sees. `commit` is what a build server does: the files
of the newest version with some of them changed. Nothing is served before its summary is made anew.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.lab.machine import file_locked, run
from tests.lab.ostree_root import BRANCH, KEY, STRANGER, image_root
from tests.lab.settings import state_dir

PLACE = "ostree"
_OS_RELEASE = "/usr/lib/os-release"
_VMLINUZ = "/usr/lib/modules/6.1.10-11.ph5/vmlinuz"


def repository() -> Path:
    """Where it is on this machine."""
    return state_dir() / PLACE


def publish() -> None:
    """Make the lab's copy, with the first version, unless there is one."""
    state_dir().mkdir(parents=True, exist_ok=True)
    with file_locked(state_dir() / ".ostree.lock"):
        if not repository().exists():
            partial = repository().with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            run("cp", "-a", image_root().repository, partial)
            partial.rename(repository())


def key_text(name: str = KEY) -> str:
    """The armored public key that signs the images (or the stranger's)."""
    return image_root().keys.public(name)


def fingerprint(name: str = KEY) -> str:
    return image_root().keys.fingerprint(name)


def head(branch: str = BRANCH) -> str:
    """The newest commit of a branch."""
    return run("ostree", "rev-parse", f"--repo={repository()}", branch).strip()


def commit(
    version: str,
    files: Mapping[str, str] | None = None,
    *,
    branch: str = BRANCH,
    parent: str = BRANCH,
    key: str | None = KEY,
    new_kernel: int = 0,
    summary: bool = True,
) -> str:
    """Publish a version: the files of `parent` with some replaced or added; returns the commit.

    Args:
        version: as in `5.0_minimal.1`; it is in os-release too, as IMAGE_VERSION.
        files: path in the image, such as /usr/etc/site.conf, to its text; one that begins with #! is a program.
        branch: where it is published.
        parent: the branch or commit whose files it starts from.
        key: who signs it; None for nobody, `STRANGER` for somebody who is not trusted.
        new_kernel: MiB of another kernel; 0 keeps the one of the parent.
        summary: whether the summary is made anew; without it no client sees the version.
    """
    where = f"--repo={repository()}"
    with tempfile.TemporaryDirectory(prefix="image-") as place:
        old = run("ostree", "cat", where, parent, _OS_RELEASE)
        lines = [line for line in old.splitlines() if not line.startswith("IMAGE_VERSION=")]
        texts = {_OS_RELEASE: "\n".join([*lines, f"IMAGE_VERSION={version}", ""]), **(files or {})}
        for path, text in texts.items():
            _write(Path(place, path.lstrip("/")), text.encode(), 0o755 if text.startswith("#!") else 0o644)
        if new_kernel:
            _write(Path(place, _VMLINUZ.lstrip("/")), secrets.token_bytes(new_kernel << 20), 0o644)
        tree = run("ostree", "rev-parse", where, parent).strip()
        sign = [] if key is None else [f"--gpg-sign={fingerprint(key)}", f"--gpg-homedir={image_root().keys.directory}"]
        made = run(
            "ostree", "commit", where, f"--branch={branch}", f"--tree=ref={tree}", f"--tree=dir={place}",
            f"--add-metadata-string=version={version}", f"--subject=Image {version}", *sign,
        ).strip()  # fmt: skip
        image_root().keys.close()
    if summary:
        refresh()
    return made


def refresh() -> None:
    """Make the summary anew, as a server must after every change."""
    run("ostree", "summary", f"--repo={repository()}", "-u")


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    # Up to the root of the image, whose mode is one of the files that change.
    for parent in path.parents:
        parent.chmod(0o755)
        if parent.name.startswith("image-"):
            break


__all__ = ["BRANCH", "KEY", "STRANGER", "commit", "fingerprint", "head", "key_text", "publish", "refresh", "repository"]
