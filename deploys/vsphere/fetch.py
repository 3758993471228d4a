"""OVA files that are on a server: fetched when a template is to be made of one, and at no other time."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from deploys.vsphere.package import CHUNK, Package, PackageError, package

ANSWER_SECONDS = 60
"""How long the server may say nothing."""


def url_problem(url: str) -> str | None:
    """What is wrong with the URL of an OVA file, or None."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" and bool(parts.hostname) and parts.path.endswith(".ova")
    except ValueError:
        return f"{url!r} is no URL"
    if not is_good or not url.isprintable() or " " in url:
        return f"{url!r} is no https://... of an OVA file"
    if parts.username is not None or parts.password is not None:
        return "an URL with a user or a password would be in plans and errors: fetch the file yourself"
    return None


@dataclass(frozen=True)
class RemotePackage:
    """An OVA file at an https URL."""

    url: str

    @property
    def label(self) -> str:
        """A name for the template that is made of it: told by its URL, as what is there is not asked for."""
        stem = PurePosixPath(unquote(urlsplit(self.url).path)).stem
        return f"{stem[:60]}-{hashlib.sha256(self.url.encode()).hexdigest()[:12]}"

    @contextmanager
    def fetched(self) -> Iterator[Package]:
        """The package, in a directory that goes afterwards.

        Raises:
            PackageError: it cannot be fetched, or is none.
        """
        with tempfile.TemporaryDirectory(prefix="photon-fleet-ova-") as directory:
            path = Path(directory) / "package.ova"
            self._fetch(path)
            yield package(path)

    def _fetch(self, path: Path) -> None:
        try:
            # url_problem() takes https alone; what a server leads to is looked at before it is used.
            with urllib.request.urlopen(self.url, timeout=ANSWER_SECONDS) as answer, path.open("wb") as file:  # noqa: S310
                if urlsplit(answer.url).scheme != "https":
                    message = f"{self.url} leads to {answer.url}, which is not https"
                    raise PackageError(message)
                shutil.copyfileobj(answer, file, CHUNK)
        except (OSError, HTTPException, ValueError) as error:
            message = f"{self.url} cannot be fetched: {error}"
            raise PackageError(message) from error
