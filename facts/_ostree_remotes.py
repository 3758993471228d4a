"""Remotes of an ostree repository, from its configuration and keyrings. Pure.

Remotes are in the repository's own configuration, or each in a file of /etc/ostree/remotes.d, where `ostree remote add`
writes them on a booted host; what is in both is an error of ostree's. Files travel as in _conffiles.py, each keyring
after them as a line `= key NAME` and its armor.
"""

from __future__ import annotations

import re
from typing import TypedDict

from facts import _openpgp
from facts._answer import AnswerError
from facts._conffiles import END, files

CONFIG = "/ostree/repo/config"
DIRECTORY = "/etc/ostree/remotes.d"
KEYRINGS = "/ostree/repo"

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_SECTION = re.compile(rf"\[remote \"(?P<name>{_NAME})\"\]")
_KEYRING = re.compile(rf"= key (?P<name>{_NAME})")
_OWN = {"url", "gpg-verify", "gpg-verify-summary", "tls-ca-path"}

KEYRINGS_COMMAND = (
    f'for f in {KEYRINGS}/*.trustedkeys.gpg; do [ -s "$f" ] || continue; n=${{f##*/}}; '
    "echo \"= key ${n%.trustedkeys.gpg}\" && echo '-----BEGIN PGP PUBLIC KEY BLOCK-----' && echo && "
    "base64 \"$f\" && echo '-----END PGP PUBLIC KEY BLOCK-----' || exit 1; done; echo '= keys end'"
)


class Remote(TypedDict):
    """`keys` are fingerprints; `other` are more options of its section, as written."""

    url: str
    gpg_verify: bool
    gpg_verify_summary: bool
    tls_ca_path: str | None
    file: str
    keys: list[str]
    other: dict[str, str]


def remotes(lines: list[str]) -> dict[str, Remote]:
    """Name to remote.

    Raises:
        AnswerError: the end is missing, a remote is defined twice, or a keyring cannot be read.
    """
    if "= keys end" not in lines or END not in lines:
        message = "the remotes could not be read to the end"
        raise AnswerError(message)
    until = lines.index(END) + 1
    keys = _keys(lines[until : lines.index("= keys end")])
    found: dict[str, Remote] = {}
    for path, name, values in _sections(lines[:until]):
        if name in found:
            message = f"the remote {name!r} is defined in {found[name]['file']} and in {path}: remove one of them"
            raise AnswerError(message)
        found[name] = {
            "url": values.get("url", ""),
            "gpg_verify": _is_true(values.get("gpg-verify", "true")),
            "gpg_verify_summary": _is_true(values.get("gpg-verify-summary", "false")),
            "tls_ca_path": values.get("tls-ca-path"),
            "file": path,
            "keys": keys.get(name, []),
            "other": {key: value for key, value in sorted(values.items()) if key not in _OWN},
        }
    return dict(sorted(found.items()))


def _sections(lines: list[str]) -> list[tuple[str, str, dict[str, str]]]:
    """File, name and options of each remote."""
    found: list[tuple[str, str, dict[str, str]]] = []
    for file in files(lines):
        values: dict[str, str] | None = None
        for line in map(str.strip, file.lines):
            if line.startswith("["):
                match = _SECTION.fullmatch(line)
                values = {}
                if match:
                    found.append((file.path, match["name"], values))
            elif values is not None and "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                values[key.strip()] = value.strip()
    return found


def _keys(lines: list[str]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        if match := _KEYRING.fullmatch(line):
            name = match["name"]
            texts[name] = []
        elif name:
            texts[name].append(line)
    found = {}
    for name, text in texts.items():
        try:
            found[name] = sorted(_openpgp.fingerprints("\n".join(text)))
        except _openpgp.OpenPgpError as error:
            message = f"{KEYRINGS}/{name}.trustedkeys.gpg: {error}"
            raise AnswerError(message) from error
    return found


def _is_true(value: str) -> bool:
    return value.lower() in {"true", "1"}
