"""What the Ansible playbook needs: the contents of our own policies, rendered to files and variables before any run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploys.policies.docker import FORWARDING, PACKAGES, Docker
from deploys.policies.docker_models import Container, ContainerNetwork
from deploys.policies.firewall import DROP_IN, FAMILIES, Firewall
from deploys.policies.packages import Packages
from deploys.policies.render import render
from deploys.policies.ssh import Ssh
from deploys.verify.session import loaded
from inventories._merge import effective_of
from operations import _repofile, iptables, sshd, tdnf
from operations.docker import LABEL, STATE_DIRECTORY, definition_hash

SITE = Path(__file__).parent / "ansible" / "site.yml"
_FLEET = str(Path(__file__).parent / "fleet.py")
_PROGRAMS = {"ipv4": "iptables", "ipv6": "ip6tables"}


def write(directory: Path) -> Path:
    """Render everything below `directory`; returns the file of variables.

    The policies are those of the first host of fleet.py, which are the same for every host.
    """
    with loaded(_FLEET) as session:
        policies = effective_of(session.hosts[0]).policies
    files = directory / "files"
    files.mkdir(parents=True, exist_ok=True)
    packages, ssh, firewall, docker = (policies[kind.name] for kind in (Packages, Ssh, Firewall, Docker))
    assert isinstance(packages, Packages)
    assert isinstance(ssh, Ssh)
    assert isinstance(firewall, Firewall)
    assert isinstance(docker, Docker)
    variables = {
        "files": str(files),
        **_packages(packages, files),
        **_ssh(ssh, files),
        **_firewall(firewall, files),
        **_docker(docker, files),
    }
    variables["directories"] = _directories(variables)
    path = directory / "vars.json"
    path.write_text(json.dumps(variables, indent=1))
    return path


def _directories(variables: Mapping[str, Any]) -> list[str]:
    files = [variables["key_path"], tdnf.MACROS, DROP_IN, "/etc/yum.repos.d/x", "/etc/docker/daemon.json"]
    wanted = [str(Path(file).parent) for file in files]
    return [*wanted, variables["images_directory"], variables["environment_directory"]]


def _packages(policy: Packages, files: Path) -> dict[str, Any]:
    (key,) = policy.keys
    (files / "signing-key").write_text(_whole(key.text()))
    (files / "macros").write_text(tdnf.LEVEL)
    for one in policy.repositories:
        options = _repofile.options_of(
            title=one.title or one.id, baseurl=[one.url], gpgkey=[f"file://{key.path}"], enabled=one.enabled,
            gpgcheck=True, skip_if_unavailable=one.optional, extra={"priority": one.priority},
        )  # fmt: skip
        (files / f"{one.id}.repo").write_text(_repofile.render(one.id, options))
    return {
        "key_path": key.path,
        "key_fingerprint": key.fingerprint,
        "macros_path": tdnf.MACROS,
        "repositories": [one.id for one in policy.repositories],
        "present": list(policy.present),
        "absent": list(policy.absent),
    }


def _ssh(policy: Ssh, files: Path) -> dict[str, Any]:
    (files / "sshd_config").write_text(policy.render())
    return {"sshd_reload": sshd.RELOAD}


def _firewall(policy: Firewall, files: Path) -> dict[str, Any]:
    (files / "docker-drop-in").write_text(_whole(render("firewall/docker-drop-in")))
    families = []
    for family in FAMILIES:
        chains, save_file = policy.chains(family), iptables.SAVE_FILES[family]
        (files / Path(save_file).name).write_text(iptables.saved_text(chains))
        transaction = iptables.transaction_text(chains, {"policies": {}, "chains": {}})
        families.append({"program": _PROGRAMS[family], "save_file": save_file, "transaction": transaction})
    return {"drop_in_path": DROP_IN, "families": families, "owned_chains": list(policy.chains("ipv4"))}


def _docker(policy: Docker, files: Path) -> dict[str, Any]:
    (files / "daemon.json").write_text(policy.render())
    (files / "forwarding").write_text("# Photon Fleet (policy: docker)\nnet.ipv4.ip_forward = 1\n")
    ids = {image.reference: image.image_id() for image in policy.images}
    return {
        "engine": list(PACKAGES),
        "engine_version": policy.engine,
        "forwarding_path": FORWARDING,
        "images_directory": f"{STATE_DIRECTORY}/images",
        "environment_directory": f"{STATE_DIRECTORY}/env",
        "container_label": LABEL,
        "networks": [_network(one) for one in policy.networks],
        "images": [
            {"name": one.reference, "id": ids[one.reference], "archive": str(one.archive)} for one in policy.images
        ],
        "containers": [_container(one, ids, files) for one in policy.containers],
    }


def _network(network: ContainerNetwork) -> dict[str, str]:
    return {
        "name": network.name,
        "options": f"--driver={network.driver} --subnet={network.subnet}",
        "wanted": f"{network.driver} false {network.subnet}",
    }


def _container(container: Container, ids: Mapping[str, str], files: Path) -> dict[str, Any]:
    (files / f"{container.name}.env").write_text(container.environment())
    arguments = container.arguments()
    definition = definition_hash([*arguments, container.image, *container.command])
    env_file = f"{STATE_DIRECTORY}/env/{container.name}"
    words = [f"--label={LABEL}={definition}", f"--env-file={env_file}", *arguments, container.image, *container.command]
    reported = container.reported()
    return {
        "name": container.name,
        "env_file": env_file,
        "options": _quoted(words),
        "settle_seconds": container.settle_seconds(),
        "wanted": f"running {ids[container.image]} {definition} {_go(reported['restart'])} {_go(reported['ports'])}",
    }


def _quoted(words: Sequence[str]) -> str:
    return " ".join(f"'{word}'" for word in words)


def _go(value: object) -> str:
    """JSON as Go's templates print it."""
    return json.dumps(value, separators=(",", ":"))


def _whole(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"
