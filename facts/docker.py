"""Docker's engine, images, networks and containers, read with one command each.

A host whose Docker does not run answers `running: False`: that is not the same as a host without containers.
Environment variables of containers are not read here, as facts are printed at `-vvv` and may be kept.
"""

from __future__ import annotations

import json
from typing import Any, TypedDict

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

STOPPED = "docker-does-not-run"
# Each call of docker costs the host tens of milliseconds: whether it runs is asked only when something failed. What was
# listed may be gone when it is inspected: then both are done again.
_INSPECTED = (
    '( for try in 1 2 3 4 5; do if ids=$({ids} 2>/dev/null); then [ -z "$ids" ] && exit 0; '
    "found=$(docker {kind} inspect --format '{template}' $ids 2>&1) && printf '%s\\n' \"$found\" && exit 0; "
    "else found=$({ids} 2>&1); fi; "
    f"docker version >/dev/null 2>&1 || {{{{ echo {STOPPED}; exit 0; }}}}; "
    "sleep 0.3; done; printf '%s\\n' \"$found\" >&2; exit 1 )"
)


def _inspected(kind: str, ids: str, template: str) -> str:
    return _INSPECTED.format(kind=kind, ids=ids, template=template)


class Listing(TypedDict):
    """`entries` is keyed by name (image reference, network or container name)."""

    running: bool
    entries: dict[str, dict[str, Any]]


def _documents(output: list[str]) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in output if line.strip()]
    except (ValueError, RecursionError) as error:
        message = f"docker printed {output[:3]!r}"
        raise FactProcessError(message) from error


class _Listing(FactBase[Listing]):
    @staticmethod
    @override
    def default() -> Listing:
        return {"running": True, "entries": {}}

    @override
    def process(self, output: list[str]) -> Listing:
        if output == [STOPPED]:
            return {"running": False, "entries": {}}
        try:
            return {"running": True, "entries": self.keyed(_documents(output))}
        except (KeyError, TypeError, AttributeError) as error:
            message = f"docker's answer has no {error}"
            raise FactProcessError(message) from error

    def keyed(self, documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return dict(map(self.entry, documents))

    def entry(self, document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError


_IMAGE = '{"id":{{json .Id}},"tags":{{json .RepoTags}},"digests":{{json .RepoDigests}}}'


class DockerImages(_Listing):
    """
    Returns the images by every reference they have (tags and digests), with their ids:

    .. code:: python

        {"running": True, "entries": {"nginx:1.27": {"id": "sha256:3f8a..."}, "nginx@sha256:9d2...": {...}}}

    Source of the format: `docker image inspect`. Docker gives images of Docker Hub their short names.
    """

    @override
    def command(self) -> str:
        return _inspected("image", "docker image ls -q --no-trunc", _IMAGE)

    @override
    def keyed(self, documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        entries = {}
        for document in documents:
            for reference in [*(document.get("tags") or []), *(document.get("digests") or [])]:
                entries[reference] = {"id": document["id"]}
        return entries


class DockerNetworks(_Listing):
    """
    Returns the networks by name:

    .. code:: python

        {"running": True, "entries": {"app": {
            "driver": "bridge", "internal": False, "subnet": ["10.9.0.0/24"], "gateway": ["10.9.0.1"]}}}

    Source of the format: `docker network inspect`.
    """

    @override
    def command(self) -> str:
        return _inspected("network", "docker network ls -q", "{{json .}}")

    @override
    def entry(self, document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        pools = document["IPAM"]["Config"] or []
        return document["Name"], {
            "driver": document["Driver"],
            "internal": document["Internal"],
            "subnet": [pool["Subnet"] for pool in pools if "Subnet" in pool],
            "gateway": [pool["Gateway"] for pool in pools if "Gateway" in pool],
        }


# Without .Config.Env. Each field is JSON by itself, so that no value can break the document.
_CONTAINER = (
    '{"name":{{json .Name}},"image_id":{{json .Image}},"state":{{json .State.Status}},'
    '"labels":{{json .Config.Labels}},"image":{{json .Config.Image}},"command":{{json .Config.Cmd}},'
    '"user":{{json .Config.User}},"ports":{{json .HostConfig.PortBindings}},"binds":{{json .HostConfig.Binds}},'
    '"restart":{{json .HostConfig.RestartPolicy}},"network":{{json .HostConfig.NetworkMode}},'
    '"networks":{{json .NetworkSettings.Networks}},"read_only":{{json .HostConfig.ReadonlyRootfs}},'
    '"memory":{{json .HostConfig.Memory}}}'
)


class DockerContainers(_Listing):
    """
    Returns all containers by name, running or not:

    .. code:: python

        {"running": True, "entries": {"web": {
            "image": "nginx:1.27", "image_id": "sha256:3f8a...", "state": "running", "labels": {"a": "b"},
            "command": None, "user": "", "ports": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
            "binds": ["/srv:/data:ro"], "restart": {"Name": "always", "MaximumRetryCount": 0},
            "network": "default", "networks": ["bridge"], "read_only": False, "memory": 0}}}

    Source of the format: `docker container inspect`.
    """

    @override
    def command(self) -> str:
        return _inspected("container", "docker ps -aq", _CONTAINER)

    @override
    def entry(self, document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        name = document.pop("name").removeprefix("/")
        document["networks"] = sorted(document["networks"] or {})
        document["labels"] = document["labels"] or {}
        return name, document
