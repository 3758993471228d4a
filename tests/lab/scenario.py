"""The repositories, keys and files that the recordings of the real tdnf were made with, built anew from scenario.json.

`build()` returns a directory, cached by a hash of everything that goes into it, with
`www/` (what the server at `ADDRESS` shows), `keys/` (public keys) and `rpms/` (every package file).
`server()` is that server. In front of a path it knows the defects that the recordings were made with:
/slow, /truncate, /auth, /error503 and /badmd. Port 9 has no server.

Not as recorded, because rpmbuild decides it: key ids, the size of the package files and their source package.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import random
import shutil
import socketserver
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.lab import rpms

ADDRESS = ("127.0.0.1", 8055)
SIGNING_KEY = "VMWARE-RPM-GPG-KEY-4096"
OTHER_KEY = "other"
KEYS = ("VMWARE-RPM-GPG-KEY", SIGNING_KEY, OTHER_KEY)
CREDENTIALS = "fleet:s3cret"  # what the recordings gave to /auth

_DEFAULT_INSTALLED_SIZE = 2080
_LICENSE = "a licence\n"
_SLOW_BYTES_PER_SECOND = 200_000
_KEPT_SECONDS = 14 * 86400


@dataclass(frozen=True)
class Scenario:
    """scenario.json and the recordings beside it."""

    directory: Path

    @cached_property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.directory / "scenario.json").read_text())
        return data

    def recordings(self, version: str = "3.5.9") -> list[dict[str, Any]]:
        """Return every recorded run of one tdnf version."""
        lines = (self.directory / f"{version}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @cached_property
    def installed_sizes(self) -> dict[tuple[str, str], int]:
        """Installed size by (name, version-release): the scenario leaves it out, the recorded JSON has it."""
        sizes: dict[tuple[str, str], int] = {}
        for case in self.recordings():
            for text in [case["stdout"], *(step["stdout"] for step in case.get("followups", []))]:
                for entry in _entries(text):
                    if "InstallSize" in entry:
                        sizes[entry["Name"], entry["Evr"].rpartition(":")[2]] = entry["InstallSize"]
        return sizes

    def packages(self, repo: dict[str, Any]) -> list[rpms.Package]:
        return [self._package(entry) for entry in repo["packages"]]

    def _package(self, entry: dict[str, Any]) -> rpms.Package:
        signature = entry["signature"]
        name, version = entry["name"], f"{entry['version']}-{entry['release']}"
        return rpms.Package(
            name=name,
            version=entry["version"],
            release=entry["release"],
            epoch=entry["epoch"],
            arch=entry["arch"],
            summary=entry["summary"],
            description=f"{entry['summary']} (lab build of {name})",
            license=entry["license"],
            url=entry["url"],
            requires=tuple(entry["requires"]),
            provides=tuple(entry["provides"]),
            conflicts=tuple(entry["conflicts"]),
            obsoletes=tuple(entry["obsoletes"]),
            recommends=tuple(entry["recommends"]),
            files=_files(name, version, entry["files"], self.installed_sizes.get((name, version))),
            pre=entry.get("script_pre", ""),
            post=entry.get("script_post", ""),
            key=signature if signature in {None, SIGNING_KEY} else OTHER_KEY,
        )

    def advisories(self, repo: dict[str, Any]) -> list[rpms.Advisory]:
        return [
            rpms.Advisory(
                id=entry["id"],
                packages=tuple(entry["packages"]),
                type=entry["type"],
                severity=entry["severity"],
                # A title "docker" is what a recorded search found.
                title=entry["packages"][0].rsplit("-", 2)[0],
                description=entry["description"],
                issued=entry["issued"],
                updated=entry["updated"],
                reboot=entry["reboot_suggested"],
                cves=tuple(entry["cves"]),
            )
            for entry in repo["advisories"]
        ]

    def path_of(self, repo: dict[str, Any]) -> str:
        """The path of a repository on the server."""
        url = repo["baseurl"].replace("$releasever", self.data["releasever"])
        return str(url.replace("$basearch", self.data["basearch"]).split(":8055/")[1])

    def digest(self) -> str:
        """Changes when anything that `build` uses changes."""
        digest = hashlib.sha256()
        for path in (
            self.directory / "scenario.json",
            self.directory / "3.5.9.jsonl",
            Path(__file__),
            rpms.__file__,
        ):
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()[:12]


def build(scenario: Scenario, cache: Path) -> Path:
    """Return the directory with `www`, `keys` and `rpms`, building it when it is not in `cache`."""
    out = cache / f"scenario-{scenario.digest()}"
    if out.exists():
        os.utime(out)
        return out
    _forget_old(cache)
    partial = out.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    keyring = rpms.Keyring(partial / "gnupg")
    (partial / "keys").mkdir(parents=True)
    for key in KEYS:
        (partial / "keys" / key).write_text(keyring.public(key))
    by_repo = [(repo, scenario.packages(repo)) for repo in scenario.data["repos"]]
    rpms.build([package for _, packages in by_repo for package in packages], partial / "rpms", keyring)
    for repo, packages in by_repo:
        directory = partial / "www" / scenario.path_of(repo)
        files = [partial / "rpms" / package.filename for package in packages]
        rpms.repository(directory, files, scenario.advisories(repo))
        _spoil(directory, repo["packages"], packages)
    shutil.rmtree(partial / "gnupg", ignore_errors=True)
    partial.rename(out)
    return out


def _forget_old(cache: Path) -> None:
    """Remove the builds of other versions of the scenario that nobody has used for a while."""
    for old in cache.glob("scenario-*"):
        if old.is_dir() and time.time() - old.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(old)


def _entries(text: str) -> Iterator[dict[str, Any]]:
    """Every object in a text of JSON documents; none when the text is not JSON."""
    decoder, position = json.JSONDecoder(), 0
    while position < len(text):
        try:
            document, position = decoder.raw_decode(text, position)
        except ValueError:
            return
        stack = [document]
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                yield value
                stack += value.values()
            elif isinstance(value, list):
                stack += value


def _files(name: str, version: str, named: Sequence[str], size: int | None) -> dict[str, rpms.Content]:
    files: dict[str, rpms.Content] = {path: f"{path} of {name} {version}\n" for path in named}
    files[f"/usr/share/licenses/{name}/LICENSE"] = _LICENSE
    rest = (size or _DEFAULT_INSTALLED_SIZE) - sum(len(content) for content in files.values())
    # Random, so that a big package is big on the wire as well; seeded, so that it is always the same.
    files[f"/usr/share/{name}/data.bin"] = random.Random(f"{name}-{version}").randbytes(rest)  # noqa: S311 - filler
    return files


def _spoil(directory: Path, entries: Sequence[dict[str, Any]], packages: Sequence[rpms.Package]) -> None:
    """Give the packages with a `defect` what it says, after the metadata was made."""
    for entry, package in zip(entries, packages, strict=True):
        path = directory / package.arch / package.filename
        defect = entry.get("defect", "")
        if "checksum mismatch" in defect:
            content = path.read_bytes()
            path.unlink()  # It is a link to the good file.
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        elif "404" in defect:
            path.unlink()
        elif defect:
            message = f"{package.nevra}: a defect that the scenario builder does not know: {defect}"
            raise ValueError(message)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files, and the defects named by the first part of the path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        first, _, rest = self.path.lstrip("/").partition("/")
        expected = "Basic " + base64.b64encode(CREDENTIALS.encode()).decode()
        if first == "error503":
            self.send_error(503)
        elif first == "badmd":
            self._answer(b"<html><body>Please log in</body></html>\n", "text/html")
        elif first == "auth" and self.headers.get("Authorization") != expected:
            self.send_error(401)
        elif first in {"slow", "truncate", "auth"}:
            self._file(f"/{rest}", first)
        else:
            self._file(self.path, "")

    def _file(self, path: str, defect: str) -> None:
        file = Path(self.translate_path(path))
        if not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        length = len(content)
        if defect == "truncate" and file.suffix == ".rpm":
            content = content[: length // 2]
            self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        step = _SLOW_BYTES_PER_SECOND if defect == "slow" else length or 1
        for start in range(0, len(content), step):
            if start:
                time.sleep(1)
            self.wfile.write(content[start : start + step])

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep quiet: the clients' output is what the tests look at."""


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is part of the tests."""


def server(www: Path, address: tuple[str, int] = ADDRESS) -> http.server.HTTPServer:
    """Return a server of `www`, bound but not running: call its `serve_forever()`."""

    class Handler(_Handler):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, directory=str(www), **options)

    return _Server(address, Handler)
