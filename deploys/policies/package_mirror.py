"""A mirror of tdnf repositories for fleets without internet: dated snapshots, served over HTTPS by nginx.

A snapshot holds all repositories as they were at one time. It is published only when every file has the digest that
the metadata says, and every package a signature by a key that is pinned for its repository. Clients name a channel
(`https://mirror.example/prod/photon`) or one snapshot (`https://mirror.example/snapshots/20261129T101500Z/photon`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from typing_extensions import override

from deploys.policies._https_certificate import pins_of
from deploys.policies._https_checks import request
from deploys.policies._https_server import HttpsServer, Upstream
from deploys.policies.base import Check, Item
from deploys.policies.packages import SigningKey
from deploys.policies.types import Word
from facts._openpgp import OpenPgpError, fingerprints

if TYPE_CHECKING:
    from testinfra.host import Host


class MirroredRepository(Item):
    """A repository upstream. It is served below its id."""

    identity: ClassVar[str] = "id"

    id: Word
    url: Upstream
    """The directory that has `repodata`; nothing is filled in."""
    keys: tuple[Word, ...] = Field(min_length=1)
    """Names of the keys of which one has signed each package."""


class PackageMirror(HttpsServer):
    """Which repositories a host mirrors, and how it serves them."""

    name: ClassVar[str] = "package_mirror"
    base: ClassVar[str] = "/srv/photon-fleet/package-mirror"
    title: ClassVar[str] = "mirrored package repositories"
    tools: ClassVar[tuple[str, ...]] = ("curl", "rpm")
    unproved: ClassVar[Mapping[str, str]] = {
        **HttpsServer.unproved,
        "signing_keys.file": "where the controller finds the key; what is trusted is proved by its fingerprint",
    }

    signing_keys: tuple[SigningKey, ...] = ()
    repositories: tuple[MirroredRepository, ...] = ()

    @override
    def problems(self) -> Iterable[str]:
        yield from super().problems()
        for key in self.signing_keys:
            try:
                key.text()
            except ValueError as error:
                yield f"signing_keys[{key.name}]: {error}"
        names = {key.name for key in self.signing_keys}
        for repository in self.repositories:
            for unknown in sorted({*repository.keys} - names):
                yield f"repositories[{repository.id}].keys: there is no key {unknown!r} among signing_keys"
        if not self.repositories:
            yield "repositories: a mirror of nothing serves nobody"

    @override
    def ingredients(self) -> object:
        prints = {key.name: key.fingerprint for key in self.signing_keys}
        return [
            [repository.id, repository.url, sorted(prints.get(key, key) for key in repository.keys)]
            for repository in self.repositories
        ]

    @override
    def script_values(self) -> dict[str, object]:
        return {"repositories": self.repositories}

    @override
    def own_files(self) -> dict[str, str]:
        return {f"{self.etc}/keys/{key.name}.asc": key.text() for key in self.signing_keys}

    @override
    def checks(self) -> Iterable[Check]:
        yield from super().checks()
        for key in self.signing_keys:
            yield Check(
                id=f"package_mirror.key[{key.name}]", field=f"signing_keys[{key.name}].fingerprint",
                proves=f"packages are checked with the key {key.name} that was pinned",
                read=partial(keys_in, f"{self.etc}/keys/{key.name}.asc"), expect=[key.fingerprint],
            )  # fmt: skip
        yield Check(
            id="package_mirror.repositories", field="repositories", proves="staging holds the policy's repositories",
            read=partial(repositories_in, f"{self.base}/www/staging"),
            expect=sorted(each.id for each in self.repositories),
        )  # fmt: skip
        try:
            key_pin = pins_of(self.certificate)[1]
        except ValueError:
            key_pin = ""
        for channel in ("staging", *self.channels):
            once = "" if channel == "staging" else ", once something is promoted to it,"
            yield Check(
                id=f"package_mirror.channel[{channel}]", field="channels", needs="package_mirror.port",
                proves=f"{channel}{once} is served as it was fetched, with the digests of its metadata",
                read=partial(wrong_in, channel, f"{self.base}/www", (self.server_name, self.port, key_pin)), expect=[],
            )  # fmt: skip
        yield Check(
            id="package_mirror.kept", field="keep", needs="package_mirror.last-fetch",
            proves=f"no more than {self.keep} snapshots are there that no channel names",
            read=partial(too_many, f"{self.base}/www", self.keep), expect=[],
        )  # fmt: skip


def keys_in(path: str, host: Host) -> list[str]:
    """The fingerprints of the keys in a file."""
    try:
        return fingerprints(str(host.check_output("cat %s", path)))
    except OpenPgpError as error:
        return [str(error)]


def repositories_in(directory: str, host: Host) -> list[str]:
    """The repositories of a snapshot."""
    return sorted(str(host.check_output("ls -1 %s", f"{directory}/")).split())


_FILE = re.compile(
    r'<data type="(?P<type>[^"]+)">.*?<checksum type="(?P<kind>sha256|sha512)">(?P<digest>[0-9a-f]+)</checksum>.*?'
    r'<location href="(?P<place>[A-Za-z0-9._/+-]+)"', re.DOTALL,
)  # fmt: skip


def wrong_in(channel: str, www: str, server: tuple[str, int, str], host: Host) -> list[str]:
    """What is not served as it should be, as sentences; nothing for a channel that nothing was promoted to yet."""
    if channel != "staging" and not host.file(f"{www}/{channel}").is_symlink:
        return []
    wrong = []
    for repository in repositories_in(f"{www}/{channel}", host):
        base = f"{channel}/{repository}"
        answer = host.run(request(*server, f"{base}/repodata/repomd.xml"))
        if answer.rc or "<repomd" not in answer.stdout:
            wrong.append(f"{base}/repodata/repomd.xml is not served: {answer.stderr.strip() or answer.stdout[:80]}")
            continue
        files = list(_FILE.finditer(answer.stdout))
        if "primary" not in {each["type"] for each in files}:
            wrong.append(f"{base}/repodata/repomd.xml names no list of packages")
        for each in files:
            place = f"{base}/{each['place']}"
            digest = host.run(f"{request(*server, place)} | {each['kind']}sum").stdout.split()[:1]
            if digest != [each["digest"]]:
                wrong.append(f"{place} is not what the metadata says")
    return wrong


def too_many(www: str, keep: int, host: Host) -> list[str]:
    """The snapshots that are neither among the newest nor named by a channel."""
    names = sorted(str(host.check_output("ls -1 %s", f"{www}/snapshots")).split())
    named = str(host.check_output("find %s -maxdepth 1 -type l -printf %s", www, "%l\\n")).split()
    return [name for name in names[:-keep] if f"snapshots/{name}" not in named]
