"""Killed with -9 at random moments of an image's update and of its way back: a whole image each time, and a true word.

Twice in a run of all tests, once in each world, both at a time. KILLS=20 is another number, KILL_SEED the seed of an
earlier run.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.converge.conftest import ROOT, Done, program, run
from tests.converge.test_image_updates import published
from tests.lab.ostree_repo import BRANCH, head, refresh, repository

pytestmark = pytest.mark.lab

HOSTS = ("img-5", "img-6")
INVENTORY = """
from deploys.policies.services import Service, Services
from inventories._fleet import fleet, host

_site = Services(units=[Service(unit="site.service", running=True)])
hosts = fleet(host("img-5", _site, lab_image=True), host("img-6", _site, lab_image="ostree"), connector="lab")
"""
KILLS = int(os.environ.get("KILLS", "2"))
SEED = int(os.environ.get("KILL_SEED", str(time.time_ns() % (1 << 30))))
WATCHED_SECONDS = 20
WORK = "ostree|sh -s|image[.]sh"
WELL, ILL = "/bin/sleep infinity", "/bin/false"
WORDS = ("-y", "--data", "why=killed", "--data", "reboot=due", "--data", "seconds=60")


@pytest.fixture(scope="module")
def place(lab, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("image-killed")
    (place / "fleet.py").write_text(INVENTORY)
    short = (ROOT / "deploys/fixes/update.py").read_text()
    (place / "update.py").write_text(short.replace("watched=WATCHED_SECONDS", f"watched={WATCHED_SECONDS}"))
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(lab.boot, "img-5", image=True), pool.submit(lab.boot, "img-6", image="ostree")]
        for each in started:
            each.result()
    first = head()
    published("5.0_minimal.100")
    done = run(program("pyinfra"), place / "fleet.py", place / "update.py", *WORDS)
    assert done.status == 0, done.all
    yield place
    for name in HOSTS:
        lab.kill(name)
    run("ostree", "reset", f"--repo={repository()}", BRANCH, first)
    refresh()


@pytest.fixture
def update(place):
    return lambda name: run(program("pyinfra"), place / "fleet.py", place / "update.py", *WORDS, "--limit", name)


def started(place: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [program("pyinfra"), place / "fleet.py", place / "update.py", *WORDS, "--limit", name], cwd=ROOT,
        stdin=subprocess.DEVNULL, stdout=(place / f"last-{name}").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip


def killed(process: subprocess.Popen[bytes], name: str, on, lab, chance: random.Random) -> str:
    """Kill one side at some moment of the run; says which and when."""
    moment = chance.uniform(1, 25)
    victim = chance.choice(["controller", "host", "power"])
    time.sleep(moment)
    if victim == "controller":
        process.kill()
    elif victim == "host":
        on(name, f"pkill -9 -f '{WORK}'", check=False)
    else:
        lab.kill(name)
        process.kill()
        lab.boot(name, image=True if name == "img-5" else "ostree")
    try:
        process.wait(400)
    finally:
        process.kill()
    return f"{name} {victim} after {moment:.1f} s"


def settled(name: str, on) -> None:
    """Until the host runs, and neither goes back nor shuts down."""
    ask = "systemctl is-system-running; pgrep -f 'image[.]sh expire'; systemctl list-jobs --no-legend"
    end, quiet = time.monotonic() + 240, 0
    while quiet < 3 and time.monotonic() < end:
        time.sleep(1)
        quiet = quiet + 1 if on(name, ask, check=False) in {"running\n", "degraded\n"} else 0


def version(name: str, on) -> str:
    return re.search("IMAGE_VERSION=(.*)", on(name, "cat /etc/os-release"))[1]


def true_word(said: str, name: str, runs: str, new: str) -> None:
    """A run that got to its end has said what is so."""
    if f"{name}: ok; " in said:
        assert runs == new, said
    if " ROLLED BACK: " in said and "NOT ROLLED BACK" not in said:
        assert runs != new, said


def mended(name: str, update) -> list[Done]:
    """What the next runs say, until one of them is ok: at most two may have something to undo or to wait for."""
    runs = []
    for _ in range(3):
        runs.append(update(name))
        if runs[-1].line(f"{name}: ok; "):
            return runs
        time.sleep(WATCHED_SECONDS / 2)
    raise AssertionError("\n".join(each.all for each in runs))


def round_of(place: Path, name: str, new: str, program_of_site: str, on, lab, update, seed: str) -> str:
    """Kill one update of one host, and see that the next run makes it whole; says what was hit."""
    before = version(name, on)
    process = started(place, name)
    hit = killed(process, name, on, lab, random.Random(seed))  # noqa: S311 - a run must be repeatable
    settled(name, on)
    true_word((place / f"last-{name}").read_text(errors="replace"), name, version(name, on), new)
    mended(name, update)
    held = f" {new}\n" in on(name, "cat /var/lib/photon-fleet/update/held-images 2>/dev/null", check=False)
    assert version(name, on) == (before if held else new), hit
    assert held or program_of_site == WELL, hit
    note = "ls /var/lib/photon-fleet/update/image | grep -E 'unproved|expired'; ostree admin status | grep staged"
    assert on(name, note, check=False) == "", hit
    return hit


def test_a_whole_image_whatever_is_killed_and_when(place, on, lab, update, record_property) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a run must be repeatable
    hits: list[str] = []
    try:
        for number in range(0, KILLS, 2):
            new, site = f"5.0_minimal.{101 + number}", chance.choice([WELL, ILL])
            published(new, site)
            with ThreadPoolExecutor(2) as pool:
                rounds = [
                    pool.submit(round_of, place, name, new, site, on, lab, update, f"{SEED} {number} {name}")
                    for name in HOSTS
                ]
                hits += [f"{'good' if site == WELL else 'bad'}: {each.result()}" for each in rounds]
    finally:
        record_property("summary", f"image updates killed {len(hits)} times, seed {SEED}: " + "; ".join(hits))
        last = [(place / f"last-{name}").read_text(errors="replace") for name in HOSTS]
        # What a host said that does not come back is gone with the lab.
        consoles = [spec.directory / "console.log" for spec, _ in lab.status() if spec.name in HOSTS]
        last += [path.read_text(errors="replace")[-2000:] for path in consoles if path.exists()]
        print(f"seed {SEED}: {hits}", *last, sep="\n")
    for name in HOSTS:
        assert on(name, "ostree fsck -q --repo=/ostree/repo >/dev/null && echo whole") == "whole\n"
