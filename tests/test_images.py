"""What an image host can have, how its images are told apart, and how a run of ostree is told."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from pyinfra.api import OperationError

from facts._answer import Answer
from operations import _images, _ostree
from tests.lab import seed
from tests.lab.errors import LabError

ONE = {
    "stateroot": "photon", "checksum": "a" * 64, "serial": 0, "roles": ["booted"], "origin": "photon:b",
    "base_checksum": "b" * 64, "version": "1", "layered": [], "removed": [], "overridden": [], "unlocked": "none",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/etc/a", "/var/a/b", "/opt/a", "/usr/local/bin/a", "/root/.a", "/srv/a", "/tmp"])
def test_places_that_an_image_host_can_write(path) -> None:
    assert _images.why_not_writable(path) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/usr/bin/a", "/usr/bin/a is part of the image and read-only: put the file into the image itself, or below"),
        ("/lib/systemd/system/a.service", "is part of the image"),
        ("/boot/grub2/a", "is part of the image"),
        ("/usr", "is part of the image"),
        ("/usrlocal", "nothing can be added to / of an image host: choose a place below /etc or /var"),
        ("/data/a", "nothing can be added to /"),
    ],
)
def test_places_that_it_cannot(path, why) -> None:
    assert why in _images.why_not_writable(path)


def test_a_package_that_cannot_be_layered_is_refused_with_its_file() -> None:
    _images.require_packages(["agent"], ["/usr/bin/agent", "/etc/agent.conf"])
    with pytest.raises(OperationError, match=r"agent cannot be layered: its file /opt/agent/bin would be below"):
        _images.require_packages(["agent"], ["/usr/bin/agent", "/opt/agent/bin"])


def test_a_package_host_has_no_images() -> None:
    with pytest.raises(OperationError, match="this is not an image host"):
        _images.require_image_host(None)


@pytest.mark.parametrize("wanted", ["1", "a" * 64, "b" * 64])
def test_an_image_is_known_by_its_version_and_by_both_of_its_checksums(wanted) -> None:
    assert _images.is_of(ONE, wanted)
    assert not _images.is_of(ONE, "2")


@pytest.mark.parametrize("value", ["", "-1", "--reboot", "a b", "a;b", "a\n", "$(a)", "'"])
def test_what_is_no_word(value) -> None:
    with pytest.raises(OperationError, match="is no version"):
        _images.word("version", value)


def test_another_stateroot_is_no_way_back() -> None:
    other = {**ONE, "stateroot": "other", "version": "0", "checksum": "c" * 64, "base_checksum": "c" * 64, "roles": []}
    with pytest.raises(OperationError, match="it cannot go back"):
        _images.way_back({"tool": "ostree", "busy": None, "deployments": [ONE, other]}, "1")


@pytest.mark.parametrize(
    ("stateroot", "serial", "said"), [("other", 0, "pin 0"), ("labos", 0, "pin 1"), ("labos", 1, "is gone")]
)
def test_an_index_is_looked_up_by_the_command_that_uses_it(tmp_path, stateroot, serial, said) -> None:
    recorded = (Path(__file__).parent / "transcripts/ostree/2022.7.jsonl").read_text().splitlines()
    name = "booted-status-two-stateroots-default-is-other"
    text = next(run["stdout"] for run in map(json.loads, recorded) if run["name"] == name)
    (tmp_path / "status").write_text(text)
    program = tmp_path / "ostree"
    program.write_text(f'#!/bin/sh\nif [ "$2" = status ]; then cat {tmp_path}/status; else echo "$2 $3"; fi\n')
    program.chmod(0o755)
    checksum = next(line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith("  other"))
    command = _ostree.at_index("pin", {**ONE, "stateroot": stateroot, "checksum": checksum, "serial": serial})
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command.args[1]], capture_output=True, text=True, check=False, env=env)
    assert said in done.stdout + done.stderr
    assert (done.returncode == 0) is (said != "is gone")


def test_only_what_is_news_is_told() -> None:
    said = "Copying /etc changes: 2 modified\nTransaction complete; bootconfig swap: yes\nNo update available.\n\n"
    assert _ostree.told(Answer(0, said, "")) == ["No update available."]


@pytest.mark.parametrize(
    ("command", "short"),
    [
        ("ostree admin upgrade --stage", "ostree admin upgrade"), ("rpm-ostree deploy abc", "rpm-ostree deploy"),
        ("ostree pull a b", "ostree pull"), ("ostree remote delete x", "ostree remote delete"),
    ],
)  # fmt: skip
def test_a_command_as_people_know_it(command, short) -> None:
    assert _ostree.short(command) == short


def test_what_a_lab_host_is_booted_from(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path))
    assert [seed.add(name, image=image).image for name, image in (("a", False), ("b", True), ("c", "ostree"))] == [
        "", "rpm-ostree", "ostree",
    ]  # fmt: skip
    with pytest.raises(LabError, match="lab_image is True"):
        seed.add("d", image="docker")
