"""The cloud_vm policy: what each cloud would refuse is refused before it is asked."""

from __future__ import annotations

import pytest

from deploys.errors import InputError
from deploys.policies.cloud_vm import CloudDisk, CloudVm
from deploys.policies.clouds import Ec2, Gce
from deploys.policies.secret import Secret

EC2 = Ec2(region="eu-central-1")
GCE = Gce(project="acme-prod", zone="europe-west3-a")
AMI, IMAGE = "ami-0123456789abcdef0", "projects/acme-prod/global/images/photon-5"


def problems(**more: object) -> list[str]:
    return list(CloudVm(**{"provider": EC2, "image": AMI, "size": "t3.small", **more}).problems())


def test_what_is_right_has_no_problems() -> None:
    assert problems(subnet="subnet-0123abcd", groups=["sg-0123abcd"], disks=[CloudDisk(device="/dev/sdf", gib=1)]) == []
    assert problems(provider=GCE, image=IMAGE, size="e2-small", tags={"role": "web"}, groups=["web"]) == []


@pytest.mark.parametrize(
    ("given", "begin", "end"),
    [
        ({"image": IMAGE}, "image: ", "ami-0123456789abcdef0"),
        ({"subnet": "web"}, "subnet: 'web' is no id", "subnet-0123456789abcdef0"),
        ({"groups": ["web"]}, "groups: 'web' is no id", "sg-0123456789abcdef0"),
        ({"disks": [CloudDisk(device="data", gib=1)]}, "disks[data]: ", "/dev/sdf"),
        ({"tags": {"Name": "x"}}, "tags: 'Name'", "give"),
        ({"provider": GCE}, "image: ", "family/NAME"),
        ({"provider": GCE, "image": IMAGE, "tags": {"Role": "web"}}, "tags[Role]: ", "first"),
        ({"provider": GCE, "image": IMAGE, "label": "Web_1"}, "label: 'Web_1'", "first"),
    ],
)
def test_what_a_cloud_would_refuse(given: dict[str, object], begin: str, end: str) -> None:
    (found,) = problems(**given)
    assert found.startswith(begin)
    assert found.endswith(end)


def test_a_host_has_one_machine() -> None:
    policy = CloudVm(provider=EC2, image=AMI, size="t3.small")
    assert list(policy.conflicts({})) == []
    assert "on a vCenter, or in a cloud" in "".join(policy.conflicts({"vm": policy}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"region": "Frankfurt"},
        {"region": "eu-central-1", "endpoint": "file:///etc/passwd"},
        {"region": "eu-central-1", "key_id": Secret.env("A")},
        {"region": "eu-central-1", "profile": "-x"},
    ],
)
def test_settings_that_are_none(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Ec2(**wrong)


@pytest.mark.parametrize("wrong", [{"size": "-x"}, {"image": "-x"}, {"provider": "ec2"}, {"disks": [{"gib": 1}]}])
def test_fields_that_are_none(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        problems(**wrong)


def test_what_is_shown_of_it_has_references_for_secrets() -> None:
    provider = Ec2(region="eu-central-1", key_id=Secret.env("A"), secret_key=Secret.env("B"))
    shown = CloudVm(provider=provider, image=AMI, size="t3.small").to_json()
    assert shown["provider"]["secret_key"] == {"kind": "env", "reference": ["B"]}
