"""The pictures in docs/reports.md, by a real browser: python -m tests.bench.screenshots [DIRECTORY]

A fleet is played (tests/rollout/played.py) whose runs say what real ones do; the view in the browser is asked while a
second rollout runs. Needs chromium (apt-get install chromium).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploys.report.html import html
from deploys.report.read import of_fleet, of_rollout
from deploys.report.web import server
from deploys.rollout.local import Local
from deploys.rollout.model import Answer, Budget, OnFail, PolicyVerdict, Spec
from deploys.rollout.store.rows import New
from deploys.rollout.waves import Wave
from tests.rollout.played import World

DOCS = Path(__file__).resolve().parents[2] / "docs"
POLICIES = (
    *"network packages accounts kernel selinux time logging".split(),
    *"storage ssh firewall nfs docker files update services".split(),
)
DESKTOP, PHONE = (1280, 1335), (375, 1500)
_CHANGED = {
    "firewall": ["firewall | Put the rules in place"], "docker": ["docker | Run the container web"],
    "update": ["update | Update all security updates"],
}  # fmt: skip
_WORDS = """FAILED; 2 changes; 160 of 162 checks passed
{host}: firewall.rules[http]: not true that packets to port 443 are let in
    check     firewall.rules[http]
    expected  ACCEPT
    actual    DROP"""


def said(changed: Sequence[str] = (), failed: str = "", advisories: Sequence[str] = ()) -> dict[str, Any]:
    """What a run says of a host."""
    policies = [
        {"policy": name, "verdict": PolicyVerdict.CHANGED if name in changed else PolicyVerdict.PROVED, "checks": 11,
         "passed": 11, "changed": _CHANGED[name] if name in changed else [], "failed": []} for name in POLICIES
    ]  # fmt: skip
    for each in policies:
        if each["policy"] == failed:
            each |= {"verdict": PolicyVerdict.FAILED, "passed": 9,
                     "failed": [f"{failed}.rules[http]: not true that packets to port 443 are let in"]}  # fmt: skip
    return {"policies": policies, "advisories": list(advisories)}


def begin(world: World, prefix: str, why: str, sizes: Sequence[Sequence[int]], spec: Spec) -> int:
    """A rollout of hosts that are called so."""
    names = iter(f"{prefix}-{number}" for number in range(1, 100_000))
    labels = ["1 host", "10 %", "the rest"]
    waves = [
        Wave(labels[number], tuple(tuple(next(names) for _ in range(count)) for count in units))
        for number, units in enumerate(sizes)
    ]
    new = New("inventories/prod.py", "c0ffee", "0ff1ce", "ann@controller", why, spec, "{}", waves)
    return world.store.create(new)


def filled(place: Path) -> tuple[World, int]:
    """A fleet, and the rollout of it that went back."""
    world = World(place, 0.6)
    told = {
        "*": said(["firewall", "docker"], advisories=["PHSA-2026-5.0-0711"]), "back": said(["firewall"]),
        "web-11": {**said(["docker"], "firewall", ["PHSA-2026-5.0-0711", "PHSA-2026-5.0-0698"]),
                   "words": _WORDS.format(host="web-11")},
        "web-8": {"policies": [], "words": "could not be reached; nothing was changed"},
    }  # fmt: skip
    (place / "told").write_text(json.dumps(told))
    world.become(0.6, {"web-11": "failed", "web-8": "unreachable"})
    spec = Spec(gates=("alerts", "shop"), bake_seconds=(0.5,), parallel=2, on_fail=OnFail.BACK_WAVE,
                unreachable=Budget(wave=1))  # fmt: skip
    ident = begin(world, "web", "4711: let https in", [[1], [3], [5, 5, 5]], spec)
    answers = {"alerts": "silence", "shop": "status 200"}
    Local(world.store, world.place, lambda _, __, gate: (Answer.PASS, answers[gate])).play(ident)
    (place / "told").write_text(json.dumps({"*": said(["update"]), "back": said()}))
    world.become(0, {})
    world.play(begin(world, "db", "4712: security updates", [[1], [2], [10, 10]], Spec(parallel=2)))
    return world, ident


def shot(url: str, target: Path, size: tuple[int, int], *more: str) -> None:
    """A picture of a page."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("there is no chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
             f"--window-size={size[0]},{size[1]}", f"--screenshot={target}", *more, url],
            check=True, capture_output=True, timeout=120, preexec_fn=lambda: os.nice(5) and None,
        )  # fmt: skip
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


def main() -> None:
    target = Path(sys.argv[1] if len(sys.argv) > 1 else DOCS).resolve()
    with tempfile.TemporaryDirectory(prefix="screenshots-") as made:
        place = Path(made)
        world, ident = filled(place / "state")
        now = datetime.now(UTC)
        (place / "rollout.html").write_text(html(of_rollout(world.store, ident, now)))
        (place / "fleet.html").write_text(html(of_fleet(world.store, now)))
        shot(f"file://{place}/rollout.html", target / "report-rollout.png", DESKTOP)
        shot(f"file://{place}/rollout.html", target / "report-phone.png", PHONE)
        shot(f"file://{place}/fleet.html", target / "report-fleet.png", (1280, 1100), "--force-dark-mode",
             "--blink-settings=preferredColorScheme=0")  # fmt: skip
        world.become(3, {})
        running = begin(world, "edge", "4713: new resolver", [[1], [3], [8, 8, 8]], Spec(parallel=2))
        player = threading.Thread(target=world.play, args=(running,))
        player.start()
        with server(world.store, "127.0.0.1", 0) as found:
            threading.Thread(target=found.serve_forever, daemon=True).start()
            time.sleep(7)
            shot(f"http://127.0.0.1:{found.server_address[1]}/rollout/{running}", target / "web.png", (1280, 900))
            found.shutdown()
        player.join()


if __name__ == "__main__":
    main()
