"""The certificate of a server: a PEM file of the controller, whose private key is a secret."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deploys.policies.secret import Secret

MATCH = """
certificate=$(openssl x509 -in "$new" -noout -pubkey) && key=$(openssl pkey -in "$new" -passin pass: -pubout) || exit 1
[ "$certificate" = "$key" ] || { echo "the key is not the key of the certificate" >&2; exit 1; }
"""
"""Shell commands that fail unless the file `$new` has a certificate and its own key."""


@lru_cache(maxsize=64)
def chain_of(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, the server's own first.

    Raises:
        ValueError: the file cannot be read, or holds something else; the message names it.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(path.expanduser().read_bytes()))
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
    except ValueError:
        message = f"{path} holds no certificate in PEM"
    raise ValueError(message)


def leaf_of(path: Path) -> x509.Certificate:
    """The server's own certificate.

    Raises:
        ValueError: see `chain_of`.
    """
    return chain_of(path)[0]


def names_of(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = found.get_values_for_type(x509.DNSName)
    return [*names, *map(str, found.get_values_for_type(x509.IPAddress))]


def pins_of(path: Path) -> tuple[str, str]:
    """The SHA-256 of the server's certificate in hexadecimal, and of its public key in base64, as curl pins it.

    Raises:
        ValueError: see `chain_of`.
    """
    leaf = leaf_of(path)
    key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return leaf.fingerprint(SHA256()).hex(), base64.b64encode(hashlib.sha256(key).digest()).decode()


def pem_of(path: Path, key: Secret) -> str:
    """One text with the certificates and their key: the two can only be changed together.

    Raises:
        ValueError: see `chain_of`.
        InputError: the key cannot be had.
    """
    certificates = "".join(each.public_bytes(Encoding.PEM).decode() for each in chain_of(path))
    return f"{certificates}{key.resolve()}\n"
