"""Where images come from: remotes of an image host, and the keys that their commits must be signed with.

Contract: a remote is read whole and written whole, into a file of its own; what is as wanted is left alone. On a booted
host remotes are in /etc and go with it: a way back to an older image may lose one that was made since.
"""

from __future__ import annotations

import re

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts import _openpgp
from facts._ostree_remotes import CONFIG, DIRECTORY, KEYRINGS
from facts.ostree import OstreeRemotes
from operations._contain import Commands, operation, read
from operations._ostree import QUICK_SECONDS, carried_out
from operations.file import write

__all__ = ["remote"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_URL = re.compile(r"(?:https?|file)://[^\s\"'`$\\]+")
_PATH = re.compile(r"/[\w./+@-]*")


@operation()
def remote(
    remote_name: str,
    url: str = "",
    *,
    key: str | None = None,
    gpg_verify: bool = True,
    gpg_verify_summary: bool = False,
    tls_ca_path: str | None = None,
    present: bool = True,
) -> Commands:
    """
    Define a remote of an image host, with the keys that its commits must be signed with.

    + remote_name: its name, the part of a branch before the colon
    + url: of the repository, http(s) or file
    + key: the armored public keys that are trusted for it; it trusts no others. None leaves its keyring alone
    + gpg_verify: whether commits must be signed; with True there must be a key
    + gpg_verify_summary: whether the summary must be signed as well
    + tls_ca_path: a file on the host with the certificates that its server is trusted by; None for the system's
    + present: False removes it, with its keys

    **Example:**

    .. code:: python

        ostree_remotes.remote(
            name="Take images from our server", remote_name="photon", url="https://images.example.com/repo",
            key=Path("images.asc").read_text(),
        )
    """
    if not _NAME.fullmatch(remote_name):
        message = f"{remote_name!r} is no name of a remote: letters, digits, _ . -, and no - first"
        raise OperationError(message)
    if not present:
        yield from _absent(remote_name)
        return
    fingerprints = _checked(remote_name, url, key, tls_ca_path)
    found = read(OstreeRemotes)
    if found is None:
        message = "this is not an image host: it was not booted from an ostree deployment"
        raise OperationError(message)
    has = found.get(remote_name)
    trusted = has["keys"] if has else []
    if gpg_verify and not (fingerprints or trusted):
        message = f"remote {remote_name}: gpg_verify without a key would refuse every image: give it the key"
        raise OperationError(message)
    values = (url, gpg_verify, gpg_verify_summary, tls_ca_path)
    is_same = has is not None and not has["other"].keys() - {"branches"} and values == (
        has["url"], has["gpg_verify"], has["gpg_verify_summary"], has["tls_ca_path"]
    )  # fmt: skip
    if is_same and fingerprints in ([], trusted):
        host.noop(f"remote {remote_name} is as wanted")
        return
    if has is not None and has["file"] == CONFIG and not is_same:
        # A remote may be in one of the two places only, and this one has no file of its own to write.
        yield carried_out(f"ostree remote delete {remote_name}", QUICK_SECONDS)
        trusted = []
    if not is_same:
        path = has["file"] if has and has["file"] != CONFIG else f"{DIRECTORY}/{remote_name}.conf"
        yield write(path, _text(remote_name, *values), mode="644")
    if fingerprints and fingerprints != trusted:
        yield from _keyring(remote_name, str(key))


def _checked(name: str, url: str, key: str | None, tls_ca_path: str | None) -> list[str]:
    """The fingerprints of the keys, sorted.

    Raises:
        OperationError: something of it cannot be meant.
    """
    if not _URL.fullmatch(url):
        message = f"remote {name}: {url!r} is no URL of a repository: http://, https:// or file://"
        raise OperationError(message)
    if tls_ca_path is not None and not _PATH.fullmatch(tls_ca_path):
        message = f"remote {name}: tls_ca_path {tls_ca_path!r} is no absolute path"
        raise OperationError(message)
    if key is None:
        return []
    try:
        return sorted(_openpgp.fingerprints(key))
    except _openpgp.OpenPgpError as error:
        message = f"remote {name}: the key cannot be read: {error}"
        raise OperationError(message) from error


def _text(name: str, url: str, gpg_verify: bool, summary: bool, tls_ca_path: str | None) -> str:  # noqa: FBT001 - the values of one remote
    lines = [f'[remote "{name}"]', f"url={url}", f"gpg-verify={str(gpg_verify).lower()}"]
    lines += [f"gpg-verify-summary={str(summary).lower()}"]
    lines += [f"tls-ca-path={tls_ca_path}"] if tls_ca_path else []
    return "\n".join([*lines, ""])


def _keyring(name: str, key: str) -> Commands:
    """Trust exactly these keys: `gpg-import` only adds, so that the old keyring goes first."""
    yield StringCommand(
        f"rm -f -- {KEYRINGS}/{name}.trustedkeys.gpg && ostree remote gpg-import --stdin {name}", _stdin=key
    )


def _absent(name: str) -> Commands:
    found = read(OstreeRemotes)
    if found is None or name not in found:
        host.noop(f"remote {name} is not there")
        return
    yield carried_out(f"ostree remote delete {name}", QUICK_SECONDS)
