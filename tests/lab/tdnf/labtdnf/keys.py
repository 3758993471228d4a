"""Signatures of package files, and the keys that are imported when one does not fit."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rpm  # Only the guest has it.

from .config import Repo
from .console import Console
from .errors import TdnfError, UncoveredError

Ask = Callable[[], None]
"""Asks the user; raises 1032 for a no."""

_ARMOR = re.compile(r"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:.*?\n)?\n(.*?)(?:\n=....)?\n-----END", re.DOTALL)


def read_header(ts: Any, path: Path, repo: Repo | None, console: Console, ask: Ask) -> Any:
    """Read a package's header; a signature by an unknown key makes the repo's keys be imported.

    Without a repo the signature does not matter. No signature at all is no reason to refuse: that is tdnf's way.

    Raises:
        TdnfError: 1514 no key fits, 1523 the repo names no key, 1602 a key file is missing.
    """
    header = _verified(ts, path)
    if header is not None:
        return header
    if repo is not None:
        _import_until_good(ts, path, repo, console, ask)
    flags = ts.setVSFlags(rpm._RPMVSF_NOSIGNATURES)
    try:
        return _verified(ts, path)
    finally:
        ts.setVSFlags(flags)


def _verified(ts: Any, path: Path) -> Any:
    """The header, or None when the key of the signature is not known."""
    with path.open("rb"):  # A missing file is told by its name, not as an rpm error.
        descriptor = rpm.fd(str(path), "r")
    try:
        return ts.hdrFromFdno(descriptor)
    except rpm.error as error:
        if "public key" in str(error):
            return None
        raise TdnfError(1525) from error
    finally:
        descriptor.close()


def _import_until_good(ts: Any, path: Path, repo: Repo, console: Console, ask: Ask) -> None:
    if not repo.gpg_keys:
        raise TdnfError(1523)
    for url in repo.gpg_keys:
        if not url.startswith("file://"):
            message = f"gpgkey={url}: only file:// keys"
            raise UncoveredError(message)
        console.info(f"importing key from {url}")
        ask()
        _import(ts, Path(url.removeprefix("file://")), console)
        if _verified(ts, path) is not None:
            return
        console.error(f"Error verifying signature of: {path}")
    raise TdnfError(1514)


def _import(ts: Any, path: Path, console: Console) -> None:
    try:
        text = path.read_text()
    except OSError as error:
        console.error(f"Error: Accessing gpgkey at {path}")
        raise TdnfError(1602) from error
    block = _ARMOR.search(text)
    if block is None:
        # The real tdnf never ends here.
        message = f"{path} is not an armored public key (the real tdnf would hang)"
        raise UncoveredError(message)
    ts.pgpImportPubkey(base64.b64decode(block[1]))
