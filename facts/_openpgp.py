"""Fingerprints of OpenPGP public keys, from their armor, without gpg.

Contract: what is not an armored version 4 public key (RFC 4880) raises `OpenPgpError`, nothing else.
Nothing is verified beyond the armor's own checksum: a fingerprint says which key this is, not that it can
be trusted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC_KEY = 6
USER_ID = 13
FINGERPRINT = re.compile(r"[0-9A-F]{40}")
BLOCK = re.compile(
    r"^-----BEGIN PGP PUBLIC KEY BLOCK-----\s*$(.*?)^-----END PGP PUBLIC KEY BLOCK-----\s*$",
    re.MULTILINE | re.DOTALL,
)


class OpenPgpError(ValueError):
    """The text is no armored public key that we understand."""


@dataclass(frozen=True)
class PublicKey:
    """A primary key: 40 upper-case hex digits, and the first user id that follows it (or nothing)."""

    fingerprint: str
    uid: str

    @property
    def keyid(self) -> str:
        """The low 64 bits, as gpg and rpm print them."""
        return self.fingerprint[-16:]


def normalise_fingerprint(text: str) -> str:
    """The fingerprint in upper case without blanks.

    Raises:
        OpenPgpError: not 40 hex digits; short key ids are refused, anybody can make a key that has one.
    """
    compact = re.sub(r"\s", "", text).upper()
    if not FINGERPRINT.fullmatch(compact):
        message = f"{text!r} is no fingerprint: 40 hex digits are needed"
        raise OpenPgpError(message)
    return compact


def fingerprints(armored: str) -> list[str]:
    """The fingerprints of the primary keys in the text, in order; subkeys are not listed."""
    return [key.fingerprint for key in public_keys(armored)]


def public_keys(armored: str) -> list[PublicKey]:
    """The primary keys in the text, in order.

    Raises:
        OpenPgpError: no key in the text, or one that cannot be read.
    """
    return list(_public_keys(armored))


# A fleet trusts few keys, and every host has them.
@lru_cache(maxsize=64)
def _public_keys(armored: str) -> tuple[PublicKey, ...]:
    blocks = [match.group(1) for match in BLOCK.finditer(armored)]
    keys = tuple(key for block in blocks for key in _keys(_dearmor(block)))
    if not keys:
        message = "there is no armored public key in the text"
        raise OpenPgpError(message)
    return keys


def _dearmor(block: str) -> bytes:
    """The bytes of one armored block; its headers end at the first blank line."""
    lines = [line.strip() for line in block.strip("\r\n").splitlines()]
    body = lines[lines.index("") + 1 :] if "" in lines else [line for line in lines if ":" not in line]
    checksums = [line[1:] for line in body if line.startswith("=")]
    try:
        data = base64.b64decode("".join(line for line in body if not line.startswith("=")), validate=True)
        wanted = [base64.b64decode(text, validate=True) for text in checksums]
    except binascii.Error as error:
        message = f"the armor is damaged: {error}"
        raise OpenPgpError(message) from error
    if any(_crc24(data) != value for value in wanted):
        message = "the armor is damaged: its checksum does not match"
        raise OpenPgpError(message)
    return data


def _crc24(data: bytes) -> bytes:
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    return (crc & 0xFFFFFF).to_bytes(3, "big")


def _keys(data: bytes) -> Iterator[PublicKey]:
    fingerprint, uid = "", ""
    for tag, body in _packets(data):
        if tag == PUBLIC_KEY:
            if fingerprint:
                yield PublicKey(fingerprint, uid)
            fingerprint, uid = _fingerprint(body), ""
        elif tag == USER_ID and not uid:
            uid = body.decode("utf-8", "replace")
    if fingerprint:
        yield PublicKey(fingerprint, uid)


def _fingerprint(body: bytes) -> str:
    """RFC 4880, 12.2: SHA-1 over 0x99, the two-octet length and the packet."""
    if body[:1] != b"\x04":
        message = f"only version 4 keys are supported, this is version {body[0] if body else '?'}"
        raise OpenPgpError(message)
    if len(body) > 0xFFFF:  # noqa: PLR2004 - the length has two octets
        message = "the key packet is too long"
        raise OpenPgpError(message)
    framed = b"\x99" + len(body).to_bytes(2, "big") + body
    return hashlib.sha1(framed, usedforsecurity=False).hexdigest().upper()


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        header = data[position]
        if not header & 0x80:
            message = f"octet {position} is no packet header"
            raise OpenPgpError(message)
        tag = header & 0x3F if header & 0x40 else (header >> 2) & 0x0F
        start, length = _new_length(data, position + 1) if header & 0x40 else _old_length(data, position)
        if start + length > len(data):
            message = "the key ends in the middle of a packet"
            raise OpenPgpError(message)
        yield tag, data[start : start + length]
        position = start + length


def _old_length(data: bytes, position: int) -> tuple[int, int]:
    """Where the body starts and how long it is, for a packet of the old format (RFC 4880, 4.2.1)."""
    octets = (1, 2, 4, 0)[data[position] & 0x03]
    start = position + 1 + octets
    if not octets:
        return start, len(data) - start
    return start, int.from_bytes(data[position + 1 : start], "big")


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    """The same for the new format (RFC 4880, 4.2.2); partial lengths are not allowed for keys."""
    octets = data[position : position + 5] + bytes(5)
    first = octets[0]
    if first < 192:  # noqa: PLR2004
        return position + 1, first
    if first < 224:  # noqa: PLR2004
        return position + 2, ((first - 192) << 8) + octets[1] + 192
    if first == 255:  # noqa: PLR2004
        return position + 5, int.from_bytes(octets[1:5], "big")
    message = "a packet has a partial length"
    raise OpenPgpError(message)
