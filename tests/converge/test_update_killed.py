"""Killed with -9 at random moments of an update and of the way back, on either side: one whole version each time.

Three times in a run of all tests; KILLS=20 is another number, and KILL_SEED the seed of an earlier run.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.converge.conftest import ROOT, converge, program, run
from tests.converge.test_update_undone import TEXT

pytestmark = pytest.mark.lab

NAME = "upk-1"
KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("KILL_SEED", str(time.time_ns() % (1 << 30))))
GUARD_SECONDS = 15
WORK = "tdnf|rpm |sh -s|point.sh"
WAIT = f"for i in $(seq 150); do pgrep -f '{WORK}' | grep -vx $$ && break; sleep 0.1; done"


@pytest.fixture(scope="module")
def place(lab, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("killed")
    (place / "killed.py").write_text(TEXT.replace("upu-1", NAME))
    done = converge(inventory=str(place / "killed.py"))
    assert done.status == 0, done.all
    short = (ROOT / "deploys/fixes/update.py").read_text().replace("policies, SECONDS", f"policies, {GUARD_SECONDS}")
    (place / "update.py").write_text(short)
    return place


def started(place: Path, deploy: Path, *data: str) -> subprocess.Popen[bytes]:
    words = [word for pair in ("why=killed", *data) for word in ("--data", pair)]
    return subprocess.Popen(
        [program("pyinfra"), place / "killed.py", deploy, "-y", *words], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=(place / "last").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip


def killed(process: subprocess.Popen[bytes], on, lab, chance: random.Random) -> str:
    """Wait for the transaction, or for no matter what, and kill one side of it; says what was hit."""
    if chance.random() < 0.7:
        found = on(NAME, WAIT, check=False)
        time.sleep(chance.uniform(0, 1.0))
        moment = "at work" if found.strip() else "not at work"
    else:
        time.sleep(chance.uniform(0.5, 6))
        moment = "at any time"
    victim = chance.choice(["controller", "host", "power"])
    if victim == "controller":
        process.kill()
    elif victim == "host":
        on(NAME, f"pkill -9 -f '{WORK}'", check=False)
    else:
        lab.kill(NAME)
        process.kill()
        lab.boot(NAME)
    try:
        process.wait(400)
    finally:
        process.kill()
    return f"{victim} {moment}"


def settled(on) -> None:
    """Until the host has nothing left to undo."""
    end = time.monotonic() + 240
    armed = "ls -d /var/lib/photon-fleet/guard/armed 2>/dev/null; pgrep -f 'rpm -U|guard.sh revert'"
    while on(NAME, armed, check=False).strip() and time.monotonic() < end:
        time.sleep(0.5)


def whole(on) -> str:
    """The version of the greeter; that there is one, with all of its files, and an RPM database in order."""
    version = on(NAME, "rpm -q --qf '%{VERSION} ' greeter").strip()
    assert version in {"1.0", "1.3"}
    assert on(NAME, "rpm -V greeter", check=False) == ""
    assert on(NAME, "rpmdb --verifydb && echo fine") == "fine\n"
    return version


def test_one_whole_version_whatever_is_killed_and_when(place, on, lab, record_property) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a run must be repeatable
    lines = "[more]\\nname=more\\nbaseurl=http://packages.lab/greeter-1.3\\nenabled=1\\ngpgcheck=1\\n"
    key = "gpgkey=file:///etc/pki/rpm-gpg/photon-lab\\n"
    on(NAME, f"printf '{lines}{key}' > /etc/yum.repos.d/more.repo")
    hits = []
    try:
        for _ in range(KILLS):
            back = whole(on) == "1.3"
            deploy = ROOT / "deploys/fixes/roll_back.py" if back else place / "update.py"
            process = started(place, deploy, *([] if back else ["packages=greeter"]))
            hits.append(f"{'back' if back else 'update'}: {killed(process, on, lab, chance)}")
            settled(on)
            if back:
                # What was cut short is gone again by the same command, to its end.
                done = run(program("pyinfra"), place / "killed.py", deploy, "-y", "--data", "why=again")
                assert done.status == 0, done.all
            whole(on)
    finally:
        record_property("summary", f"updates killed {len(hits)} times, seed {SEED}: " + "; ".join(hits))
        print(f"seed {SEED}: {hits}\n{(place / 'last').read_text(errors='replace')}")
    last = run(program("pyinfra"), place / "killed.py", "deploys/host.py", "-y")
    assert last.line(f"{NAME}: ok; "), last.all
