"""The host's SSH key: made here and given to the host, or made there and read back."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typing_extensions import override

from deploys.errors import InputError

KIND = "ssh-ed25519"
_HEAD = b"\0\0\0\x0b" + KIND.encode() + b"\0\0\0\x20"
_KEY_BYTES = 32


@dataclass(frozen=True, repr=False)
class HostKey:
    """An Ed25519 key: `private` as OpenSSH's file has it, `public` as `ssh-ed25519 AAAA...`."""

    private: str
    public: str

    @override
    def __repr__(self) -> str:
        return f"HostKey({self.public})"

    @classmethod
    def make(cls) -> Self:
        """A new key."""
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        return cls(private.decode(), key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())

    @classmethod
    def shown(cls) -> Self:
        """What stands in the key's place where people read the user data."""
        return cls("(masked: made when the VM is)", f"{KIND} (made when the VM is)")


def read_back(value: str) -> str:
    """The public key that a guest wrote into `guestinfo.fleet.hostkey`, as known_hosts has it.

    Any program in the guest can write there, so nothing but an Ed25519 key is taken, without options and comment.

    Raises:
        InputError: it is none.
    """
    words = value.split()
    try:
        blob = base64.b64decode(words[1], validate=True) if len(words) == 2 else b""  # noqa: PLR2004 - type and key
    except binascii.Error:
        blob = b""
    if words[:1] != [KIND] or not blob.startswith(_HEAD) or len(blob) != len(_HEAD) + _KEY_BYTES:
        message = f"guestinfo.fleet.hostkey: what the guest wrote is no key of the type {KIND}; nothing is pinned"
        raise InputError(message)
    return f"{KIND} {base64.b64encode(blob).decode()}"
