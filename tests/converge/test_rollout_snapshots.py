"""A rollout that takes a snapshot of each machine before it changes it: a bad commit takes its canary back to it.

The machines are clones of a simulated vCenter that are lab hosts; a snapshot is a copy of the host's disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.converge.conftest import program, run
from tests.converge.test_rollout import Repository, _made
from tests.converge.test_vsphere import login
from tests.rollout.receiver import receiving
from tests.vsphere import soap

pytestmark = pytest.mark.lab

NAMES = ("web-1", "db-1")
INVENTORY = """
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Root
from deploys.policies.files import File, Files
from deploys.policies.services import Service, Services
from deploys.policies.ssh import Ssh
from deploys.policies.vm import Adapter, Vm
from deploys.rollout.settings import Rollout, Share
from inventories._fleet import fleet, group, host
from inventories._lab import lab_machine, lab_vcenter

_data = lab_machine()
base = group(
    "base",
    Vm(vcenter=lab_vcenter(), template="DC0/photon-5", cluster="DC0_C0",
       adapters=[Adapter(index=0, network="VM Network")]),
    Accounts(root=Root(keys=_data["first_boot"].keys)),
    Ssh(root_login="prohibit-password"),
    {more}
)
web, db = group("web", Vm(folder="DC0/fleet/web")), group("db", Vm(folder="DC0/fleet/db"))
hosts = fleet(host("web-1", base, web, **_data), host("db-1", base, db, **_data))
rollout = Rollout(waves=[Share(count=1), Share()], snapshots=True, on_fail="all go back")
"""
GOOD = 'Files(files=[File(path="/etc/good", content="good")])'
BAD = (
    'Files(files=[File(path="/etc/bad", content="bad")]), Services(units=[Service(unit="nope.service", running=True)])'
)
"""What only this commit owns is not taken away by running the one before."""


class Fleet(Repository):
    def say(self, message: str, more: str) -> None:
        (self.path / "inventories/roll.py").write_text(INVENTORY.format(more=more))
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)


@pytest.fixture(scope="module")
def fleet(simulator, tmp_path_factory) -> Iterator[Fleet]:
    place = tmp_path_factory.mktemp("snapshots")
    with receiving() as desk:
        made = _made(Fleet(place / "repository", place / "state", desk))
        made.say("none", "")
        done = run(program("pyinfra"), made.path / "inventories/roll.py", "deploys/vm.py", "-y")
        assert done.status == 0, done.all
        yield made


def snapshots(simulator, name: str) -> list[str]:
    """Of which rollouts a machine has snapshots."""
    with soap.session(simulator) as content:
        found = soap.find(content, f"DC0/vm/fleet/{name.partition('-')[0]}/{name}").snapshot
        return [each.name.rpartition("-")[0] for each in found.rootSnapshotList] if found else []


def test_each_machine_has_a_snapshot_taken_before_it_is_changed(fleet, simulator) -> None:
    fleet.say("good", GOOD)
    done = fleet.deploys("rollout", "inventories/roll.py", "--why", "good")
    assert done.status == 0, done.all
    for name in NAMES:
        assert login(name, "cat /etc/good") == "good\n"
        assert snapshots(simulator, name) == ["rollout-1"]


def test_a_bad_commit_takes_its_canary_back_to_the_snapshot(fleet, simulator) -> None:
    before = {name: login(name, "cat /proc/sys/kernel/random/boot_id; cat /etc/ssh/ssh_host_*.pub") for name in NAMES}
    fleet.say("bad", f"{GOOD}, {BAD}")
    done = fleet.deploys("rollout", "inventories/roll.py", "--why", "bad", "--json")
    assert done.status == 5, done.all
    last = json.loads(done.out.splitlines()[-1])["progress"]
    assert last["state"] == "went back"
    (unwell,) = last["unwell"]
    assert (unwell["verdict"], unwell["back"]) == ("failed", "ok")
    assert "nope.service" in unwell["words"]
    canary = unwell["host"]
    (other,) = {*NAMES} - {canary}
    tree = login(canary, "ls /etc/good /etc/bad 2>/dev/null; cat /etc/ssh/ssh_host_*.pub")
    assert tree == "/etc/good\n" + before[canary].partition("\n")[2]
    assert login(other, "cat /proc/sys/kernel/random/boot_id") == before[other].partition("\n")[0] + "\n"
    assert login(canary, "cat /proc/sys/kernel/random/boot_id") != before[canary].partition("\n")[0] + "\n"
    assert (snapshots(simulator, canary), snapshots(simulator, other)) == (["rollout-1"], ["rollout-1"])
