"""What the RPM database trusts."""

from __future__ import annotations

import re

from pyinfra.api.facts import FactBase
from typing_extensions import override

from facts import _openpgp
from facts._answer import AnswerError
from facts._conffiles import END
from facts._types import RpmKey
from facts.tdnf import contained

__all__ = ["RpmKeys"]

_PACKAGE = re.compile(r"= (?P<package>gpg-pubkey-\S+)")


def keys(lines: list[str]) -> dict[str, RpmKey]:
    """Fingerprint to key, from a line `= PACKAGE` before the armor of each.

    Raises:
        AnswerError: a key that cannot be read, or the end is missing.
    """
    if not lines or lines[-1] != END:
        message = "rpm -qa did not get to the end"
        raise AnswerError(message)
    armored: dict[str, list[str]] = {}
    package = ""
    for line in lines[:-1]:
        if match := _PACKAGE.fullmatch(line):
            package = match["package"]
            armored[package] = []
        elif package:
            armored[package].append(line)
    found: dict[str, RpmKey] = {}
    for package, text in armored.items():
        try:
            parsed = _openpgp.public_keys("\n".join(text))
        except _openpgp.OpenPgpError as error:
            message = f"{package}: {error}"
            raise AnswerError(message) from error
        found |= {key.fingerprint: {"keyid": key.keyid, "uid": key.uid, "package": package} for key in parsed}
    return found


class RpmKeys(FactBase[dict[str, RpmKey]]):
    """Returns the public keys in the RPM database, by the fingerprint of the primary key.

    .. code:: python

        {
            "2F2A4DD5BD62A3D3B5E5BD8FA2B6B27A38A2AA5A": {
                "keyid": "A2B6B27A38A2AA5A",
                "uid": "Photon packages <packages@example.com>",
                "package": "gpg-pubkey-38a2aa5a-5a83abc6",
            },
        }

    Source of the format: rpm keeps a key as a package `gpg-pubkey-KEYID-TIME`; its description is the armor.
    The short id in that name can be forged; the fingerprint is computed from the key itself.
    """

    @override
    def command(self) -> str:
        return "rpm -qa gpg-pubkey --qf '= gpg-pubkey-%{VERSION}-%{RELEASE}\\n%{DESCRIPTION}\\n' && echo '" + END + "'"

    @override
    @contained
    def process(self, output: list[str]) -> dict[str, RpmKey]:
        return keys(output)
