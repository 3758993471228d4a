"""What the update policy installs by itself: in its windows, proved, and undone when it broke something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.converge.conftest import Done, changes, converge, program, prove, run

pytestmark = pytest.mark.lab

NAME = "upp-1"
TEXT = """
from datetime import date
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.services import Service, Services
from deploys.policies.update import Update
from deploys.policies.update_window import Freeze
from inventories._fleet import fleet, host
from inventories._lab import lab_key

_closed = Freeze(name="sales", first=date(2020, 1, 1), last=date(2099, 1, 1), zone="UTC")
hosts = fleet(
    host(
        "upp-1",
        Packages(
            keys=[SigningKey(name="photon-lab", **lab_key())],
            repositories=[
                Repository(id=name, url=f"http://packages.lab/{name}", key="photon-lab") for name in (REPOSITORIES)
            ],
            present=["greeter"],
        ),
        Services(units=[Service(unit="greeter.service", enabled=True, running=True)]),
        Update(WISH),
    ),
    connector="lab",
)
"""


@pytest.fixture(scope="module")
def place(lab, tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("policy")


@pytest.fixture
def wanting(place):
    """The inventory whose host wants this of its updates."""

    def write(wish: str, *repositories: str) -> str:
        names = ("photon", "photon-updates", *repositories)
        path = place / "policy.py"
        path.write_text(TEXT.replace("REPOSITORIES", repr(names)).replace("WISH", wish))
        return str(path)

    return write


@pytest.fixture
def version(on):
    return lambda name: on(NAME, f"rpm -q --qf '%{{VERSION}}' {name}", check=False)


def ok(done: Done) -> Done:
    assert done.line(f"{NAME}: ok; "), done.all
    return done


def test_nothing_is_installed_that_is_not_asked_for(wanting, version) -> None:
    ok(converge(inventory=wanting("")))
    assert (version("openssl"), version("curl")) == ("3.0.13", "8.7.1")


def test_only_what_is_severe(wanting, version) -> None:
    inventory = wanting('install="security", minimum_score=7.0')
    pending = prove("--only", "update", inventory=inventory)
    assert "['openssl" in pending.out, pending.all
    ok(converge(inventory=inventory))
    assert (version("openssl"), version("curl")) == ("3.0.16", "8.7.1")
    again = ok(converge("--json", inventory=inventory))
    assert changes(again)["success"] == 0
    assert prove("--only", "update", inventory=inventory).status == 0


def test_outside_the_windows_it_is_only_told(wanting, version) -> None:
    inventory = wanting('install="all", freezes=[_closed]')
    done = ok(converge(inventory=inventory))
    assert f"[{NAME}] updates wait: sales lasts until 2099-01-01 (UTC)" in done.err
    assert version("curl") == "8.7.1"
    assert prove("--only", "update", inventory=inventory).status == 0


def test_everything_but_what_is_excluded_and_a_reboot_when_something_came(wanting, version, on) -> None:
    boot = on(NAME, "tdnf -q -y install tree-2.1.0 >/dev/null; cat /proc/sys/kernel/random/boot_id")
    inventory = wanting('install="all", exclude=["curl*"], reboot="always"')
    ok(converge(inventory=inventory))
    assert (version("curl"), version("tree")) == ("8.7.1", "2.1.1")
    after = on(NAME, "cat /proc/sys/kernel/random/boot_id")
    assert after != boot
    ok(converge(inventory=inventory))
    assert on(NAME, "cat /proc/sys/kernel/random/boot_id") == after


def test_what_a_rollout_takes_back_is_not_installed_again(wanting, version) -> None:
    inventory = wanting('install="all", exclude=["curl*"]')
    fix = ("deploys/fixes/roll_back.py", "-y", "--data", "why=rollout 3 goes back", "--data", "hold=true")
    for _ in range(2):
        done = run(program("pyinfra"), inventory, *fix)
        assert done.status == 0, done.all
        assert version("tree") == "2.1.0"
    again = ok(converge(inventory=inventory))
    assert "held back, as this host has gone back from it: " in again.err
    assert version("tree") == "2.1.0"


def test_what_breaks_a_service_is_rolled_back_and_no_longer_pending(wanting, version) -> None:
    inventory = wanting('install="all", exclude=["curl*"]', "greeter-1.1")
    done = converge(inventory=inventory)
    assert done.status == 1, done.all
    assert "ROLLED BACK: the update broke services.unit[greeter.service].running. Its versions" in done.err, done.err
    assert version("greeter") == "1.0"
    again = ok(converge(inventory=inventory))
    assert "held back, as this host has gone back from it: greeter" in again.err
    assert version("greeter") == "1.0"


def test_a_dead_repository_is_trouble_and_not_nothing(wanting, on) -> None:
    inventory = wanting('install="all"', "greeter-1.1")
    on(NAME, "mv /var/cache/tdnf /var/cache/tdnf.away; sed -i s/packages.lab/nowhere.invalid/ /etc/yum.repos.d/*.repo")
    done = prove("--only", "update", inventory=inventory)
    on(NAME, "rm -rf /var/cache/tdnf; mv /var/cache/tdnf.away /var/cache/tdnf")
    assert done.status == 1, done.all
    assert "could not be read" in done.out, done.all
