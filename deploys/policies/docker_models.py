"""What the docker policy is made of: daemon settings, networks, images and containers, typed and frozen."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.errors import InputError
from deploys.policies.base import Item, Model
from deploys.policies.secret import Secret
from deploys.policies.types import AbsolutePath, Cidr, Line, Port, Word

_SIZE = re.compile(r"[1-9][0-9]*[kmg]")
_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESTART = re.compile(r"no|always|unless-stopped|on-failure(:[1-9][0-9]*)?")
_SECONDS = 1_000_000_000


def _matching(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            message = f"{value!r} is not {expected}"
            raise ValueError(message)
        return value

    return AfterValidator(check)


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError as error:
        raise ValueError(str(error)) from None


Size = Annotated[str, _matching(_SIZE, "a size such as 10m (k, m or g)")]
Reference = Annotated[str, _matching(_REFERENCE, "an image with a tag or digest, such as nginx:1.27")]
Restart = Annotated[str, _matching(_RESTART, "no, always, unless-stopped or on-failure[:times]")]
Address = Annotated[str, AfterValidator(_address)]


class AddressPool(Model):
    """A range from which Docker takes the subnets of networks: each gets a subnet of `size` bits."""

    base: Cidr
    size: int = Field(ge=8, le=30)

    def __str__(self) -> str:
        return f"{self.base} in /{self.size}"


class Daemon(Model):
    """/etc/docker/daemon.json, written whole."""

    log_driver: Literal["json-file", "local", "journald"] = "json-file"
    log_max_size: Size = "10m"
    """Of one log file of one container; journald has limits of its own."""
    log_max_files: int = Field(default=3, ge=1, le=100)
    live_restore: bool = True
    """Containers go on while dockerd restarts. A reboot then stops them last of all: one whose first process ignores
    SIGTERM delays it by systemd's 90 seconds."""
    userland_proxy: bool = True
    inter_container: bool = True
    """Containers of the default bridge may talk to each other."""
    no_new_privileges: bool = False
    address_pools: tuple[AddressPool, ...] = ()
    dns: tuple[Address, ...] = ()
    mtu: int | None = Field(default=None, ge=576, le=9216)
    registry_mirrors: tuple[Line, ...] = ()
    insecure_registries: tuple[Line, ...] = ()
    data_root: AbsolutePath | None = None

    def settings(self) -> dict[str, Any]:
        """The content of daemon.json."""
        settings: dict[str, Any] = {
            "log-driver": self.log_driver,
            "live-restore": self.live_restore,
            "userland-proxy": self.userland_proxy,
            "icc": self.inter_container,
            "no-new-privileges": self.no_new_privileges,
        }
        if self.log_driver != "journald":
            settings["log-opts"] = {"max-size": self.log_max_size, "max-file": str(self.log_max_files)}
        optional = {
            "default-address-pools": [{"base": pool.base, "size": pool.size} for pool in self.address_pools],
            "dns": list(self.dns),
            "mtu": self.mtu,
            "registry-mirrors": list(self.registry_mirrors),
            "insecure-registries": list(self.insecure_registries),
            "data-root": self.data_root,
        }
        return settings | {key: value for key, value in optional.items() if value not in (None, [])}


class ContainerNetwork(Item):
    """A Docker network. One that differs is made anew unless containers are attached to it."""

    name: Word
    driver: Word = "bridge"
    subnet: Cidr | None = None
    gateway: Address | None = None
    internal: bool = False

    @override
    def contradictions(self) -> Iterable[str]:
        if self.gateway and (self.subnet is None or ip_address(self.gateway) not in ip_network(self.subnet)):
            yield f"gateway {self.gateway} is not in subnet {self.subnet}"


class Image(Item):
    """An image that comes from an archive on the controller (`docker save`), for hosts without a registry."""

    identity: ClassVar[str] = "reference"

    reference: Reference
    archive: Path

    def image_id(self) -> str:
        """`sha256:...`: the digest of the image's configuration in the archive.

        Raises:
            ValueError: the archive cannot be read, or has no image of this name.
        """
        return _image_id(self.archive, self.reference)


@lru_cache(maxsize=256)
def _image_id(archive: Path, reference: str) -> str:
    try:
        with tarfile.open(archive) as tar:
            manifest_file = tar.extractfile("manifest.json")
            manifest = json.load(manifest_file) if manifest_file else []
            for entry in manifest:
                if reference in (entry.get("RepoTags") or []):
                    configuration = tar.extractfile(entry["Config"])
                    return f"sha256:{hashlib.sha256(configuration.read() if configuration else b'').hexdigest()}"
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        message = f"{archive} is no archive of `docker save`: {error}"
        raise ValueError(message) from error
    message = f"{archive} has no image {reference}; it has {[entry.get('RepoTags') for entry in manifest]}"
    raise ValueError(message)


class Publish(Model):
    """A port of the host that leads to a port of the container. The firewall policy decides who reaches it."""

    host: Port
    container: Port
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    address: Address | None = None
    """Listen on this address of the host only."""

    def word(self) -> str:
        """As an argument of `docker run --publish`."""
        address = f"{f'[{self.address}]' if ':' in self.address else self.address}:" if self.address else ""
        return f"{address}{self.host}:{self.container}/{self.protocol}"


class Volume(Model):
    """A path of the host or a named volume, seen at `target` in the container."""

    source: Line
    target: AbsolutePath
    read_only: bool = False

    @override
    def contradictions(self) -> Iterable[str]:
        if ":" in self.source + self.target or self.source.startswith(("-", ".")) or not self.source:
            yield f"source {self.source!r}: an absolute path or the name of a volume, without a colon"

    def word(self) -> str:
        """As an argument of `docker run --volume`."""
        return f"{self.source}:{self.target}{':ro' if self.read_only else ''}"


class Health(Model):
    """How Docker tells whether the container works: a command run inside it by its shell."""

    command: Line
    interval_seconds: int = Field(default=10, ge=1)
    timeout_seconds: int = Field(default=5, ge=1)
    retries: int = Field(default=3, ge=1)
    start_seconds: int = Field(default=0, ge=0)


class Container(Item):
    """A container that runs. It is made anew when, and only when, its definition or its image changed."""

    name: Word
    image: Reference
    command: tuple[Line, ...] = ()
    ports: tuple[Publish, ...] = ()
    volumes: tuple[Volume, ...] = ()
    env: Mapping[str, Line | Secret] = Field(default_factory=dict)
    restart: Restart = "unless-stopped"
    health: Health | None = None
    network: Word = "bridge"
    user: Line | None = None
    read_only: bool = False
    memory: Size | None = None

    @override
    def contradictions(self) -> Iterable[str]:
        for variable in self.env:
            if not _VARIABLE.fullmatch(variable):
                yield f"env: {variable!r} is no name of a variable"

    def arguments(self) -> list[str]:
        """The options of `docker run` that make it; nothing secret is among them."""
        options = [f"--restart={self.restart}", f"--network={self.network}"]
        options += [f"--publish={port.word()}" for port in self.ports]
        options += [f"--volume={volume.word()}" for volume in self.volumes]
        options += [f"--user={self.user}"] if self.user else []
        options += ["--read-only"] if self.read_only else []
        options += [f"--memory={self.memory}"] if self.memory else []
        if self.health:
            options += [
                f"--health-cmd={self.health.command}",
                f"--health-interval={self.health.interval_seconds}s",
                f"--health-timeout={self.health.timeout_seconds}s",
                f"--health-retries={self.health.retries}",
                f"--health-start-period={self.health.start_seconds}s",
            ]
        return options

    def environment(self) -> str:
        """The text of its env file, secrets resolved. Never print it.

        Raises:
            InputError: a secret cannot be had, or has more than one line.
        """
        lines = []
        for variable, value in sorted(self.env.items()):
            text = value.resolve() if isinstance(value, Secret) else value
            if "\n" in text or "\r" in text:
                message = f"env {variable} of container {self.name} has more than one line, which no env file can hold"
                raise InputError(message)
            lines.append(f"{variable}={text}")
        return "\n".join(lines) + "\n"

    def settle_seconds(self) -> int:
        """How long it may take until Docker calls it healthy: its start, and every try."""
        if self.health is None:
            return 30
        tries = (self.health.interval_seconds + self.health.timeout_seconds) * (self.health.retries + 1)
        return max(30, self.health.start_seconds + tries)

    def reported(self) -> dict[str, Any]:
        """What `DockerContainers` must report of it."""
        name, _, times = self.restart.partition(":")
        units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
        return {
            "state": "running",
            "image": self.image,
            "restart": {"Name": name, "MaximumRetryCount": int(times or 0)},
            "ports": self.bindings(),
            "binds": [volume.word() for volume in self.volumes] or None,
            "network": self.network,
            "networks": [self.network],
            "user": self.user or "",
            "read_only": self.read_only,
            "memory": int(self.memory[:-1]) * units[self.memory[-1]] if self.memory else 0,
        }

    def bindings(self) -> dict[str, list[dict[str, str]]]:
        """Port bindings as Docker reports them."""
        bindings: dict[str, list[dict[str, str]]] = {}
        for port in self.ports:
            entry = {"HostIp": port.address or "", "HostPort": str(port.host)}
            bindings.setdefault(f"{port.container}/{port.protocol}", []).append(entry)
        return bindings

    def health_nanoseconds(self) -> dict[str, Any] | None:
        """Its health check as Docker reports it."""
        if self.health is None:
            return None
        report = {
            "Test": ["CMD-SHELL", self.health.command],
            "Interval": self.health.interval_seconds * _SECONDS,
            "Timeout": self.health.timeout_seconds * _SECONDS,
            "StartPeriod": self.health.start_seconds * _SECONDS,
            "Retries": self.health.retries,
        }
        # Docker leaves out what is zero.
        return {key: value for key, value in report.items() if value}
