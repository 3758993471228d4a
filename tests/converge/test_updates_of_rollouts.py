"""What goes back with a rollout: all that it has installed on a host, by however many runs, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.converge.conftest import Done, changes, converge, program, run

pytestmark = pytest.mark.lab

NAME = "upr-1"
TEXT = """
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.update import Update
from inventories._fleet import fleet, host
from inventories._lab import lab_key

hosts = fleet(
    host(
        "upr-1",
        Packages(
            keys=[SigningKey(name="photon-lab", **lab_key())],
            repositories=[
                Repository(id=name, url=f"http://packages.lab/{name}", key="photon-lab")
                for name in ("photon", "photon-updates")
            ],
            present=PRESENT,
        ),
        Update(install="all", exclude=EXCLUDE),
    ),
    connector="lab",
)
"""
RECORDS = 2
"""Changes of a fix that changes nothing: it takes note of the record of the one before, and leaves its own."""
NOT_CURL, NOT_OPENSSL = "curl*", "openssl*"


@pytest.fixture(scope="module")
def place(lab, tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("rollouts")


@pytest.fixture
def rolled_out(place):
    """What a run of a rollout does on the host."""

    def rollout(of: str, *exclude: str, present: tuple[str, ...] = ()) -> Done:
        path = place / "host.py"
        path.write_text(TEXT.replace("PRESENT", repr(present)).replace("EXCLUDE", repr(exclude)))
        done = converge("--data", f"of={of}", inventory=str(path))
        assert done.line(f"{NAME}: ok; "), done.all
        return done

    return rollout


@pytest.fixture
def fix(place):
    """A fix by hand, or as a rollout's way back runs it."""

    def command(name: str, *data: str) -> Done:
        words = [word for pair in ("why=test", *data) for word in ("--data", pair)]
        return run(program("pyinfra"), place / "host.py", f"deploys/fixes/{name}.py", "-y", "--json", *words)

    return command


@pytest.fixture
def packages(on):
    return lambda: on(NAME, "rpm -qa | grep -v gpg-pubkey | sort")


@pytest.fixture
def held(on):
    return lambda: on(NAME, "cat /var/lib/photon-fleet/update/held 2>/dev/null", check=False)


def test_a_rollout_that_installed_nothing_takes_nothing_back(rolled_out, fix, packages, held, on) -> None:
    rolled_out("rollout-10", NOT_CURL, NOT_OPENSSL)
    none = fix("roll_back", "of=rollout-10", "hold=true")
    assert none.status == 0, none.all
    assert "rollout-10 has installed nothing on this host that could go back" in none.err
    on(NAME, "tdnf -q -y install tree-2.1.0")
    rolled_out("rollout-11", NOT_CURL, NOT_OPENSSL)
    # By the next rollout's policy and by a person; neither is an update.
    rolled_out("rollout-12", NOT_CURL, NOT_OPENSSL, present=("docker",))
    on(NAME, "tdnf -q -y install htop")
    before = packages()
    assert "tree-2.1.1-" in before
    assert "docker-20.10.24-" in before
    for _ in range(2):
        done = fix("roll_back", "of=rollout-12", "hold=true")
        assert done.status == 0, done.all
        assert "rollout-12 has installed nothing on this host that could go back" in done.err
    assert (packages(), held()) == (before, "")


def test_what_came_by_several_runs_of_a_rollout_goes_back_at_once(rolled_out, fix, packages, held) -> None:
    before = packages()
    rolled_out("rollout-13", NOT_OPENSSL, present=("docker",))
    rolled_out("rollout-13", NOT_OPENSSL, present=("docker",))
    assert "curl-8.12.0-" in packages()
    rolled_out("rollout-13", present=("docker",))
    assert "openssl-3.0.16-" in packages()
    for _ in range(2):
        done = fix("roll_back", "of=rollout-13", "hold=true")
        assert done.status == 0, done.all
        assert packages() == before
    assert changes(done)["success"] == RECORDS
    assert [line.split()[0] for line in held().splitlines()] == ["curl", "curl-libs", "openssl", "openssl-libs"]
    again = rolled_out("rollout-14", present=("docker",))
    assert "held back, as this host has gone back from it: curl, curl-libs, openssl, openssl-libs" in again.err
    assert packages() == before


def test_what_lies_below_another_update_is_not_said_to_have_gone_back(fix, packages) -> None:
    before = packages()
    done = fix("roll_back", "of=rollout-11", "hold=true")
    assert done.status == 1, done.all
    assert "what rollout-11 has installed cannot go back by itself any more: the update of 20" in done.err
    assert packages() == before
    assert "refused: to= and of= are two ways back" in fix("roll_back", "of=rollout-11", "to=1").err
    assert "--data of=-x: the name of a rollout, such as rollout-12" in fix("roll_back", "of=-x").err
