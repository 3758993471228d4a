"""The TLS of a vCenter's connections: each one is judged, also those that are made later in a run.

pyvmomi's own `thumbprint=` is not used: it switches the verification of its context off for good after the first
connection, and never looks at the pin where a certificate is trusted for other reasons.
"""

from __future__ import annotations

import hashlib
import socket
import ssl

from pyinfra import logger

from deploys.policies.vcenter import VCenter
from deploys.vsphere.errors import VSphereError

CONNECT_SECONDS = 5


def context(vcenter: VCenter) -> ssl.SSLContext:
    """The context for every connection to it.

    Raises:
        VSphereError: the certificate is not the pinned one, or the CA file cannot be read.
        OSError: nobody answers.
    """
    if vcenter.insecure:
        logger.warning("%s: insecure=True: ANY certificate is taken, and gets the password", vcenter.place)
        made = ssl.create_default_context()
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made
    if vcenter.ca_file is not None:
        try:
            return ssl.create_default_context(cafile=str(vcenter.ca_file.expanduser()))
        except (OSError, ssl.SSLError) as error:
            message = f"{vcenter.place}: ca_file {vcenter.ca_file} cannot be used: {error}"
            raise VSphereError(message) from error
    return _pinned(vcenter)


def _pinned(vcenter: VCenter) -> ssl.SSLContext:
    """Only the certificate with the pinned digest passes; it is the only one that the context trusts."""
    certificate = _presented(vcenter)
    seen = hashlib.sha256(certificate).hexdigest()
    if seen != vcenter.pin_sha256:
        message = (
            f"{vcenter.place} is not the pinned vCenter: its certificate has the SHA-256 {seen}, pinned is "
            f"{vcenter.pin_sha256}. Nothing was sent. If its certificate was renewed, compare that on its console, and "
            "change pin_sha256."
        )
        raise VSphereError(message)
    made = ssl.create_default_context(cadata=certificate)
    made.check_hostname = False
    # The certificate itself is the anchor, whoever has signed it.
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def _presented(vcenter: VCenter) -> bytes:
    """The certificate that it shows (DER), whoever it is: nothing is sent to it."""
    looking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    looking.check_hostname = False
    looking.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((vcenter.host, vcenter.port), timeout=CONNECT_SECONDS) as plain,
        looking.wrap_socket(plain, server_hostname=vcenter.host) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""
