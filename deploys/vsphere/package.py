"""OVF packages on the controller: an OVA file, or a descriptor with its files beside it, and what their manifest says.

Formats: DSP0243 (OVF 1.1 and 2.1): the manifest has a line `SHA256(NAME)= HEX` for each file, and an OVA is a tar archive
whose first file is the descriptor.
"""  # noqa: E501 - the format's own words

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from deploys.errors import InputError

CHUNK = 1 << 20
_LINE = re.compile(r"\s*(SHA[0-9]+)\s*\(([^()]+)\)\s*=\s*([0-9A-Fa-f]+)\s*")
_DIGESTS = {"SHA256": "sha256", "SHA512": "sha512"}
_OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
_MOST = 16 << 20
"""Bytes of a descriptor or manifest; those of real packages have some thousands."""


class PackageError(InputError):
    """A package cannot be read, or is not what its manifest says."""


@dataclass(frozen=True)
class LibraryEntry:
    """An item of a content library, by names as a person sees them."""

    library: str
    name: str

    @property
    def label(self) -> str:
        """A name for the template that is made of it."""
        digest = hashlib.sha256(f"{self.library}/{self.name}".encode()).hexdigest()
        return f"{self.name[:60]}-{digest[:12]}"


@dataclass(frozen=True)
class Package:
    """An OVF package.

    Args:
        path: the .ova or .ovf file.
        descriptor: the OVF document.
        digests: file -> the algorithm and the digest that its manifest gives it.
        digest: SHA-256 of the manifest: what tells this package from another one of its name.
    """

    path: Path
    descriptor: str
    digests: Mapping[str, tuple[str, str]]
    digest: str

    @property
    def label(self) -> str:
        """A name for what is made from it; another one for another content."""
        return f"{self.path.stem[:60]}-{self.digest[:12]}"

    def networks(self) -> list[str]:
        """The names of its networks, which are none of a vCenter's.

        Raises:
            PackageError: the descriptor is no OVF document.
        """
        try:
            # The document was compared with its manifest, and entities of this size are refused by expat itself.
            found = ET.fromstring(self.descriptor).iterfind(f"{_OVF}NetworkSection/{_OVF}Network")  # noqa: S314
            return [each.get(f"{_OVF}name", "") for each in found]
        except ET.ParseError as error:
            message = f"{self.path}: its descriptor is no OVF document: {error}"
            raise PackageError(message) from error

    def check(self) -> None:
        """Compare every file with the manifest.

        Raises:
            PackageError: one is missing or another one.
        """
        for name, (algorithm, wanted) in self.digests.items():
            made = hashlib.new(algorithm)
            with self.open(name) as (file, _):
                while chunk := file.read(CHUNK):
                    made.update(chunk)
            if made.hexdigest() != wanted:
                message = f"{self.path}: {name} is not what its manifest says ({algorithm} {made.hexdigest()})"
                raise PackageError(message)

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[IO[bytes], int]]:
        """A file of it, and its size in bytes.

        Raises:
            PackageError: the manifest does not name it, or it cannot be read.
        """
        if name not in self.digests:
            message = f"{self.path}: its manifest does not name {name!r}"
            raise PackageError(message)
        with _reading(self.path) as files:
            if name not in files:
                message = f"{self.path}: {name} is missing"
                raise PackageError(message)
            yield files[name]


class _Files:
    """The files of a package by name: in the archive, or beside the descriptor."""

    def __init__(self, path: Path, tar: tarfile.TarFile | None) -> None:
        self._path = path
        self._tar = tar
        members = tar.getmembers() if tar is not None else ()
        self._members = {each.name: each for each in members if each.isreg() and "/" not in each.name}

    def __contains__(self, name: str) -> bool:
        return name in self._members if self._tar is not None else (self._path.parent / name).is_file()

    def __getitem__(self, name: str) -> tuple[IO[bytes], int]:
        if self._tar is None:
            beside = self._path.parent / name
            return beside.open("rb"), beside.stat().st_size
        found = self._tar.extractfile(self._members[name])
        assert found is not None, "only regular files are members"  # noqa: S101 - for the type checker
        return found, self._members[name].size

    def names(self) -> list[str]:
        if self._tar is not None:
            return list(self._members)
        return [self._path.name, self._path.with_suffix(".mf").name]


@contextmanager
def _reading(path: Path) -> Iterator[_Files]:
    try:
        if path.suffix == ".ova":
            with tarfile.open(path, "r:") as tar:
                yield _Files(path, tar)
        else:
            yield _Files(path, None)
    except (OSError, tarfile.TarError) as error:
        message = f"{path} cannot be read: {error}"
        raise PackageError(message) from error


@lru_cache(maxsize=64)
def package(path: Path) -> Package:
    """The package of an .ova or .ovf file; its disks are not looked at yet.

    Raises:
        PackageError: it is none, or has no manifest with digests that can be trusted.
    """
    if path.suffix not in {".ova", ".ovf"}:
        message = f"{path} is neither an .ova nor an .ovf file"
        raise PackageError(message)
    with _reading(path) as files:
        descriptor = _text(path, files, ".ovf")
        manifest = _text(path, files, ".mf")
    digests = dict(_digests(path, manifest.decode(errors="replace")))
    name = next((name for name in digests if name.endswith(".ovf")), "")
    algorithm, wanted = digests.get(name, ("sha256", ""))
    if hashlib.new(algorithm, descriptor).hexdigest() != wanted:
        message = f"{path}: its descriptor is not the one that its manifest names"
        raise PackageError(message)
    return Package(path, descriptor.decode(errors="replace"), digests, hashlib.sha256(manifest).hexdigest())


def _text(path: Path, files: _Files, suffix: str) -> bytes:
    name = next((name for name in files.names() if name.endswith(suffix) and name in files), None)
    if name is None:
        what = "descriptor (.ovf)" if suffix == ".ovf" else "manifest (.mf), by which its files are checked"
        message = f"{path} has no {what}"
        raise PackageError(message)
    file, size = files[name]
    with file:
        if size > _MOST:
            message = f"{path}: {name} has {size} bytes, which is no {suffix} file"
            raise PackageError(message)
        return file.read()


def _digests(path: Path, manifest: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for line in filter(None, map(str.strip, manifest.splitlines())):
        found = _LINE.fullmatch(line)
        if found is None:
            message = f"{path}: this line of its manifest is none: {line[:80]!r}"
            raise PackageError(message)
        algorithm, name, digest = found.groups()
        if algorithm not in _DIGESTS:
            message = f"{path}: its manifest has {algorithm} digests: make it anew, by `ovftool --shaAlgorithm=SHA256`"
            raise PackageError(message)
        if "/" in name or name in {".", ".."}:
            message = f"{path}: its manifest names {name!r}, which is not beside it"
            raise PackageError(message)
        yield name, (_DIGESTS[algorithm], digest.lower())
