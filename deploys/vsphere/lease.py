"""An import's lease: the disks of a package are sent to where it says, and it is told of the progress or it ends.

Formats: HttpNfcLease, HttpNfcLeaseDeviceUrl, OvfFileItem of the vSphere Web Services API. The host of a URL may be `*`,
which is the vCenter itself, or an ESXi host with a certificate of its own, whose digest comes with the URL.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit

from pyVmomi import vmodl

from deploys.vsphere.errors import VSphereError, said
from deploys.vsphere.package import CHUNK, Package
from deploys.vsphere.session import ANSWER_SECONDS, Session

PROGRESS_SECONDS = 10
"""How often a lease is told that it is still used; one that hears nothing for minutes ends."""
READY_SECONDS = 300
LOOK_SECONDS = 0.5
_SHA1_DIGITS = 40


class Lease:
    """A lease that is completed, or else aborted whatever happens, with which its machine goes."""

    def __init__(self, session: Session, lease: Any, what: str) -> None:  # noqa: ANN401 - pyvmomi's objects
        self._session = session
        self._lease = lease
        self._what = what
        self._completed = False
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if not self._completed:
            with suppress(VSphereError, vmodl.MethodFault):
                self._session.write(lambda _: self._lease.HttpNfcLeaseAbort())

    def send(self, package: Package, items: Sequence[Any]) -> str:
        """Send the files that the vCenter asked for; the moid of the machine that is made.

        Raises:
            VSphereError: the lease ends, or a file is refused.
            PackageError: a file cannot be read.
        """
        info = self._ready()
        urls = {each.importKey: each for each in info.deviceUrl}
        total, sent = sum(int(item.size or 0) for item in items) or 1, 0
        for item in items:
            if item.deviceId not in urls:
                raise self._error(f"no place for {item.path}")
            if item.compressionMethod or item.chunkSize:
                raise self._error(f"{item.path} is compressed or in parts: make the package anew, by ovftool")
            with package.open(item.path) as (file, size):
                self._put(urls[item.deviceId], item, file, size, sent / total, total)
            sent += size
        try:
            self._session.write(lambda _: self._lease.HttpNfcLeaseComplete())
        except vmodl.MethodFault as fault:
            raise self._error(said(fault)) from fault
        self._completed = True
        return str(info.entity._moId)  # noqa: SLF001 - its only name

    def _ready(self) -> Any:  # noqa: ANN401 - pyvmomi's objects
        end = time.monotonic() + READY_SECONDS
        while (state := str(self._session.read(lambda _: self._lease.state))) == "initializing":
            if time.monotonic() > end:
                raise self._error(f"not ready after {READY_SECONDS} s")
            time.sleep(LOOK_SECONDS)
        if state != "ready":
            fault = self._session.read(lambda _: self._lease.error)
            raise self._error(said(fault) if fault is not None else f"its lease is {state}")
        return self._session.read(lambda _: self._lease.info)

    def _put(self, url: Any, item: Any, file: IO[bytes], size: int, begun: float, total: int) -> None:  # noqa: ANN401
        where = urlsplit(url.url)
        connection = self._connection(where.hostname or "", where.port, url.sslThumbprint or "")
        method = "PUT" if item.create else "POST"
        try:
            connection.putrequest(method, where.path + (f"?{where.query}" if where.query else ""))
            connection.putheader("Content-Length", str(size))
            connection.putheader("Content-Type", "application/x-vnd.vmware-streamVmdk")
            if item.create:
                connection.putheader("Overwrite", "t")
            connection.endheaders()
            for done, chunk in _chunks(file):
                connection.send(chunk)
                self._tell(100 * (begun + done / total))
            answer = connection.getresponse()
            answer.read()
            if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise self._error(f"{item.path} is refused: HTTP {answer.status} {answer.reason}")
        except (OSError, HTTPException) as error:
            raise self._error(f"{item.path} could not be sent: {error}") from error
        finally:
            connection.close()

    def _tell(self, percent: float) -> None:
        if time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._session.read(lambda _: self._lease.HttpNfcLeaseProgress(min(99, int(percent))))

    def _connection(self, host: str, port: int | None, thumbprint: str) -> HTTPSConnection:
        vcenter = self._session.vcenter
        if host in {"*", vcenter.host}:
            return HTTPSConnection(
                vcenter.host, vcenter.port if host == "*" else port, timeout=ANSWER_SECONDS,
                context=self._session.context,
            )  # fmt: skip
        made = HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=_any_certificate())
        try:
            made.connect()
        except OSError as error:
            raise self._error(f"{host}, to which its disks are to be sent, does not answer: {error}") from error
        assert isinstance(made.sock, ssl.SSLSocket)  # noqa: S101 - for the type checker
        shown = made.sock.getpeercert(binary_form=True) or b""
        if not is_certificate(shown, thumbprint):
            made.close()
            raise self._error(
                f"{host}, to which its disks are to be sent, has another certificate than the vCenter says"
            )
        return made

    def _error(self, words: str) -> VSphereError:
        return VSphereError(f"vCenter {self._session.vcenter.place}: {self._what}: {words}")


def is_certificate(certificate: bytes, thumbprint: str) -> bool:
    """Whether a certificate (DER) is the one of a thumbprint: SHA-1 or SHA-256, with or without colons."""
    wanted = thumbprint.replace(":", "").lower()
    made = hashlib.sha1 if len(wanted) == _SHA1_DIGITS else hashlib.sha256
    return bool(wanted) and made(certificate).hexdigest() == wanted


def _any_certificate() -> ssl.SSLContext:
    """For a host whose certificate is compared before anything is sent."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def _chunks(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    done = 0
    while chunk := file.read(CHUNK):
        done += len(chunk)
        yield done, chunk
