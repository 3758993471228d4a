"""What the servers for fleets without internet share: nginx over HTTPS, channels, and a timer that fetches.

A server fetches into versions that nobody sees before they were checked. The channel `staging` names the newest one;
the others (`prod`) name what was promoted to them (deploys/package_mirror.py, deploys/ostree_server.py). nginx runs
as a user that exists only while it runs, and reads what is published and its key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies._https_certificate import MATCH, leaf_of, names_of, pem_of, pins_of
from deploys.policies._https_checks import digest_of, server_checks
from deploys.policies.base import Check, Policy, Risk
from deploys.policies.render import render
from deploys.policies.secret import Secret
from deploys.policies.types import Port, Server, Word
from operations import file, path, publishing, systemd, tdnf

NGINX = "/usr/sbin/nginx"
_RESERVED = {"staging", "snapshots", "repo"}

# What nginx.conf and curl's own configuration take as it is.
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~+=@:-]+)*")


def _upstream(value: str) -> str:
    url = value.rstrip("/")
    if not _URL.fullmatch(url) or "/.." in url:
        message = f"{value!r} is no plain http(s) URL (the variables of tdnf, such as $releasever, are not filled in)"
        raise ValueError(message)
    return url


def _calendar(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9*][A-Za-z0-9*:,./ ~-]*", value):
        message = f"{value!r} is no time of systemd, such as daily or 03:30"
        raise ValueError(message)
    return value


Upstream = Annotated[str, AfterValidator(_upstream)]
Calendar = Annotated[str, AfterValidator(_calendar)]


class HttpsServer(Policy):
    """A host that fetches, checks, publishes and serves over HTTPS. A base class: the servers are below it."""

    risk: ClassVar[Risk] = Risk.SERVICE
    unproved: ClassVar[Mapping[str, str]] = {
        "key.kind": "where the controller finds the key; that it is the certificate's is proved by what is served",
        "key.reference": "as key.kind: nginx does not start with a key that is another certificate's",
    }
    base: ClassVar[str]
    """The directory of what is fetched."""
    title: ClassVar[str]
    tools: ClassVar[tuple[str, ...]]
    """Photon's packages with the programs that the server needs."""

    server_name: Server
    """The name by which clients reach it; the certificate has it."""
    certificate: Path
    """A PEM file of the controller: the server's certificate, then those between it and the authority."""
    key: Secret
    """The certificate's private key, PEM."""
    port: Port = 443
    channels: tuple[Word, ...] = ("prod",)
    """What versions are promoted to; there is always `staging`, which is the newest one."""
    keep: int = Field(default=5, ge=1, le=1000)
    """How many versions are kept; what a channel names is kept besides."""
    sync_at: Calendar = "daily"
    """When it fetches: a calendar time of systemd, such as `03:30` or `Mon,Thu 03:30`."""

    @property
    def unit(self) -> str:
        """The name of its units, without a suffix."""
        return f"photon-fleet-{self.name.replace('_', '-')}"

    @property
    def etc(self) -> str:
        """Where its configuration is."""
        return f"/etc/photon-fleet/{self.name}"

    @override
    def problems(self) -> Iterable[str]:
        try:
            leaf = leaf_of(self.certificate)
        except ValueError as error:
            yield f"certificate: {error}"
        else:
            names = names_of(leaf)
            if self.server_name not in names:
                yield f"certificate: {self.certificate} is for {', '.join(names) or 'no name'}, not {self.server_name}"
            if leaf.not_valid_after_utc <= datetime.now(UTC):
                yield f"certificate: {self.certificate} ended on {leaf.not_valid_after_utc:%Y-%m-%d}"
        for channel in self.channels:
            if channel in _RESERVED:
                yield f"channels: {channel!r} is a name that the server uses itself"

    @override
    def conflicts(self, others: Mapping[str, Policy]) -> Iterable[str]:
        for other in others.values():
            if other.name < self.name and isinstance(other, HttpsServer) and other.port == self.port:
                yield f"port: the {other.name} policy of this host listens on {self.port}, too"

    def made_of(self) -> str:
        """A digest of everything that decides what a version holds: with another one, a new version is fetched."""
        return hashlib.sha256(json.dumps(self.ingredients(), sort_keys=True).encode()).hexdigest()

    def ingredients(self) -> object:
        """What decides what a version holds."""
        raise NotImplementedError

    def script_values(self) -> dict[str, object]:
        """What the template of publish.sh needs beyond what all servers have."""
        raise NotImplementedError

    def own_files(self) -> dict[str, str]:
        """Public files that the script needs: absolute path -> text."""
        raise NotImplementedError

    def render_nginx(self) -> str:
        """The text of nginx.conf."""
        return render(
            "https_server/nginx.conf", policy=self.name, run=f"/run/{self.unit}", port=self.port,
            credentials=f"/run/credentials/{self.unit}.service", server_name=self.server_name, root=f"{self.base}/www",
        )  # fmt: skip

    def render_script(self) -> str:
        """The text of publish.sh."""
        return render(
            f"{self.name}/publish.sh", policy=self.name, base=self.base, etc=self.etc, keep=self.keep,
            channels=self.channels, made_of=self.made_of(), **self.script_values(),
        )  # fmt: skip

    def units(self) -> dict[str, str]:
        """The unit files: name -> text."""
        values = {
            "policy": self.name, "description": self.title, "nginx": NGINX, "etc": self.etc, "base": self.base,
            "run": f"/run/{self.unit}", "unit": self.unit, "sync_at": self.sync_at,
        }  # fmt: skip
        return {
            f"{self.unit}.service": render("https_server/server.service", **values),
            f"{self.unit}-sync.service": render("https_server/sync.service", **values),
            f"{self.unit}-sync.timer": render("https_server/sync.timer", **values),
        }

    @override
    def prepare(self) -> None:
        tdnf.packages(name=f"Install what the {self.name} policy needs", present=["nginx", *self.tools])

    @override
    def apply(self) -> None:
        server = f"{self.unit}.service"
        path.directory(name="Make a place for what is published", path=self.base)
        file.texts(
            name="Write what is fetched, and how it is checked",
            files={**self.own_files(), f"{self.etc}/publish.sh": self.render_script()},
        )
        self.apply_secrets()
        systemd.definitions(
            name="Define the units", files=self.units(), restart=[server, f"{self.unit}-sync.timer"],
        )  # fmt: skip
        systemd.configured(
            name="Give the server its certificate and key", unit=server, path=f"{self.etc}/server.pem", mode="600",
            content=pem_of(self.certificate, self.key), check=MATCH,
        )  # fmt: skip
        systemd.configured(
            name="Configure the server", unit=server, path=f"{self.etc}/nginx.conf", content=self.render_nginx(),
        )  # fmt: skip
        systemd.unit(name="Run the server, now and at boot", unit=server, running=True, enabled=True)
        publishing.fetched(
            name="Fetch what the policy asks for", server=self.name, made_of=self.made_of(),
        )  # fmt: skip
        systemd.unit(
            name=f"Fetch again: {self.sync_at}", unit=f"{self.unit}-sync.timer", running=True, enabled=True,
        )  # fmt: skip

    def apply_secrets(self) -> None:
        """Call the operations that write secrets of the server's own."""

    @override
    def checks(self) -> Iterable[Check]:
        try:
            pins = pins_of(self.certificate)
        except ValueError:
            # Said by problems() before anything is read.
            pins = ("no certificate", "")
        yield from server_checks(
            name=self.name, unit=self.unit, etc=self.etc, base=self.base, port=self.port, sync_at=self.sync_at,
            server_name=self.server_name, pins=pins, nginx=self.render_nginx(), units=self.units(),
        )  # fmt: skip
        yield Check(
            id=f"{self.name}.script", field="", proves="publish.sh fetches and checks what the policy says",
            read=partial(digest_of, f"{self.etc}/publish.sh"),
            expect=hashlib.sha256(self.render_script().encode()).hexdigest(),
        )  # fmt: skip
