"""Downloads over HTTP(S) and from files, with tdnf's retries and tdnf's names for what goes wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Repo
from .console import Console
from .errors import INVALID_PARAMETER, TdnfError, system_error

if TYPE_CHECKING:
    import http.client

_BLOCK = 65536
_TIMEOUT = 120
_HTTP_ERROR = 400
_REDIRECTS = {301, 302, 303, 307, 308}


def fetch(repo: Repo, relative: str, target: Path, console: Console) -> None:
    """Download `relative` of a repo to `target`, from the first of its base URLs that gives it.

    Raises:
        TdnfError: as curl's error (1200 and up), or 1622 for an HTTP status.
    """
    for index, base in enumerate(repo.base_urls):
        try:
            _with_retries(f"{base}/{relative}", target, repo, console)
        except TdnfError:
            if index == len(repo.base_urls) - 1:
                raise
        else:
            return


def fetch_url(url: str, target: Path, console: Console) -> None:
    """Download one URL that belongs to no repo."""
    _with_retries(url, target, Repo("@cmdline"), console)


def _with_retries(url: str, target: Path, repo: Repo, console: Console) -> None:
    attempt = 0
    while True:
        try:
            _once(url, target, repo, console)
        except TdnfError as error:
            if error.number == INVALID_PARAMETER or error.number >= 1300 or attempt == repo.retries:
                raise
            attempt += 1
            console.info(f"retrying {attempt}/{repo.retries}")
        else:
            return


def _once(url: str, target: Path, repo: Repo, console: Console) -> None:
    partial = target.with_name(f"{target.name}.tmp")
    if url.startswith("file://"):
        _copy(Path(url.removeprefix("file://")), target)
        return
    response = _open(url, repo, console)
    try:
        with partial.open("wb") as file:
            _drain(response, file.write)
    except OSError as error:
        raise system_error(error) from error
    partial.replace(target)


def _copy(source: Path, target: Path) -> None:
    try:
        target.write_bytes(source.read_bytes())
    except OSError as error:
        raise TdnfError(1237, "Couldn't read a file:// file") from error


def _open(url: str, repo: Repo, console: Console) -> http.client.HTTPResponse:
    import http.client  # noqa: PLC0415  # Late, as most runs need no network.
    import socket  # noqa: PLC0415

    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    kind: Any = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(host, timeout=_TIMEOUT)
        connection.request("GET", f"/{path}", headers=_headers(repo))
        response: http.client.HTTPResponse = connection.getresponse()
    except socket.gaierror as error:
        raise TdnfError(1207) from error
    except TimeoutError as error:
        raise TdnfError(1228) from error
    except (OSError, http.client.HTTPException) as error:
        raise TdnfError(1208) from error
    location = response.getheader("Location")
    if response.status in _REDIRECTS and location and "://" in location:
        return _open(location, repo, console)
    if response.status >= _HTTP_ERROR:
        console.error(f"Error: {response.status} when downloading {url}")
        console.error(". Please check repo url or refresh metadata with 'tdnf makecache'.")
        raise TdnfError(INVALID_PARAMETER)
    return response


def _headers(repo: Repo) -> dict[str, str]:
    headers = {"User-Agent": "lab-tdnf"}
    user = repo.settings.get("username")
    if user is not None:
        import base64  # noqa: PLC0415

        credentials = f"{user}:{repo.settings.get('password', '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
    return headers


def _drain(response: http.client.HTTPResponse, write: Callable[[bytes], Any]) -> None:
    import http.client  # noqa: PLC0415

    expected = response.length
    received = 0
    try:
        while block := response.read(_BLOCK):
            write(block)
            received += len(block)
    except (http.client.IncompleteRead, ConnectionError) as error:
        raise TdnfError(1219) from error
    except TimeoutError as error:
        raise TdnfError(1228) from error
    if expected is not None and received != expected:
        raise TdnfError(1219)


def checksum_matches(path: Path, kind: str, expected: str) -> bool:
    digest = hashlib.new(kind, usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest() == expected


def free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
