"""An image host with a real boot loader, kernel and initramfs: a good image, and one that does not boot.

In order, as each boot takes half a minute: what the first test leaves, the second one needs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from facts.boot_try import BootTry
from facts.ostree import Deployments
from tests.converge.conftest import Done, program, run
from tests.lab import ostree_repo, vm_image

pytestmark = [pytest.mark.lab, pytest.mark.vm(alone=False)]

NAME = "vi-1"
INVENTORY = f"""
from inventories._fleet import fleet, host
hosts = fleet(host("{NAME}", lab_vm=True, lab_image="ostree"), connector="lab")
"""
UPDATE = ("deploys/fixes/update.py", "-y", "--data", "why=test", "--data", "reboot=due", "--data", "seconds=900")


@pytest.fixture(scope="module")
def update(lab, tmp_path_factory):
    lab.boot(NAME, vm=True, image="ostree")
    place = tmp_path_factory.mktemp("vm-image")
    (place / "fleet.py").write_text(INVENTORY)
    yield lambda: run(program("pyinfra"), place / "fleet.py", *UPDATE, timeout=1500)
    lab.stop(NAME)


def publish(version: str, files: dict[str, str]) -> str:
    return ostree_repo.commit(version, files, branch=vm_image.VM_BRANCH, parent=vm_image.VM_BRANCH)


def read(on, fact):
    return fact.process(on(NAME, fact.command()).splitlines())


def roles(on) -> list[tuple[str, list[str]]]:
    return [(each["version"], each["roles"]) for each in read(on, Deployments())["deployments"]]


def test_a_good_image_is_tried_and_kept(update, on) -> None:
    wanted = publish("5.0_minimal.1", {"/usr/etc/site.conf": "of the good one\n"})
    done = update()
    assert done.status == 0, done.all[-3000:]
    # The kernel says what was booted, and not ostree.
    link = next(word for word in on(NAME, "cat /proc/cmdline").split() if word.startswith("ostree="))
    assert wanted in on(NAME, f"readlink -f /sysroot{link.removeprefix('ostree=')}")
    assert roles(on) == [("5.0_minimal.1", ["booted"]), ("5.0_minimal", ["rollback"])]
    found = read(on, BootTry())
    assert (found["state"], found["cannot"], found["missing"]) == ("none", [], [])
    left = "ls /boot/grub2 /etc/systemd/photon* /etc/systemd/system/*/photon* /var/lib/photon-fleet/update 2>/dev/null"
    assert on(NAME, left, check=False).split() == ["/boot/grub2:", "grub.cfg", "/var/lib/photon-fleet/update:", "image"]


def test_a_host_comes_back_from_an_image_that_does_not_boot(update, on, lab) -> None:
    spec = next(spec for spec, _ in lab.status() if spec.name == NAME)
    log = Path(spec.directory, "kernel.log")
    before = log.stat().st_size
    bad = publish("5.0_minimal.2", {vm_image.INITRAMFS: "this is no initramfs\n"})
    done: Done = update()
    assert done.status == 1, done.all[-3000:]
    assert "ROLLED BACK: the host has come back from image 5.0_minimal.2: it did not come up. It is held" in done.err
    console = log.read_bytes()[before:].decode(errors="replace")
    assert "Booting `VMware Photon OS/Linux 5.0_minimal.2 (ostree:0)'" in console
    assert "Kernel panic" in console
    assert "Booting `VMware Photon OS/Linux 5.0_minimal.1 (ostree:1)'" in console
    assert read(on, BootTry())["state"] == "none"
    # What does not boot is out of the menu, so that no further boot can meet it.
    assert roles(on)[0] == ("5.0_minimal.1", ["booted"])
    assert on(NAME, "systemctl is-system-running").strip() == "running"
    boot = on(NAME, "cat /proc/sys/kernel/random/boot_id")
    again = update()
    assert again.status == 0, again.all[-3000:]
    assert "5.0_minimal.2 is held back" in again.err
    assert on(NAME, "cat /proc/sys/kernel/random/boot_id") == boot
    assert bad in on(NAME, "cat /var/lib/photon-fleet/update/held-images")
