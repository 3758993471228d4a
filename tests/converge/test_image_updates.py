"""Updates of image hosts: proved after the reboot, rolled back and held back when they broke something, or by itself.

In order, each on what the one before has left, and on both worlds at once: img-3 has the rpm-ostree stand-in, img-4
ostree alone. An image is what the first one is, and a service of the site.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.converge.conftest import ROOT, Done, converge, program, run
from tests.lab.ostree_repo import BRANCH, commit, head, refresh, repository

pytestmark = pytest.mark.lab

HOSTS = ("img-3", "img-4")
INVENTORY = """
from deploys.policies.services import Service, Services
from inventories._fleet import fleet, host

_site = Services(units=[Service(unit="site.service", running=True)])
hosts = fleet(host("img-3", _site, lab_image=True), host("img-4", _site, lab_image="ostree"), connector="lab")
"""
KEPT = 'Update(install="all", reboot="always")'
REBOOT = ("--data", "reboot=due")
GOOD, BAD, BETTER, SECOND, SILENT, LARGE = (f"5.0_minimal.{number}" for number in range(11, 17))
SITE = "[Unit]\nDescription=The site's\n[Service]\nExecStart=%s\n"
WANTED = {"/usr/lib/systemd/system/multi-user.target.d/site.conf": "[Unit]\nWants=site.service\n"}


def published(version: str, program: str = "/bin/sleep infinity", **more: object) -> None:
    unit = {"/usr/lib/systemd/system/site.service": SITE % program}
    commit(version, {**unit, **WANTED, **more.pop("files", {})}, **more)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("image-updates") / "fleet.py"
    path.write_text(INVENTORY)
    return path


@pytest.fixture(scope="module", autouse=True)
def hosts(lab):
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(lab.boot, "img-3", image=True), pool.submit(lab.boot, "img-4", image="ostree")]
        for each in started:
            each.result()
    first = head()
    yield
    for name in HOSTS:
        lab.kill(name)
    # What other files of tests publish begins with the image that they know.
    run("ostree", "reset", f"--repo={repository()}", BRANCH, first)
    refresh()


@pytest.fixture
def fix(fleet):
    return lambda name, *words: run(
        program("pyinfra"), fleet, f"deploys/fixes/{name}.py", "-y", "--data", "why=test", *words
    )


@pytest.fixture
def runs(on):
    """The version that each host runs, as the image's own file says it."""
    return lambda: [re.search("IMAGE_VERSION=(.*)", on(name, "cat /etc/os-release"))[1] for name in HOSTS]


def both(done: Done, sentence: str) -> None:
    for name in HOSTS:
        assert f"[{name}] {sentence}" in done.all, done.all


def ok(done: Done) -> None:
    assert done.status == 0, done.all
    for name in HOSTS:
        assert done.line(f"{name}: ok; "), done.all


def test_a_new_image_is_staged_and_then_proved_after_its_reboot(fix, runs, on) -> None:
    published(GOOD)
    # The service that the policy wants comes with the image: that this fails before is no reason to go back.
    staged = fix("update")
    both(staged, f"image {GOOD} runs after the next reboot; the next update proves it")
    assert runs() == ["5.0_minimal"] * 2
    ok(fix("update", *REBOOT))
    assert runs() == [GOOD] * 2
    for name in HOSTS:
        assert "photon-fleet-update" not in on(name, "systemctl list-timers --all --no-legend")


def test_an_image_that_breaks_a_check_is_rolled_back_and_held_back(fix, runs) -> None:
    published(BAD, "/bin/false")
    done = fix("update", *REBOOT)
    assert done.status == 1
    both(done, f"ROLLED BACK: image {BAD} broke services.unit[site.service].running. It is held back on this host.")
    assert runs() == [GOOD] * 2
    again = fix("update", *REBOOT)
    ok(again)
    both(again, f"{BAD} is held back")
    assert runs() == [GOOD] * 2


def test_a_newer_image_ends_the_hold_and_a_person_can_go_back(fleet, fix, runs) -> None:
    policy = fleet.with_name("policy.py")
    policy.write_text(
        "from deploys.policies.update import Update\n" + INVENTORY.replace("_site, lab", f"{KEPT}, _site, lab")
    )
    published(BETTER)
    ok(converge(inventory=str(policy)))
    assert runs() == [BETTER] * 2
    done = fix("roll_back")
    assert done.status == 0, done.all
    assert runs() == [GOOD] * 2


def test_all_images_of_a_rollout_go_back_and_none_of_another(fleet, fix, runs, on) -> None:
    ok(converge("--data", "of=rollout-12", inventory=str(fleet.with_name("policy.py"))))
    assert runs() == [BETTER] * 2
    boots = [on(name, "cat /proc/sys/kernel/random/boot_id") for name in HOSTS]
    other = fix("roll_back", "--data", "of=rollout-13", "--data", "hold=true")
    assert other.status == 0, other.all
    both(other, "rollout-13 has installed nothing on this host that could go back")
    assert [on(name, "cat /proc/sys/kernel/random/boot_id") for name in HOSTS] == boots
    # By a second try of the same rollout, which waits for its reboot.
    published(SECOND)
    both(fix("update", "--data", "of=rollout-12"), f"image {SECOND} runs after the next reboot")
    for _ in range(2):
        done = fix("roll_back", "--data", "of=rollout-12", "--data", "hold=true")
        assert done.status == 0, done.all
        assert runs() == [GOOD] * 2
    for name in HOSTS:
        assert SECOND in on(name, "cat /var/lib/photon-fleet/update/held-images")


def test_nobody_can_log_in_after_the_reboot(fleet, fix, runs, on) -> None:
    published(SILENT, files={"/usr/sbin/sshd": "#!/bin/sh\nexit 1\n"})
    short = fleet.with_name("watched.py")
    text = (ROOT / "deploys/fixes/update.py").read_text()
    short.write_text(text.replace("watched=WATCHED_SECONDS", "watched=10"))
    words = ("--data", "why=test", "--data", "reboot=always", "--data", "seconds=10")
    done = run(program("pyinfra"), fleet, short, "-y", *words)
    assert done.status == 1, done.all
    both(done, "the host is not back 10 s after its reboot was asked for")
    end = time.monotonic() + 180
    for name in HOSTS:
        while "away" in on(name, "ls /var/lib/photon-fleet/records/new/*.update || echo away", check=False) or not on(
            name, "true && echo here", check=False
        ):
            assert time.monotonic() < end, f"{name} does not come back"
            time.sleep(0.5)
    assert runs() == [GOOD] * 2
    told = converge(inventory=str(fleet))
    assert told.err.count(f"FIX: went back from image {SILENT}, as nobody confirmed it after its first boot at 20") >= 2
    ok(told)


def test_an_update_that_is_gone_after_the_reboot(fleet, fix, runs, on) -> None:
    published(LARGE, new_kernel=2)
    assert fix("update").status == 0
    for name in HOSTS:
        # The room that the way back needs is there; the kernel has none.
        on(name, "dd if=/dev/zero of=/boot/filler bs=64k 2>/dev/null; truncate -s -512K /boot/filler")
    done = fix("update", *REBOOT)
    assert done.status == 1
    both(done, f"the update is gone: image {LARGE} was staged at 20")
    assert done.err.count("/boot is full: the kernel of the new image does not fit") >= 2, done.err
    assert runs() == [GOOD] * 2


def test_a_host_that_could_not_go_back_is_not_updated(fix, on) -> None:
    for name in HOSTS:
        on(name, "dd if=/dev/zero of=/boot/more bs=4k 2>/dev/null || true")
    done = fix("update")
    assert done.status == 1
    both(done, "this host could not go back, so it is not updated: /boot has no room for the menu of another boot")
    for name in HOSTS:
        assert "staged" not in on(name, "ostree admin status")
