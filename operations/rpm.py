"""The public keys that rpm trusts.

Contract: a key is trusted by its whole fingerprint. The key's text is compared with it before the host is
asked.
"""

from __future__ import annotations

import re

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.context import host

from facts import _openpgp
from facts.file import TextFile
from facts.rpm import RpmKeys
from operations._contain import Commands, operation, read
from operations._tdnf import refuse, require_match
from operations.file import is_as_wanted, write

__all__ = ["key"]

FOLDER = "/etc/pki/rpm-gpg"
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def require_pinned(text: str, fingerprint: str) -> str:
    """The normalised fingerprint of the one key in the text.

    Raises:
        OperationError: no readable key, several keys, or another one than was pinned.
    """
    try:
        wanted = _openpgp.normalise_fingerprint(fingerprint)
        found = _openpgp.fingerprints(text)
    except _openpgp.OpenPgpError as error:
        raise refuse(str(error)) from error
    if found != [wanted]:
        message = f"the key has the fingerprint {', '.join(found)}, not the pinned {wanted}"
        raise refuse(message)
    return wanted


@operation()
def key(filename: str, fingerprint: str, text: str | None = None, *, present: bool = True) -> Commands:
    """Trust a public key: /etc/pki/rpm-gpg/<filename>, and the RPM database.

    + filename: the name of the file, for `gpgkey=file:///etc/pki/rpm-gpg/<filename>` of repositories
    + fingerprint: the 40 hex digits of the key that is meant; blanks do not matter
    + text: the armored key; refused when it is not the one, and only, key with that fingerprint
    + present: False removes the key from the RPM database, and the file

    A key that the file had before stays in the RPM database: remove it by its fingerprint.

    **Example:**

    .. code:: python

        rpm.key(
            name="Trust the key of our own packages",
            filename="RPM-GPG-KEY-example",
            fingerprint="ACB7 9D33 E93D B4EA 6C2A  03E7 6744 CF19 0AF7 1B48",
            text=Path("keys/example.asc").read_text(),
        )
    """
    path = f"{FOLDER}/{require_match(FILE_NAME, filename, 'file name')}"
    if not present:
        yield from _without_key(path, _normalised(fingerprint))
        return
    if text is None:
        message = "the text of the key is needed"
        raise refuse(message)
    wanted = require_pinned(text, fingerprint)
    trusted = wanted in read(RpmKeys)
    on_disk = is_as_wanted(read(TextFile, path=path), text, mode="644")
    if trusted and on_disk:
        host.noop(f"the key {wanted} is trusted already")
        return
    if not on_disk:
        yield write(path, text, mode="644")
    if not trusted:
        yield StringCommand("rpm --import", QuoteString(path))


def _normalised(fingerprint: str) -> str:
    try:
        return _openpgp.normalise_fingerprint(fingerprint)
    except _openpgp.OpenPgpError as error:
        raise refuse(str(error)) from error


def _without_key(path: str, fingerprint: str) -> Commands:
    known = read(RpmKeys).get(fingerprint)
    there = read(TextFile, path=path) is not None
    if known is None and not there:
        host.noop(f"the key {fingerprint} is not trusted")
        return
    if known is not None:
        yield StringCommand("rpm -e --", QuoteString(known["package"]))
    if there:
        yield StringCommand("rm -f --", QuoteString(path))
