"""Docker networks, images and containers, each compared with what runs and changed only when it differs.

A container carries the hash of its definition in a label; it is made anew when the hash, the image or what Docker
reports of it differs, and its old self is removed only when the image of the new one is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import FileUploadCommand, OperationError, StringCommand
from pyinfra.api.command import QuoteString

from facts.docker import DockerContainers, DockerImages, DockerNetworks, Listing
from facts.file import FileNames, IsOlderThan, TextFile
from operations._contain import Commands, comes_first, operation, read
from operations.file import is_as_wanted, write

LABEL = "org.photon-fleet.definition"
DAEMON_JSON = "/etc/docker/daemon.json"
_VALIDATE = '! dockerd --help | grep -q -- --validate || dockerd --validate --config-file "$new"'
STATE_DIRECTORY = "/var/lib/photon-fleet"
SETTLE_SECONDS = 60
_STARTABLE = {"created", "exited"}

# Waits until a new container is healthy, or has run for two seconds when it has no health check.
_SETTLE = r"""
i=0; while :; do
  set -- $(docker inspect --format '{{.State.Status}} {{.RestartCount}}
    {{- with .State.Health}} {{.Status}}{{else}} none{{end}}' "$name")
  case "$1:$2:$3" in
    running:0:healthy) exit 0;;
    running:0:none) [ $i -ge 4 ] && exit 0;;
    created:*|running:0:starting) ;;
    *) break;;
  esac
  i=$((i+1)); [ $i -ge $limit ] && break; sleep 0.5
done
echo "container $name is $1 (restarts: $2, health: $3); its last words:" >&2
docker logs --tail 20 "$name" >&2; exit 1
"""


def _require_running(listing: Listing) -> None:
    if not listing["running"]:
        comes_first("Docker does not run on this host: journalctl -u docker.service says why")


def require_words(*values: str) -> None:
    """Refuse arguments that docker would take for options.

    Raises:
        OperationError: empty, or with a leading dash, or with white space.
    """
    for value in values:
        if not value or value.startswith("-") or any(letter.isspace() for letter in value):
            message = f"{value!r} cannot be an argument of docker"
            raise OperationError(message)


def familiar(image: str) -> str:
    """The name under which Docker lists an image: without Docker Hub's host and library."""
    return image.removeprefix("docker.io/").removeprefix("library/")


def _quoted(words: Sequence[str]) -> list[QuoteString]:
    return [QuoteString(word) for word in words]


@operation()
def daemon(content: str) -> Commands:
    """
    Make sure that daemon.json has exactly this content, and that a Docker that runs was started with it.

    + content: JSON; checked by dockerd itself where it can (from 23.0 on) before it is put in place

    Docker is restarted when it was started before the file was written, and left alone when it does not run.
    """
    wanted = is_as_wanted(read(TextFile, path=DAEMON_JSON), content, mode="644")
    if wanted and not read(IsOlderThan, unit="docker.service", path=DAEMON_JSON):
        host.noop("daemon.json is as wanted, and no older Docker runs")
        return
    restart = "systemctl try-restart docker.service"
    if wanted:
        yield StringCommand(restart)
        return
    yield write(DAEMON_JSON, content, mode="644", check=_VALIDATE, after=restart)


@operation()
def network(
    network: str, driver: str = "bridge", subnet: str = "", gateway: str = "", *, internal: bool = False
) -> Commands:
    """
    Make sure that a network is there and is as described.

    + network: its name
    + driver: such as bridge or macvlan
    + subnet: in CIDR notation; Docker chooses when empty
    + gateway: address within the subnet; Docker chooses when empty
    + internal: without a way out

    A network that differs is made anew, unless containers are attached to it: then the host fails and nothing changes.
    """
    require_words(network, driver)
    listing = read(DockerNetworks)
    _require_running(listing)
    found = listing["entries"].get(network)
    wanted = {"driver": driver, "internal": internal}
    pools = {key: value for key, value in (("subnet", subnet), ("gateway", gateway)) if value}
    wrong = {key for key, value in wanted.items() if found is not None and found[key] != value}
    wrong |= {key for key, value in pools.items() if found is not None and value not in found[key]}
    if found is not None and not wrong:
        host.noop(f"network {network} is as wanted")
        return
    if found is not None:
        # Docker itself counts only those that run.
        containers = read(DockerContainers)["entries"]
        attached = sorted(name for name, entry in containers.items() if network in entry["networks"])
        if attached:
            message = (
                f"network {network} differs in {', '.join(sorted(wrong))}, and is used by {', '.join(attached)}: "
                "remove these containers first"
            )
            raise OperationError(message)
        yield StringCommand("docker network rm", QuoteString(network))
    options = [f"--driver={driver}"]
    options += [f"--subnet={subnet}"] if subnet else []
    options += [f"--gateway={gateway}"] if gateway else []
    options += ["--internal"] if internal else []
    yield StringCommand("docker network create", *_quoted(options), QuoteString(network))


@operation()
def loaded_image(image: str, file: str, image_id: str) -> Commands:
    """
    Make sure that an image is the one in an archive of the controller (made by `docker save`).

    + image: reference with a tag, as it is in the archive
    + file: path of the archive on the controller
    + image_id: `sha256:...` of the image's configuration in the archive
    """
    require_words(image)
    listing = read(DockerImages)
    _require_running(listing)
    if listing["entries"].get(familiar(image), {}).get("id") == image_id:
        host.noop(f"image {image} is as in {file}")
        return
    target = f"{STATE_DIRECTORY}/images/{image_id.removeprefix('sha256:')}.tar"
    yield StringCommand("install -d -m 700", QuoteString(str(Path(target).parent)))
    yield FileUploadCommand(file, target)
    quoted = QuoteString(target)
    yield StringCommand("docker load --quiet --input", quoted, "; status=$?; rm -f", quoted, "; exit $status")


def definition_hash(arguments: Sequence[str]) -> str:
    """The hash of a container's arguments of `docker run`; secrets are not among them."""
    return hashlib.sha256(json.dumps(list(arguments)).encode()).hexdigest()[:32]


def differences(found: Mapping[str, Any] | None, wanted: Mapping[str, Any], image_id: str | None) -> list[str]:
    """Why a container has to be made anew; empty when it is as wanted.

    Args:
        found: the container as `DockerContainers` gives it.
        wanted: the same keys, those that the definition decides.
        image_id: the id that the image's reference has now, None when it is not on the host.
    """
    if found is None:
        return ["it is not there"]
    wrong = [key for key, value in wanted.items() if found.get(key) != value]
    if image_id is not None and found["image_id"] != image_id:
        wrong.append("image_id")
    return sorted(wrong)


@operation()
def container(
    container: str,
    image: str,
    arguments: Sequence[str],
    command: Sequence[str],
    wanted: Mapping[str, Any],
    environment: str,
    *,
    pull: bool = True,
    settle_seconds: int = SETTLE_SECONDS,
) -> Commands:
    """
    Make sure that a container runs, made from exactly this definition.

    + container: its name
    + image: reference of its image
    + arguments: options of `docker run`, one word each; nothing secret
    + command: the command and its arguments, empty for the image's own
    + wanted: what `DockerContainers` must report of it
    + environment: text for `docker run --env-file`; sent on standard input, kept on the host with mode 0600
    + pull: fetch the image when it is not there; without it the host fails, and keeps the container it has
    + settle_seconds: how long it may take to become healthy
    """
    require_words(container, image)
    if "/" in container or container.startswith("."):
        message = f"{container!r} is no name of a container"
        raise OperationError(message)
    listing, images = read(DockerContainers), read(DockerImages)
    _require_running(listing)
    path = f"{STATE_DIRECTORY}/env/{container}"
    same_environment = is_as_wanted(read(TextFile, path=path), environment, mode="600")
    label = definition_hash([*arguments, image, *command])
    found = listing["entries"].get(container)
    image_id = images["entries"].get(familiar(image), {}).get("id")
    wrong = differences(found, wanted, image_id)
    if found is not None and found["labels"].get(LABEL) != label:
        wrong.append("definition")
    if not wrong and same_environment:
        host.noop(f"container {container} runs as wanted")
        return
    if found is not None and wrong == ["state"] and same_environment and found["state"] in _STARTABLE:
        yield _settled(StringCommand("docker start", QuoteString(container)), container, settle_seconds)
        return
    if image_id is None and pull:
        sentence = f"container {container}: its image {image} cannot be fetched (the line before says why)"
        yield StringCommand(
            "docker pull --quiet", QuoteString(image), "|| { echo", QuoteString(sentence), ">&2; exit 1; }"
        )
    elif image_id is None:
        comes_first(f"image {image} is not on the host, and container {container} may not fetch it")
    # The old container goes before its environment changes: a run that ends here finds it missing, not outdated.
    if found is not None:
        yield StringCommand("docker rm --force", QuoteString(container))
    if not same_environment:
        yield write(path, environment, mode="600")
    run = StringCommand(
        "docker run --detach --pull=never",
        *_quoted(
            [
                f"--name={container}",
                f"--label={LABEL}={label}",
                f"--env-file={path}",
                *arguments,
                image,
                *command,
            ]
        ),
    )
    yield _settled(run, container, settle_seconds)


def _settled(command: StringCommand, container: str, seconds: int) -> StringCommand:
    assignments = StringCommand("name=", QuoteString(container), f"; limit={seconds * 2}", _separator="")
    return StringCommand(command, ">/dev/null &&", "{", assignments, ";", _SETTLE, "}")


@operation()
def only_containers(keep: Collection[str]) -> Commands:
    """
    Remove the containers that an earlier policy made and this one does not have, with their environments.

    Those may hold secrets. Containers of others are left alone.

    + keep: names of the containers that stay
    """
    listing = read(DockerContainers)
    _require_running(listing)
    stale = sorted(name for name, found in listing["entries"].items() if LABEL in found["labels"] and name not in keep)
    names: list[str] = read(FileNames, directory=f"{STATE_DIRECTORY}/env")
    environments = sorted(set(names) - set(keep))
    if not stale and not environments:
        host.noop("nothing is left over")
        return
    for name in stale:
        yield StringCommand("docker rm --force", QuoteString(name))
    for name in environments:
        yield StringCommand("rm -f --", QuoteString(f"{STATE_DIRECTORY}/env/{name}"))
