"""Which machine is which host's, and that there is never a second one: against EC2's API, without pyinfra."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest

from deploys.clouds import crew as crews
from deploys.clouds.crew import Crew, Identity
from deploys.clouds.ec2 import Ec2Cloud, instance, request
from deploys.clouds.machine import GONE, CloudError, Instance, NewDisk, Order, Volume
from deploys.clouds.opened import opened
from deploys.clouds.proof import findings, wrong
from deploys.clouds.ready import Waiting
from deploys.errors import InputError
from deploys.policies.cloud_vm import CloudDisk, CloudVm
from deploys.policies.clouds import Ec2
from deploys.policies.secret import Secret
from deploys.vsphere.pins import Pin, pin
from deploys.vsphere.rows import AddressRule
from inventories import _clouds
from inventories._clouds import Ec2Connector, cloud_vms
from inventories._vsphere import Where

ORDER = Order("", "", "web-1", "ami-03cf127a", "t3.small", "#cloud-config\n{}\n", tags={"role": "web"})


@pytest.fixture
def region(aws, monkeypatch) -> Ec2:
    monkeypatch.setenv("T_ID", "AKIDTEST")
    monkeypatch.setenv("T_KEY", "not-a-secret")
    # Answers come at once here.
    monkeypatch.setattr(crews, "LOOK_SECONDS", 0.0)
    return Ec2(region="eu-central-1", endpoint=aws.url, key_id=Secret.env("T_ID"), secret_key=Secret.env("T_KEY"))


# It knows nothing of machines, and reading what boto3 knows of EC2 takes a second.
cloud_of = cache(Ec2Cloud)


def crew(region: Ec2, mark: str, written: str = "") -> Crew:
    """As a new run has it."""
    return Crew(cloud_of(region), {"web-1": Identity(mark, written)})


def make(member: Crew, mark: str, **more: object) -> str:
    member.make("web-1", lambda token: replace(ORDER, token=token, mark=mark, **more))
    found = member.seen("web-1")
    assert found is not None
    return found.id


def test_a_controller_that_dies_while_it_waits_for_an_answer_leaves_one_machine(aws, region) -> None:
    first = crew(region, "a/web-1")
    # Both looked before either has made it, as a run does whose look comes too early after one that died.
    second = crew(region, "a/web-1")
    assert first.seen("web-1") is second.seen("web-1") is None
    assert make(first, "a/web-1") == make(second, "a/web-1")
    bear = {"Key": "photon-fleet:id", "Value": "a/web-1"}
    assert sum(bear in each["Tags"] for each in aws.machines()) == 1


def test_one_that_was_asked_for_with_other_values_is_not_made_beside_it(aws, region) -> None:
    early, late = crew(region, "b/web-1"), crew(region, "b/web-1")
    assert late.seen("web-1") is None
    make(early, "b/web-1")
    with pytest.raises(CloudError, match=r"asked for with other values.*run again"):
        make(late, "b/web-1", size="t3.large")


def test_tokens_of_machines_that_are_gone_make_none_that_is_gone(aws, region) -> None:
    made = []
    for _ in range(3):
        made.append(make(crew(region, "c/web-1"), "c/web-1"))
        aws.client.terminate_instances(InstanceIds=[made[-1]])
        assert crew(region, "c/web-1", made[-1]).seen("web-1") is None
    assert len(set(made)) == 3


def test_two_machines_with_one_mark_are_left_alone(aws, region) -> None:
    one, two = (make(crew(region, f"d/web-{number}"), f"d/web-{number}") for number in (1, 2))
    aws.client.create_tags(Resources=[two], Tags=[{"Key": "photon-fleet:id", "Value": "d/web-1"}])
    with pytest.raises(CloudError, match="all bear the mark") as refused:
        crew(region, "d/web-1").seen("web-1")
    assert one in str(refused.value)
    assert two in str(refused.value)


def test_only_the_machine_that_is_written_down_is_removed(aws, region) -> None:
    there = make(crew(region, "e/web-1"), "e/web-1")
    with pytest.raises(CloudError, match="it is not removed"):
        crew(region, "e/web-1", "i-00000000000000000").terminate("web-1")
    with pytest.raises(CloudError, match="bears the mark 'e/web-1'"):
        crew(region, "other/web-1", there).terminate("web-1")
    assert there in {each["InstanceId"] for each in aws.machines()}
    crew(region, "e/web-1", there).terminate("web-1")
    assert there not in {each["InstanceId"] for each in aws.machines()}


def test_a_state_that_nobody_knows_is_told(aws, region) -> None:
    row = {"InstanceId": "i-1", "State": {"Name": "moving"}, "Tags": [{"Key": "photon-fleet:id", "Value": "f/web-1"}]}

    class Odd:
        place = "ec2:eu-central-1"

        def ours(self, _ids):
            return [instance(row, self.place, {})]

    with pytest.raises(CloudError, match="i-1 is moving, a state that is not known here"):
        Crew(Odd(), {"web-1": Identity("f/web-1")}).seen("web-1")


def test_a_key_that_is_pinned_serves_without_the_console(aws, region, tmp_path) -> None:
    member = crew(region, "g/web-1")
    make(member, "g/web-1")
    found = member.seen("web-1")
    rules = {"web-1": AddressRule(network="private")}
    known_hosts = tmp_path / "known_hosts"
    guests = Waiting(member, rules)
    assert not guests.is_settled("web-1", known_hosts)
    # As before the machine was stopped and started, which gave it another address.
    pin(known_hosts, Pin("web-1", "192.0.2.1", "ssh-ed25519 AAAA", found.made))
    assert not guests.is_settled("web-1", known_hosts)
    aws.tell(reset=True)
    guests.wait_and_pin("web-1", known_hosts, 0)
    assert guests.is_settled("web-1", known_hosts)
    assert "GetConsoleOutput" not in aws.calls()
    # A person's line, for this address.
    known_hosts.write_text(f"web-1,{found.private[0]} ssh-ed25519 BBBB\n")
    assert guests.is_settled("web-1", known_hosts)


def test_a_guest_that_says_nothing_or_that_it_failed(aws, region, tmp_path) -> None:
    member = crew(region, "h/web-1")
    machine = make(member, "h/web-1")
    guests = Waiting(member, {"web-1": AddressRule(network="private")})
    with pytest.raises(CloudError, match="not ready after 0 s: its console does not say"):
        guests.wait_and_pin("web-1", tmp_path / "known_hosts", 0)
    found = member.seen("web-1")
    aws.tell(console={"id": machine, "text": f"photon-fleet:{found.made}:failed sshd does not run\n"})
    with pytest.raises(CloudError, match="first boot of web-1 failed, as its guest says: sshd does not run"):
        guests.wait_and_pin("web-1", tmp_path / "known_hosts", 0)
    assert not (tmp_path / "known_hosts").exists()


def test_the_inventory_of_a_region(aws, region, monkeypatch) -> None:
    machine = make(crew(region, "i/web-1"), "i/web-1", tags={"role": "inventory"}, public_address=True)
    (found,) = cloud_vms(region, where=Where(tags={"role": "inventory"}), address=AddressRule(network="public"))
    described = next(each for each in aws.machines() if each["InstanceId"] == machine)
    assert (found.name, found.data["ssh_hostname"]) == ("web-1", described["PublicIpAddress"])
    aws.client.stop_instances(InstanceIds=[machine])
    (found,) = cloud_vms(region, where=Where(tags={"role": "inventory"}))
    assert found.data["ssh_why_not"] == "it is off"
    aws.client.start_instances(InstanceIds=[machine])
    monkeypatch.setattr(_clouds, "Ec2", lambda **_: region)
    ((name, data, groups),) = Ec2Connector.make_names_data("eu-central-1?tag=role:inventory")
    assert (name, data["ssh_hostname"]) == ("web-1", described["PrivateIpAddress"])
    assert "tag_role_inventory" in groups
    assert "power_on" in groups
    with pytest.raises(InputError, match="@ec2/eu-central-1\\?tag=role:none: no machine"):
        list(Ec2Connector.make_names_data("eu-central-1?tag=role:none"))


def test_a_service_that_is_not_there_is_one_sentence_without_secrets(region) -> None:
    away = region.model_copy(update={"endpoint": "http://127.0.0.1:9"})
    cloud = Ec2Cloud(away)
    cloud._client.meta.config.retries["total_max_attempts"] = 1
    with pytest.raises(CloudError, match="the description of machines: Could not connect") as refused:
        cloud.all()
    assert "not-a-secret" not in str(refused.value)


def test_a_library_that_is_not_installed_is_named(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name="boto3")

    monkeypatch.setattr("deploys.clouds.opened.import_module", missing)
    with pytest.raises(InputError, match=r"ec2:eu-central-1 needs boto3.*\[clouds\]"):
        opened(Ec2(region="eu-central-1"))


def test_what_is_asked_of_ec2() -> None:
    order = replace(ORDER, token="t", mark="f/h", subnet="subnet-1", groups=["sg-1"], public_address=False, root_gib=20,
                    disks=[NewDisk("/dev/sdf", 5, "gp3")])  # fmt: skip
    asked = request(order, "/dev/xvda")
    assert asked["ClientToken"] == "t"
    assert asked["MetadataOptions"]["HttpTokens"] == "required"
    assert [each["DeviceName"] for each in asked["BlockDeviceMappings"]] == ["/dev/xvda", "/dev/sdf"]
    assert asked["NetworkInterfaces"] == [
        {"DeviceIndex": 0, "SubnetId": "subnet-1", "Groups": ["sg-1"], "AssociatePublicIpAddress": False}
    ]
    for tagged in asked["TagSpecifications"]:
        assert {"Key": "photon-fleet:id", "Value": "f/h"} in tagged["Tags"]


def test_user_data_that_is_too_large_is_refused_before_ec2_is_asked() -> None:
    noise = json.dumps([hash((number, "x")) for number in range(20000)])
    with pytest.raises(CloudError, match="EC2 takes 16,384"):
        request(replace(ORDER, user_data=noise), "")


def test_one_that_is_gone_is_none() -> None:
    assert instance({"InstanceId": "i-1", "State": {"Name": "shutting-down"}}, "ec2:x", {}).state == GONE


def test_what_is_not_as_the_policy_says_is_told(aws, region) -> None:
    policy = CloudVm(provider=region, image=ORDER.image, size="t3.small", tags={"role": "web"}, fleet="p",
                     disks=[CloudDisk(device="/dev/sdf", gib=5)], groups=["sg-0123abcd"])  # fmt: skip
    right = Instance("i-1", "web-1", "", "", "running", "p/web-1", size="t3.small", tags={"role": "web"},
                     groups=("sg-0123abcd",), volumes=(Volume("/dev/sdf", "vol-1", 6),))  # fmt: skip
    assert wrong(right, "web-1", policy) == []
    other = replace(right, mark="", size="t3.large", tags={}, groups=(), volumes=(), state="stopped")
    fields = [line.partition(":")[0] for line in wrong(other, "web-1", policy)]
    assert fields == ["fleet", "size", "tags[role]", "groups", "disks[/dev/sdf]", "power"]
    member = crew(region, "p/web-1")
    assert findings(member, "web-1", policy, 0) == ["there is no machine any more"]


def test_one_that_only_begins_to_run_is_told_to_stop_when_it_runs(monkeypatch) -> None:
    monkeypatch.setattr(crews, "LOOK_SECONDS", 0.0)
    states = ["pending", "pending", "running", "running", "stopping", "stopped"]
    told = []

    class Slow:
        place = "ec2:eu-central-1"

        def ours(self, _ids):
            state = states.pop(0) if len(states) > 1 else states[0]
            return [Instance("i-1", "web-1", "", "", state, "f/web-1")]

        def stop(self, machine):
            told.append((machine, states[0]))

    member = Crew(Slow(), {"web-1": Identity("f/web-1")})
    member.stop("web-1")
    assert told == [("i-1", "running")]
    assert member.seen("web-1").state == "stopped"
