"""The guard's shell script where no space is left: before it has begun, and on the way back."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.guard.guard import outcome
from tests.test_guard_script import SHELLS, Place


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - any number of writes may succeed


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 300 KiB."""
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "small", root], check=True)
    yield root
    subprocess.run(["umount", "--lazy", root], check=True)


@pytest.mark.lab
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_disk_that_is_full_by_now_does_not_stop_the_way_back(small_disk, shell) -> None:
    place = Place(small_disk, shell)
    (place.etc / "a").write_text("a" * 20000)
    before = place.picture()
    assert place.call(place.write(), "arm") == (0, ["armed"], "")
    (place.etc / "a").write_text("changed")
    fill(small_disk / "fill")
    _, lines, errors = place.armed("revert", "timer")
    assert outcome("x", lines).startswith("REVERTED: "), (lines, errors)
    assert place.picture() == before
    assert outcome("x", (place.state / "verdict").read_text().splitlines()).startswith("REVERTED: ")


@pytest.mark.lab
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_full_disk_is_nothing_to_begin_with(small_disk, shell) -> None:
    place = Place(small_disk, shell)
    (place.etc / "a").write_text("a" * 200000)
    status, _, errors = place.call(place.write(), "arm")
    assert status == 1
    assert "cannot save what is there" in errors
    assert not (place.state / "armed").exists()
