"""Updates that turn out bad: undone by the host or by the run, proved, held back, and not tried again."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.converge.conftest import ROOT, Done, converge, program, run
from tests.lab import client

pytestmark = pytest.mark.lab

NAME = "upu-1"
TEXT = """
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.services import Service, Services
from inventories._fleet import fleet, host
from inventories._lab import lab_key

hosts = fleet(
    host(
        "upu-1",
        Packages(
            keys=[SigningKey(name="photon-lab", **lab_key())],
            repositories=[Repository(id="photon", url="http://packages.lab/photon", key="photon-lab")],
            present=["greeter"],
        ),
        Services(units=[Service(unit="greeter.service", enabled=True, running=True)]),
    ),
    connector="lab",
)
"""
UPDATE = ("deploys/fixes/update.py", "-y", "--data", "why=test", "--data", "packages=greeter")


@pytest.fixture(scope="module")
def fleet(lab, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("undone") / "undone.py"
    path.write_text(TEXT)
    done = converge(inventory=str(path))
    assert done.status == 0, done.all
    return str(path)


@pytest.fixture
def offered(on):
    """A repository with one more version of the greeter."""

    def offer(version: str) -> None:
        lines = f"[more]\\nname=more\\nbaseurl=http://packages.lab/greeter-{version}\\nenabled=1\\ngpgcheck=1\\n"
        key = "gpgkey=file:///etc/pki/rpm-gpg/photon-lab\\n"
        on(NAME, f"printf '{lines}{key}' > /etc/yum.repos.d/more.repo")

    return offer


@pytest.fixture
def update(fleet):
    return lambda: run(program("pyinfra"), fleet, *UPDATE)


@pytest.fixture
def state(on):
    """What counts, by other ways than the run's own: packages, files, the service."""

    def read() -> tuple[str, str, str]:
        return (
            on(NAME, "rpm -qa | grep -v gpg-pubkey | sort"), on(NAME, "rpm -V greeter", check=False),
            on(NAME, "systemctl is-active greeter.service", check=False).strip(),
        )  # fmt: skip

    return read


WATCH = "photon-fleet-update.service"
BOOT = "cat /proc/sys/kernel/random/boot_id"


def version(on) -> str:
    return on(NAME, "rpm -q --qf '%{VERSION}' greeter")


def held(on) -> str:
    return on(NAME, "cat /var/lib/photon-fleet/update/held 2>/dev/null", check=False)


def test_a_service_that_does_not_start_is_rolled_back_proved_and_held_back(update, offered, state, on) -> None:
    before = state()
    offered("1.1")
    done = update()
    assert done.status == 1, done.all
    assert "ROLLED BACK: the update broke services.unit[greeter.service].running. Its versions" in done.err, done.err
    assert state() == before
    assert held(on) == "greeter 0:1.1-1.ph5 x86_64\n"
    again = update()
    assert again.status == 0, again.all
    assert "held back, as this host has gone back from it: greeter" in again.err
    assert again.line(f"{NAME}: ok; "), again.all
    assert state() == before


def test_a_newer_version_ends_it(update, offered, on) -> None:
    offered("1.3")
    done = update()
    assert done.status == 0, done.all
    assert "upgrade greeter 1.3-1.ph5 (installed: 1.0-1.ph5)" in done.err
    assert done.line(f"{NAME}: ok; "), done.all
    assert version(on) == "1.3"


def back_to_one(on, fleet: str) -> None:
    done = run(program("pyinfra"), fleet, "deploys/fixes/roll_back.py", "-y", "--data", "why=test")
    assert done.status == 0, done.all
    assert version(on) == "1.0"


def test_nobody_can_log_in_any_more(update, offered, fleet, state, on) -> None:
    back_to_one(on, fleet)
    before = state()
    offered("1.2")
    done = update()
    assert done.status == 1, done.all
    assert "REVERTED: the change to update of 20" in done.err, done.err
    assert "because: the controller could not log in anew" in done.err
    assert state() == before
    assert on(NAME, "systemctl is-active sshd.service") == "active\n"


def test_the_controller_is_killed_right_after_the_update(fleet, offered, state, on) -> None:
    before = state()
    offered("1.3")
    # The guard's timer is what is left then; its seconds are those of the deploy file, made short here.
    short = Path(fleet).with_name("short.py")
    short.write_text((ROOT / "deploys/fixes/update.py").read_text().replace("policies, SECONDS", "policies, 20"))
    process = subprocess.Popen(
        [program("pyinfra"), fleet, short, *UPDATE[1:]], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 180
    while version(on) != "1.3" and time.monotonic() < end:
        time.sleep(0.1)
    process.kill()
    process.wait()
    while version(on) != "1.0" and time.monotonic() < end + 30:
        time.sleep(0.5)
    assert state() == before


def told(done: Done) -> str:
    return "".join(re.findall(r"since the last run: .*", done.err))


def test_the_next_run_tells_it(fleet) -> None:
    done = converge(inventory=fleet)
    assert done.status == 0, done.all
    assert "REVERTED: the change to update" in told(done), done.err


def test_a_reboot_is_proved_and_confirmed(fleet, offered, on) -> None:
    offered("1.3")
    before = on(NAME, BOOT)
    done = run(program("pyinfra"), fleet, *UPDATE, "--data", "reboot=always")
    assert done.line(f"{NAME}: ok; "), done.all
    assert version(on) == "1.3"
    assert on(NAME, BOOT) != before
    assert "photon-fleet-update" not in on(NAME, "systemctl list-timers --all --no-legend")
    back_to_one(on, fleet)


def test_nobody_can_log_in_after_the_reboot(fleet, offered, state, on) -> None:
    before = state()
    offered("1.4")
    short = Path(fleet).with_name("watched.py")
    text = (ROOT / "deploys/fixes/update.py").read_text()
    short.write_text(text.replace("watched=WATCHED_SECONDS", "watched=12"))
    words = ("--data", "reboot=always", "--data", "seconds=10")
    done = run(program("pyinfra"), fleet, short, *UPDATE[1:], *words)
    assert done.status == 1, done.all
    assert "the host is not back 10 s after its reboot was asked for" in done.err
    # Nobody but the package's own script starts sshd for a moment before the host reboots once more.
    settled = (
        "systemctl is-system-running | grep -qE 'running|degraded' && "
        "ls /var/lib/photon-fleet/records/new/*.update && "
        f"[ $(systemctl show -p ActiveState --value {WATCH}) = inactive ]"
    )
    end = time.monotonic() + 240
    while run("ssh", "-F", client.ssh_config(), NAME, settled).status and time.monotonic() < end:
        time.sleep(1)
    assert state() == before
    assert "greeter 0:1.4-1.ph5" in held(on)
    told = converge(inventory=fleet)
    assert "since the last run: FIX: went back from an update that nobody proved in time at 20" in told.err
    assert told.line(f"{NAME}: ok; "), told.all


UNPROVED = """
from pyinfra import host
from deploys._run import contained
from deploys.fixes._fix import begin_fix
from deploys.guard import guarding
from deploys.update.packages import packages_updated
from deploys.update.way_back import SECONDS, proved_before, undo
from inventories._merge import effective_of

with contained():
    owner = begin_fix(__file__, "updated the greeter")
    proved_before(name="Before", policies=list(effective_of(host).policies.values()), seconds=60)
    with guarding("update", undo(), owner, SECONDS):
        packages_updated(name="Update", proved=True, names=["greeter"], way_back=True)
"""


@pytest.fixture
def left_unproved(fleet, offered, on):
    """As a controller leaves the host that is killed between the update and its proof."""

    def leave() -> None:
        offered("1.3")
        deploy = Path(fleet).with_name("unproved.py")
        deploy.write_text(UNPROVED)
        run(program("pyinfra"), fleet, deploy, "-y", "--data", "why=test")
        assert version(on) == "1.3"
        assert "photon-fleet-update.timer" in on(NAME, "systemctl list-timers --no-legend")

    return leave


def test_an_update_that_was_never_proved_comes_first(left_unproved, update, fleet, state, on) -> None:
    before = state()
    left_unproved()
    on(NAME, "systemctl stop greeter.service")
    done = update()
    assert done.status == 1, done.all
    assert "was never proved: that comes first" in done.err
    assert "ROLLED BACK: the update broke services.unit[greeter.service].running" in done.err, done.err
    assert state() == before
    assert "greeter 0:1.3-1.ph5" in held(on)
    assert run(program("pyinfra"), fleet, "deploys/fixes/release.py", "-y", "--data", "why=test").status == 0


def test_nobody_proves_it_in_time(left_unproved, fleet, state, on) -> None:
    before, boot = state(), on(NAME, BOOT)
    left_unproved()
    on(NAME, f"systemctl start {WATCH}")
    assert state() == before
    assert on(NAME, BOOT) == boot
    assert "photon-fleet-update" not in on(NAME, "systemctl list-timers --all --no-legend")
    told = converge(inventory=fleet)
    assert "since the last run: FIX: went back from an update that nobody proved in time at 20" in told.err
    assert told.line(f"{NAME}: ok; "), told.all
