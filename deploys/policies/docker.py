"""Docker: the engine, its daemon.json, and the containers that must run.

Photon installs docker and containerd switched off; this policy starts them at boot. Containers are ours by a label;
what other people run is left alone. Published ports are reachable only as far as the firewall policy lets them be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from pyinfra import host
from typing_extensions import override

from deploys.policies.base import Check, Policy, Risk, file_check
from deploys.policies.docker_models import Container, ContainerNetwork, Daemon, Image
from deploys.policies.secret import Secret
from deploys.policies.types import Word
from operations import docker, file, kernel, systemd, tdnf
from operations.docker import DAEMON_JSON

if TYPE_CHECKING:
    from testinfra.host import Host

_RUNNING = "docker.running"
FORWARDING = "/etc/sysctl.d/60-photon-fleet-docker.conf"
PACKAGES = ("docker", "docker-engine", "docker-cli")


class Docker(Policy):
    """The Docker engine of a host and what runs on it."""

    name: ClassVar[str] = "docker"
    risk: ClassVar[Risk] = Risk.SERVICE

    engine: Word | None = None
    """Exact version of Photon's docker packages, such as 28.2.2 or 28.2.2-2.ph5; whatever is installed when None."""
    daemon: Daemon = Field(default_factory=Daemon)
    networks: tuple[ContainerNetwork, ...] = ()
    images: tuple[Image, ...] = ()
    containers: tuple[Container, ...] = ()

    @override
    def problems(self) -> Iterable[str]:
        for image in self.images:
            try:
                image.image_id()
            except ValueError as error:
                yield f"images[{image.ident}]: {error}"
        known = {network.name for network in self.networks} | {"bridge", "host", "none"}
        published: dict[tuple[int, str, str], str] = {}
        for container in self.containers:
            if container.network not in known:
                yield f"containers[{container.name}].network: there is no network {container.network!r} in this policy"
            for port in container.ports:
                place = (port.host, port.protocol, port.address or "")
                if place in published:
                    yield f"containers[{container.name}].ports: {port.host} is published by {published[place]} already"
                published[place] = container.name

    def render(self) -> str:
        """The text of the file that the policy owns."""
        return json.dumps(self.daemon.settings(), indent=2, sort_keys=True) + "\n"

    @override
    def apply(self) -> None:
        if self.engine is None:
            tdnf.packages(name="Install Docker", present=["docker"])
        else:
            tdnf.packages(name=f"Install Docker {self.engine}", exact=dict.fromkeys(PACKAGES, self.engine))
        file.text(
            name="Let the kernel forward, over the distribution's own setting", path=FORWARDING,
            content="# Photon Fleet (policy: docker)\nnet.ipv4.ip_forward = 1\n", mode="644",
        )  # fmt: skip
        kernel.settings(name="Let the kernel forward now", values={"net.ipv4.ip_forward": "1"})
        docker.daemon(name="Configure Docker", content=self.render())
        systemd.unit(name="Run Docker, now and at boot", unit="docker.service", running=True, enabled=True)
        for network in host.loop(self.networks):
            docker.network(
                name=f"ContainerNetwork {network.name}", network=network.name, driver=network.driver,
                subnet=network.subnet or "", gateway=network.gateway or "", internal=network.internal,
            )  # fmt: skip
        for image in host.loop(self.images):
            docker.loaded_image(
                name=f"Image {image.reference}",
                image=image.reference,
                file=str(image.archive),
                image_id=image.image_id(),
            )
        archives = {image.reference for image in self.images}
        for container in host.loop(self.containers):
            docker.container(
                name=f"Container {container.name}", container=container.name, image=container.image,
                arguments=container.arguments(), command=container.command, wanted=container.reported(),
                environment=container.environment(), pull=container.image not in archives,
                settle_seconds=container.settle_seconds(),
            )  # fmt: skip
        docker.only_containers(
            name="Remove containers that left the policy",
            keep=[container.name for container in self.containers],
        )

    @override
    def checks(self) -> Iterable[Check]:
        yield Check(
            id=_RUNNING, field="", proves="Docker runs",
            read=lambda host: host.service("docker").is_running, expect=True,
        )  # fmt: skip
        if self.engine is not None:
            version = self.engine.partition("-")[0]
            yield Check(
                id="docker.engine", field="engine", proves=f"the engine that runs is {version}",
                read=lambda host: host.check_output("docker version --format '{{.Server.Version}}'").partition("+")[0],
                expect=version, needs=_RUNNING,
            )  # fmt: skip
        yield Check(
            id="docker.boot", field="", proves="Docker starts at boot",
            read=lambda host: host.service("docker").is_enabled, expect=True,
        )  # fmt: skip
        yield Check(
            id="docker.forwarding", field="", proves="the kernel forwards for containers",
            read=lambda host: host.sysctl("net.ipv4.ip_forward"), expect=1,
        )  # fmt: skip
        for key, value in self.daemon.settings().items():
            yield Check(
                id=f"docker.daemon[{key}]", field=_daemon_field(key), proves=f"daemon.json sets {key}",
                read=partial(daemon_setting, key),
                expect=value,
            )  # fmt: skip
        yield Check(
            id="docker.daemon.no-other-settings", field="daemon", proves="daemon.json has only what the policy wrote",
            read=lambda host: sorted(json.loads(host.check_output("cat %s", DAEMON_JSON))),
            expect=sorted(self.daemon.settings()),
        )  # fmt: skip
        yield file_check("docker.daemon.file", "daemon", DAEMON_JSON, "644")
        yield Check(
            id="docker.daemon.in-force", field="daemon", proves="Docker was started with this daemon.json",
            read=started_after_configuration, expect=True, needs=_RUNNING,
        )  # fmt: skip
        for network in self.networks:
            yield from _network_checks(network)
        for image in self.images:
            yield Check(
                id=f"docker.image[{image.ident}]", field=f"images[{image.ident}]",
                proves=f"image {image.reference} is the one of the archive",
                read=partial(image_id, image.reference), needs=_RUNNING,
                expect=image.image_id(),
            )  # fmt: skip
        for container in self.containers:
            yield from _container_checks(container)


def _daemon_field(key: str) -> str:
    names = {"icc": "inter_container", "default-address-pools": "address_pools", "log-opts": "log_max_size"}
    return f"daemon.{names.get(key, key.replace('-', '_'))}"


def _network_checks(network: ContainerNetwork) -> Iterable[Check]:
    wanted = {"Driver": network.driver, "Internal": network.internal}
    for key, value in wanted.items():
        yield Check(
            id=f"docker.network[{network.name}].{key.lower()}", field=f"networks[{network.name}].{key.lower()}",
            proves=f"network {network.name} has {key} {value}",
            read=partial(_reported, "network", network.name, key), expect=value, needs=_RUNNING,
        )  # fmt: skip
    addresses = {"Subnet": network.subnet, "Gateway": network.gateway}
    for key, address in addresses.items():
        if address is not None:
            yield Check(
                id=f"docker.network[{network.name}].{key.lower()}", field=f"networks[{network.name}].{key.lower()}",
                proves=f"network {network.name} has {key} {address}",
                read=partial(pool_address, network.name, key), expect=address, needs=_RUNNING,
            )  # fmt: skip


def _container_checks(container: Container) -> Iterable[Check]:
    name = container.name

    def check(field: str, proves: str, path: str, expect: object) -> Check:
        return Check(
            id=f"docker.container[{name}].{field}", field=f"containers[{name}].{field}",
            proves=f"container {name} {proves}",
            read=partial(_reported, "container", name, path), expect=expect,
            needs=_RUNNING if field == "running" else f"docker.container[{name}].running",
        )  # fmt: skip

    reported = container.reported()
    yield check("running", "runs", "State.Status", "running")
    yield check("image", f"is made from {container.image}", "Config.Image", container.image)
    yield check("ports", "publishes its ports", "HostConfig.PortBindings", reported["ports"])
    yield check("volumes", "has its volumes", "HostConfig.Binds", reported["binds"])
    yield check("restart", f"restarts: {container.restart}", "HostConfig.RestartPolicy", reported["restart"])
    yield check("network", f"is in network {container.network}", "HostConfig.NetworkMode", container.network)
    yield check("user", "runs as its user", "Config.User", reported["user"])
    yield check("read_only", "has its root file system as wanted", "HostConfig.ReadonlyRootfs", container.read_only)
    yield check("memory", "has its memory limit", "HostConfig.Memory", reported["memory"])
    if container.command:
        yield check("command", "runs its command", "Config.Cmd", list(container.command))
    if container.health is not None:
        yield check("health", "has its health check", "Config.Healthcheck", container.health_nanoseconds())
        yield check("healthy", "is healthy", "State.Health.Status", "healthy")
    if container.env:
        yield Check(
            id=f"docker.container[{name}].env", field=f"containers[{name}].env",
            proves=f"container {name} has its {len(container.env)} variable(s)",
            read=lambda host: environment(host, container), needs=f"docker.container[{name}].running",
            expect={variable: f"is {value!r}" if isinstance(value, str) else f"is {value}"
                    for variable, value in sorted(container.env.items())},
        )  # fmt: skip


def _inspect(host: Host, kind: str, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(host.check_output(f"docker {kind} inspect %s", name))
    return found[0]


def daemon_setting(key: str, host: Host) -> object:
    """One setting of daemon.json."""
    return json.loads(host.check_output("cat %s", DAEMON_JSON)).get(key, "not set")


def started_after_configuration(host: Host) -> bool:
    """Whether Docker's process began no earlier than daemon.json was last changed (seconds)."""
    started = host.check_output("stat -c %Y /proc/$(systemctl show --property=MainPID --value docker.service)")
    return int(started) >= int(host.file(DAEMON_JSON).mtime.timestamp())


def image_id(reference: str, host: Host) -> str:
    """The id that a reference has on the host."""
    found: str = host.check_output("docker image inspect --format '{{.Id}}' %s", reference)
    return found


def pool_address(network: str, key: str, host: Host) -> object:
    """Subnet or gateway of a network."""
    return (_inspect(host, "network", network)["IPAM"]["Config"] or [{}])[0].get(key)


def _reported(kind: str, name: str, path: str, host: Host) -> object:
    """What Docker reports of a network or container at a dotted path."""
    value: Any = _inspect(host, kind, name)
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value or None if path == "HostConfig.Binds" else value


def environment(host: Host, container: Container) -> dict[str, str]:
    """What the container's variables are, with secrets only compared: their values are in no verdict."""
    pairs = _inspect(host, "container", container.name)["Config"]["Env"]
    actual = dict(pair.split("=", 1) for pair in pairs)
    verdicts = {}
    for variable, value in sorted(container.env.items()):
        if variable not in actual:
            verdicts[variable] = "is not set"
        elif isinstance(value, Secret):
            same = actual[variable] == value.resolve()
            verdicts[variable] = f"is {value}" if same else f"is something else than {value}"
        else:
            verdicts[variable] = f"is {actual[variable]!r}"
    return verdicts
