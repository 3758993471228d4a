"""deploys/vm.py against EC2's API, with a guest that speaks on its console: made, kept, and found again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deploys.vsphere.seed.host_keys import HostKey

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = """
from deploys.policies.clouds import Ec2
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Root
from deploys.policies.cloud_vm import CloudDisk, CloudVm
from deploys.policies.secret import Secret
from inventories._fleet import fleet, group, host

REGION = Ec2(region="eu-central-1", endpoint="{url}", key_id=Secret.env("T_ID"), secret_key=Secret.env("T_KEY"))
base = group(
    "base",
    CloudVm(provider=REGION, image="{image}", size="{size}", root_gib=20,
            disks=[CloudDisk(device="/dev/sdf", gib={gib})], tags={{"role": "web"}}, fleet="bring-up",
            may_cycle_power={cycle}, power="{power}"),
    Accounts(root=Root(keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA1ur7H0n3ClJWM9aHyz1dIsGzwFm0BZ8x0bDRdvx7Cl a"])),
)
hosts = fleet(*(
    host(name, base, ssh_user="root", vm_record="{here}/vms.json", ssh_known_hosts_file="{here}/known_hosts")
    for name in ("web-1", "web-2")
))
"""


class Fleet:
    def __init__(self, aws, here: Path) -> None:
        self.aws, self.here, self.keys = aws, here, {}

    def run(
        self,
        *more: str,
        entry: str = "vm.py",
        size: str = "t3.small",
        gib: int = 5,
        cycle: bool = False,
        power: str = "on",
    ):
        image = "ami-03cf127a"
        text = INVENTORY.format(
            url=self.aws.url, image=image, here=self.here, size=size, gib=gib, cycle=cycle, power=power
        )
        (self.here / "inventory.py").write_text(text)
        self.aws.tell(reset=True)
        environment = {**os.environ, "T_ID": "AKIDTEST", "T_KEY": "very-secret-key"}
        program = Path(sys.executable).with_name("pyinfra")
        done = subprocess.run(
            [program, self.here / "inventory.py", f"deploys/{entry}", "-y", "--data", "seconds=60", *more],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert "very-secret-key" not in done.stdout + done.stderr
        return done

    def machines(self) -> dict[str, dict]:
        found = {}
        for each in self.aws.machines():
            tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
            if tags.get("photon-fleet:id", "").startswith("bring-up/"):
                found[tags["Name"]] = {**each, "tags": tags}
        return found

    def speak(self) -> None:
        """What each new guest says of itself, as templates/seed/ready.sh.j2 has it."""
        for name, machine in self.machines().items():
            if name not in self.keys:
                self.keys[name] = HostKey.make().public
                token = machine["tags"]["photon-fleet:instance"]
                text = (
                    f"boot\r\nphoton-fleet:{token}:hostkey {self.keys[name]}\r\nphoton-fleet:{token}:ready {token}\r\n"
                )
                self.aws.tell(console={"id": machine["InstanceId"], "text": text})


@pytest.fixture(scope="module")
def fleet(aws, tmp_path_factory):
    made = Fleet(aws, tmp_path_factory.mktemp("clouds"))
    over = threading.Event()

    def guests() -> None:
        while not over.wait(0.5):
            if len(made.keys) < 2:
                made.speak()

    speaking = threading.Thread(target=guests, daemon=True)
    speaking.start()
    yield made
    over.set()
    speaking.join()


def test_1_a_lost_answer_and_a_throttled_one_make_two_machines_not_three(fleet) -> None:
    fleet.aws.tell(fault={"action": "RunInstances", "mode": "lost"})
    fleet.aws.tell(fault={"action": "DescribeInstances", "mode": "throttle", "times": 2})
    done = fleet.run()
    assert done.returncode == 0, done.stderr
    assert fleet.aws.calls()["RunInstances"] == 3
    machines = fleet.machines()
    assert sorted(machines) == ["web-1", "web-2"]
    record = json.loads((fleet.here / "vms.json").read_text())
    pins = (fleet.here / "known_hosts").read_text()
    for name, machine in machines.items():
        assert record[name] == {"vcenter": "ec2:eu-central-1", "uuid": machine["InstanceId"],
                                "address": machine["PrivateIpAddress"]}  # fmt: skip
        assert f"{name},{machine['PrivateIpAddress']} {fleet.keys[name]} photon-fleet:" in pins
        assert machine["tags"]["role"] == "web"


def test_2_the_second_run_changes_nothing_and_asks_twice(fleet) -> None:
    done = fleet.run()
    assert "web-1: ok; 0 changes" in done.stderr, done.stderr
    assert fleet.aws.calls() == {"DescribeInstances": 1, "DescribeVolumes": 1}


def test_3_what_was_changed_by_hand_is_mended_and_what_needs_a_stop_is_refused(fleet) -> None:
    machine = fleet.machines()["web-1"]["InstanceId"]
    tags = [{"Key": "role", "Value": "db"}, {"Key": "own", "Value": "x"}]
    fleet.aws.client.create_tags(Resources=[machine], Tags=tags)
    fleet.aws.client.stop_instances(InstanceIds=[machine])
    done = fleet.run(size="t3.large")
    # The one that is stopped already may have its size.
    assert "web-1: ok; 3 changes" in done.stderr, done.stderr
    assert "web-2: FAILED; 0 changes" in done.stderr, done.stderr
    assert "may_cycle_power=True" in done.stderr
    found = fleet.machines()
    tags = found["web-1"]["tags"]
    assert (tags["role"], tags["own"], found["web-1"]["State"]["Name"]) == ("web", "x", "running")
    assert {name: each["InstanceType"] for name, each in found.items()} == {"web-1": "t3.large", "web-2": "t3.small"}


def test_4_a_machine_is_stopped_for_its_size_when_it_may_be_and_disks_grow(fleet) -> None:
    done = fleet.run(size="t3.large", gib=7, cycle=True)
    assert "web-1: ok; 1 change\n" in done.stderr, done.stderr
    assert "web-2: ok; 3 changes" in done.stderr, done.stderr
    found = {(each["InstanceType"], each["State"]["Name"]) for each in fleet.machines().values()}
    assert found == {("t3.large", "running")}
    sizes = [each["Size"] for each in fleet.aws.client.describe_volumes()["Volumes"]]
    assert sorted(sizes)[:2] == [7, 7]


def test_5_a_machine_that_was_terminated_is_made_anew_with_a_new_key(fleet) -> None:
    before = fleet.machines()["web-2"]
    fleet.aws.client.terminate_instances(InstanceIds=[before["InstanceId"]])
    old = fleet.keys.pop("web-2")
    done = fleet.run("--limit", "web-2", size="t3.large", gib=7)
    assert done.returncode == 0, done.stderr
    after = fleet.machines()["web-2"]
    assert after["InstanceId"] != before["InstanceId"]
    pins = (fleet.here / "known_hosts").read_text()
    assert fleet.keys["web-2"] in pins
    assert old not in pins


def test_6_what_is_not_ours_is_left_alone(fleet) -> None:
    machine = fleet.machines()["web-1"]
    fleet.aws.client.create_tags(
        Resources=[machine["InstanceId"]], Tags=[{"Key": "photon-fleet:id", "Value": "other/web-1"}]
    )
    done = fleet.run(size="t3.large", gib=7, power="off")
    assert done.returncode == 1
    assert f"{machine['InstanceId']} is written down as web-1's, and it bears the mark 'other/web-1'" in done.stderr
    assert "web-2: ok; 1 change" in done.stderr
    assert fleet.machines()["web-2"]["State"]["Name"] == "stopped"


def test_7_a_machine_is_removed_when_it_is_named_and_ours(fleet) -> None:
    before = fleet.machines()
    fix = {"entry": "fixes/vm_terminate.py", "size": "t3.large"}
    pattern = fleet.run("--limit", "web-*", "--data", "why=test", **fix)
    assert pattern.returncode == 1
    assert "name each host by a --limit of its own" in pattern.stderr
    assert fleet.machines() == before
    done = fleet.run("--limit", "web-1", "--limit", "web-2", "--data", "why=test", **fix)
    assert done.returncode == 1
    # web-1 bears another mark since the test before this one.
    assert "web-1: FAILED; 0 changes" in done.stderr, done.stderr
    assert "web-2: ok; 1 change" in done.stderr, done.stderr
    left = {each["InstanceId"] for each in fleet.aws.machines()}
    assert before["web-2"]["InstanceId"] not in left
    assert json.loads((fleet.here / "vms.json").read_text())["web-2"] == {
        "vcenter": "ec2:eu-central-1", "uuid": before["web-2"]["InstanceId"], "address": "",
    }  # fmt: skip
