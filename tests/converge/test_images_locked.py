"""An image that is staged and locked: no shutdown puts it in place before it is finalized, which reboots the host."""

from __future__ import annotations

import re
import time

import pytest

from facts.ostree import Deployments
from tests.converge.conftest import program, run
from tests.lab.ostree_repo import commit

pytestmark = pytest.mark.lab

NAME = "img-locked"
INVENTORY = f"""
from inventories._fleet import fleet, host
hosts = fleet(host("{NAME}", lab_image=True), connector="lab")
"""
DEPLOY = """
from operations import ostree
ostree.finalized(name="Start it", wanted="5.0_locked", seconds=60)
"""
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture(scope="module")
def finalized(lab, tmp_path_factory):
    lab.boot(NAME, image=True)
    place = tmp_path_factory.mktemp("locked")
    (place / "fleet.py").write_text(INVENTORY)
    (place / "deploy.py").write_text(DEPLOY)
    yield lambda: run(program("pyinfra"), place / "fleet.py", place / "deploy.py", "-y")
    lab.kill(NAME)


@pytest.fixture
def runs(on):
    return lambda: re.search("IMAGE_VERSION=(.*)", on(NAME, "cat /etc/os-release"))[1]


@pytest.fixture
def first(on):
    """Version and roles of what the next boot starts."""

    def read() -> tuple[str, list[str]]:
        fact = Deployments()
        deployment = fact.process(on(NAME, fact.command()).splitlines())["deployments"][0]
        return deployment["version"], deployment["roles"]

    return read


def test_a_locked_image_waits_for_its_finalizing(finalized, runs, first, on) -> None:
    new = commit("5.0_locked")
    on(NAME, "rpm-ostree upgrade --lock-finalization")
    assert first() == ("5.0_locked", ["staged", "locked", "pending"])
    said = "rpm-ostree finalize-deployment 2>&1; rpm-ostree finalize-deployment abc 2>&1; true"
    assert on(NAME, said).splitlines() == [
        "error: Missing expected checksum", f"error: Expected staged base checksum abc, but found {new}",
    ]  # fmt: skip
    before, old = on(NAME, BOOT_ID), runs()
    done = finalized()
    assert done.status == 0, done.all
    assert runs() == "5.0_locked" != old
    assert on(NAME, BOOT_ID) != before
    assert first() == ("5.0_locked", ["booted"])
    assert on(NAME, "rpm-ostree finalize-deployment abc 2>&1", check=False).strip() == (
        "error: No pending staged deployment found"
    )
    again = on(NAME, BOOT_ID)
    assert finalized().status == 0
    assert on(NAME, BOOT_ID) == again


def test_a_shutdown_alone_leaves_a_locked_image_where_it_was(finalized, runs, first, on) -> None:
    commit("5.0_later")
    on(NAME, "rpm-ostree upgrade --lock-finalization")
    before = on(NAME, BOOT_ID)
    on(NAME, "systemctl reboot", check=False)
    deadline = time.monotonic() + 180
    while on(NAME, BOOT_ID, check=False) in {"", before}:
        assert time.monotonic() < deadline, "the host does not come back"
        time.sleep(0.2)
    assert (runs(), first()) == ("5.0_locked", ("5.0_locked", ["booted"]))
