"""EC2, by boto3. Calls are few and plain: machines are described as a whole, and changed one at a time.

Source of the formats: the EC2 API's RunInstances, DescribeInstances, DescribeVolumes, GetConsoleOutput.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from typing_extensions import override

from deploys.clouds.machine import (
    GONE,
    MADE,
    MARK,
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    Cloud,
    CloudError,
    Instance,
    Order,
    Volume,
)
from deploys.policies.clouds import Ec2

USER_DATA_BYTES = 16 * 1024
"""Of user data, before it is encoded; EC2's own limit."""
_STATES = {"pending": PENDING, "running": RUNNING, "stopping": STOPPING, "stopped": STOPPED,
           "shutting-down": GONE, "terminated": GONE}  # fmt: skip
_IDS = 200
"""How many values a filter may have."""
# What is asked for again by itself: a write only as far as it makes nothing twice (RunInstances has its token).
_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10, read_timeout=60)


class Ec2Cloud(Cloud):
    """A region of EC2; see `deploys.clouds.machine.Cloud`."""

    def __init__(self, settings: Ec2) -> None:
        self.place = settings.place
        secret = {}
        if settings.key_id is not None and settings.secret_key is not None:
            secret = {
                "aws_access_key_id": settings.key_id.resolve(),
                "aws_secret_access_key": settings.secret_key.resolve(),
            }
        with self._calling("the session"):
            session = boto3.Session(profile_name=settings.profile, **secret)
            self._client: Any = session.client(
                "ec2", region_name=settings.region, endpoint_url=settings.endpoint, config=_CONFIG
            )
        self._roots: dict[str, str] = {}

    @contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            said = error.response.get("Error", {})
            code, words = said.get("Code", "no code"), str(said.get("Message", "")).rstrip(".") or "no words"
            message = f"{self.place} refuses {what}: {words} ({code})"
            if code == "IdempotentParameterMismatch":
                message += (
                    ". A machine of this host was asked for with other values, and EC2 does not show it yet: run again "
                    "in some minutes. When there is none, write its old id into the record of machines"
                )
            raise CloudError(message) from error
        except (BotoCoreError, ResponseParserError) as error:
            message = f"{self.place}: {what}: {str(error).splitlines()[0].rstrip('.')}"
            raise CloudError(message) from error

    @override
    def all(self) -> list[Instance]:
        return [instance(each, self.place, {}) for each in self._described([])]

    @override
    def ours(self, ids: Sequence[str] = ()) -> list[Instance]:
        found = {each["InstanceId"]: each for each in self._described([{"Name": "tag-key", "Values": [MARK]}])}
        rest = sorted(set(ids) - set(found))
        for first in range(0, len(rest), _IDS):
            more = self._described([{"Name": "instance-id", "Values": rest[first : first + _IDS]}])
            found |= {each["InstanceId"]: each for each in more}
        sizes: dict[str, int] = {}
        if found:
            filters = [{"Name": "tag-key", "Values": [MARK]}]
            for page in self._pages("describe_volumes", "the description of volumes", Filters=filters):
                sizes |= {each["VolumeId"]: int(each["Size"]) for each in page["Volumes"]}
        return [instance(each, self.place, sizes) for each in found.values()]

    def _described(self, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        pages = self._pages(
            "describe_instances", "the description of machines", **({"Filters": filters} if filters else {})
        )
        return [each for page in pages for group in page["Reservations"] for each in group["Instances"]]

    def _pages(self, call: str, what: str, **arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        with self._calling(what):
            return list(self._client.get_paginator(call).paginate(PaginationConfig={"PageSize": 1000}, **arguments))

    @override
    def make(self, order: Order) -> str:
        root = self._root(order.image) if order.root_gib is not None else ""
        asked = request(order, root)
        with self._calling(f"to make {order.name}"):
            return str(self._client.run_instances(**asked)["Instances"][0]["InstanceId"])

    def _root(self, image: str) -> str:
        """What the image calls its first disk."""
        if image not in self._roots:
            with self._calling(f"the description of {image}"):
                found = self._client.describe_images(ImageIds=[image])["Images"]
            if not found:
                message = f"{self.place} has no image {image}, or does not show it"
                raise CloudError(message)
            self._roots[image] = found[0]["RootDeviceName"]
        return self._roots[image]

    @override
    def tag(self, machine: str, tags: Mapping[str, str]) -> None:
        with self._calling(f"the tags of {machine}"):
            self._client.create_tags(Resources=[machine], Tags=_pairs(tags))

    @override
    def regroup(self, machine: str, groups: Sequence[str]) -> None:
        with self._calling(f"the security groups of {machine}"):
            self._client.modify_instance_attribute(InstanceId=machine, Groups=list(groups))

    @override
    def resize(self, machine: str, size: str) -> None:
        with self._calling(f"the size {size} of {machine}"):
            self._client.modify_instance_attribute(InstanceId=machine, InstanceType={"Value": size})

    @override
    def grow(self, volume: Volume, gib: int) -> None:
        with self._calling(f"{gib} GiB of {volume.id}"):
            self._client.modify_volume(VolumeId=volume.id, Size=gib)

    @override
    def start(self, machine: str) -> None:
        with self._calling(f"to start {machine}"):
            self._client.start_instances(InstanceIds=[machine])

    @override
    def stop(self, machine: str) -> None:
        with self._calling(f"to stop {machine}"):
            self._client.stop_instances(InstanceIds=[machine])

    @override
    def terminate(self, machine: str) -> None:
        with self._calling(f"to terminate {machine}"):
            self._client.terminate_instances(InstanceIds=[machine])

    @override
    def console(self, machine: str) -> str:
        with self._calling(f"the console of {machine}"):
            try:
                # The newest output, which machines on Nitro give; others know only what EC2 keeps from time to time.
                found = self._client.get_console_output(InstanceId=machine, Latest=True)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "UnsupportedOperation":
                    raise
                found = self._client.get_console_output(InstanceId=machine)
        return str(found.get("Output") or "")


def request(order: Order, root: str) -> dict[str, Any]:
    """The arguments of RunInstances. `root` is what the image calls its first disk, when that has a size.

    Raises:
        CloudError: the user data is too large.
    """
    data = gzip.compress(order.user_data.encode(), mtime=0)
    if len(data) > USER_DATA_BYTES:
        message = (
            f"{order.name}: its user data takes {len(data):,} bytes, and EC2 takes {USER_DATA_BYTES:,}. The first boot "
            "needs what lets the first login in; leave the rest to deploys/host.py"
        )
        raise CloudError(message)
    marks = {MARK: order.mark, MADE: order.token}
    disks = [_disk(root, order.root_gib, None)] if order.root_gib is not None else []
    disks += [_disk(disk.device, disk.gib, disk.kind) for disk in order.disks]
    card = {"DeviceIndex": 0, **({"SubnetId": order.subnet} if order.subnet else {}),
            **({"Groups": list(order.groups)} if order.groups else {}),
            **({} if order.public_address is None else {"AssociatePublicIpAddress": order.public_address})}  # fmt: skip
    return {
        "ClientToken": order.token, "MinCount": 1, "MaxCount": 1, "ImageId": order.image, "InstanceType": order.size,
        "UserData": data, "NetworkInterfaces": [card],
        **({"BlockDeviceMappings": disks} if disks else {}),
        # Without a token a program that can be made to fetch an address reads the user data; containers are a hop away.
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "InstanceInitiatedShutdownBehavior": "stop",
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": _pairs({"Name": order.name, **order.tags, **marks})},
            {"ResourceType": "volume", "Tags": _pairs({"Name": order.name, **marks})},
        ],
    }  # fmt: skip


def _disk(device: str, gib: int | None, kind: str | None) -> dict[str, Any]:
    volume = {"VolumeSize": gib, "DeleteOnTermination": True, **({"VolumeType": kind} if kind else {})}
    return {"DeviceName": device, "Ebs": volume}


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def instance(found: Mapping[str, Any], place: str, sizes: Mapping[str, int]) -> Instance:
    """A machine, as DescribeInstances tells it. `sizes`: id of a volume -> GiB."""
    tags = {each["Key"]: each["Value"] for each in found.get("Tags", ())}
    state = found["State"]["Name"]
    cards = sorted(
        found.get("NetworkInterfaces", ()), key=lambda card: card.get("Attachment", {}).get("DeviceIndex", 0)
    )
    addresses = [each for card in cards for each in card.get("PrivateIpAddresses", ())]
    private = [each["PrivateIpAddress"] for each in addresses if each.get("PrivateIpAddress")]
    public = [each["Association"]["PublicIp"] for each in addresses if each.get("Association", {}).get("PublicIp")]
    sixes = [each["Ipv6Address"] for card in cards for each in card.get("Ipv6Addresses", ())]
    return Instance(
        id=found["InstanceId"], name=tags.get("Name", ""), place=place,
        zone=found.get("Placement", {}).get("AvailabilityZone", ""), state=_STATES.get(state, state),
        mark=tags.get(MARK, ""), made=tags.get(MADE, ""), size=found.get("InstanceType", ""),
        image=found.get("ImageId", ""), subnet=found.get("SubnetId", ""),
        groups=tuple(each["GroupId"] for each in found.get("SecurityGroups", ())),
        private=(*private, *sixes), public=tuple(public),
        tags={key: value for key, value in tags.items() if key not in {MARK, MADE, "Name"}},
        volumes=tuple(
            Volume(each["DeviceName"], each["Ebs"]["VolumeId"], sizes.get(each["Ebs"]["VolumeId"], 0))
            for each in found.get("BlockDeviceMappings", ()) if "Ebs" in each
        ),
    )  # fmt: skip
