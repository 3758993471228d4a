"""daemon.json, definitions of containers, and secrets that stay out of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.docker import Docker
from deploys.policies.docker_models import (
    AddressPool,
    Container,
    ContainerNetwork,
    Daemon,
    Health,
    Image,
    Publish,
    Volume,
)
from deploys.policies.secret import Secret
from operations.docker import definition_hash, differences, familiar
from tests.lab import images


def archive(directory: Path, content: str) -> Path:
    """An archive of `lab/web:1`, different for each content."""
    path = directory / f"{content}.tar"
    path.write_bytes(images._archive("lab/web:1", content.encode()))
    return path


def examples(directory: Path) -> tuple[Docker, Docker]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Docker(
            engine="28.2.2",
            networks=[ContainerNetwork(name="n", subnet="10.9.0.0/24", gateway="10.9.0.1")],
            images=[Image(reference="lab/web:1", archive=archive(directory, "one"))],
            containers=[Container(name="c", image="nginx:1", health=Health(command="true"))],
        ),
        Docker(
            engine="29.0.1",
            daemon=Daemon(
                log_driver="local",
                log_max_size="1m",
                log_max_files=9,
                live_restore=False,
                userland_proxy=False,
                inter_container=False,
                no_new_privileges=True,
                address_pools=[AddressPool(base="10.0.0.0/8", size=24)],
                dns=["10.0.0.1"],
                mtu=1400,
                registry_mirrors=["https://a.example"],
                insecure_registries=["b.example"],
                data_root="/srv/docker",
            ),
            networks=[
                ContainerNetwork(name="n", driver="macvlan", subnet="10.9.0.0/16", gateway="10.9.0.2", internal=True),
            ],
            images=[Image(reference="lab/web:1", archive=archive(directory, "two"))],
            containers=[
                Container(
                    name="c",
                    image="nginx:2",
                    command=["sleep", "1"],
                    ports=[Publish(host=8080, container=80, address="10.0.0.1")],
                    volumes=[Volume(source="/srv", target="/data", read_only=True)],
                    env={"A": "b", "PASSWORD": Secret.env("PASSWORD")},
                    restart="on-failure:3",
                    health=Health(command="false", interval_seconds=1, timeout_seconds=2, retries=4, start_seconds=5),
                    network="n",
                    user="1000",
                    read_only=True,
                    memory="64m",
                )
            ],
        ),
    )


def test_daemon_json_has_log_limits_and_only_what_was_asked_for() -> None:
    settings = json.loads(Docker().render())
    assert settings["log-opts"] == {"max-size": "10m", "max-file": "3"}
    assert "dns" not in settings
    assert "log-opts" not in Daemon(log_driver="journald").settings()


def test_a_definition_changes_its_hash_and_a_secret_does_not(monkeypatch) -> None:
    one = Container(name="c", image="a:1", env={"X": Secret.env("X")})
    other = Container(name="c", image="a:1", env={"X": Secret.env("Y")}, ports=[Publish(host=1, container=2)])
    assert definition_hash(one.arguments()) != definition_hash(other.arguments())
    monkeypatch.setenv("X", "hunter2")
    assert one.environment() == "X=hunter2\n"
    assert "hunter2" not in repr(one) + str(one.arguments()) + str(one.reported()) + one.model_dump_json()


def test_a_secret_of_several_lines_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("LINES", "a\nb")
    with pytest.raises(InputError, match="env LINES of container c has more than one line"):
        Container(name="c", image="a:1", env={"LINES": Secret.env("LINES")}).environment()


def test_what_docker_reports_is_compared_field_by_field() -> None:
    container = Container(name="c", image="a:1", ports=[Publish(host=80, container=8080)], restart="on-failure:2")
    found = {**container.reported(), "image_id": "sha256:1", "labels": {}}
    assert differences(found, container.reported(), "sha256:1") == []
    assert differences(None, container.reported(), None) == ["it is not there"]
    assert differences({**found, "state": "exited"}, container.reported(), "sha256:1") == ["state"]
    assert differences(found, container.reported(), "sha256:2") == ["image_id"]
    assert differences({**found, "ports": {}}, container.reported(), None) == ["ports"]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("docker.io/library/nginx:1", "nginx:1"),
        ("nginx:1", "nginx:1"),
        ("registry.example/nginx:1", "registry.example/nginx:1"),
    ],
)
def test_images_of_docker_hub_have_short_names(image: str, name: str) -> None:
    assert familiar(image) == name


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Container(name="c", image="nginx"), "an image with a tag or digest"),
        (lambda: Container(name="c", image="--privileged:1"), "an image with a tag or digest"),
        (lambda: Container(name="c", image="a:1", restart="sometimes"), "restart"),
        (lambda: Container(name="c", image="a:1", env={"A B": "x"}), "no name of a variable"),
        (lambda: Container(name="c", image="a:1", memory="lots"), "memory"),
        (lambda: Publish(host=0, container=1), "host"),
        (lambda: Publish(host=1, container=1, address="somewhere"), "address"),
        (lambda: Volume(source="../x", target="/y"), "source"),
        (lambda: Volume(source="/x", target="y"), "no absolute path"),
        (lambda: ContainerNetwork(name="n", subnet="10.0.0.0/24", gateway="10.0.1.1"), "is not in subnet"),
        (lambda: Daemon(log_max_size="10"), "log_max_size"),
    ],
)
def test_bad_fields_are_refused(make, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make()


def test_problems_of_the_whole_are_found_before_any_connection(tmp_path) -> None:
    policy = Docker(
        images=[
            Image(reference="lab/web:2", archive=archive(tmp_path, "x")),
            Image(reference="a:1", archive="/nowhere"),
        ],
        containers=[
            Container(name="a", image="a:1", ports=[Publish(host=80, container=80)]),
            Container(name="b", image="a:1", ports=[Publish(host=80, container=81)], network="nowhere"),
        ],
    )
    problems = "\n".join(policy.problems())
    assert "has no image lab/web:2" in problems
    assert "images[a:1]" in problems
    assert "80 is published by a already" in problems
    assert "there is no network 'nowhere'" in problems
