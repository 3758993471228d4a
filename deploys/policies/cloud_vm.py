"""A machine on EC2 or GCE: what it is made from, and what it is kept like.

`deploys/vm.py` makes and keeps machines by this policy, as it does by the vm policy on a vCenter; the other entries
leave it alone. What the cloud must hold is read from it anew after the last change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, InstanceOf
from typing_extensions import override

from deploys.clouds.machine import MADE, MARK, NewDisk, Order
from deploys.policies.base import Check, Item, Policy, Risk, of_a_group
from deploys.policies.clouds import Ec2, Gce
from deploys.policies.types import Cidr, Line, Word
from deploys.vsphere.rows import AddressRule

_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_GCE_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9/][A-Za-z0-9_./-]*", value):
        message = f"{value!r}: letters, digits and _./- only, and no dash first"
        raise ValueError(message)
    return value


CloudName = Annotated[str, AfterValidator(_name)]
"""What a cloud calls an image, a network or a disk: ami-0abc, projects/acme/global/images/photon-5, /dev/sdf."""


class CloudDisk(Item):
    """A disk beside the image's own."""

    identity: ClassVar[str] = "device"

    device: CloudName
    """/dev/sdf on EC2 (the guest may call it otherwise: NVMe); on GCE below /dev/disk/by-id/google-."""
    gib: Annotated[int, Field(ge=1, le=65536)]
    """A disk that is larger is left alone, as none is ever made smaller."""
    kind: Word | None = None
    """gp3, pd-balanced; the cloud's default when not given. Of a new disk only."""


class CloudAddress(Item):
    """Which of the machine's addresses is the one to log in to."""

    identity: ClassVar[str] = "network"

    network: Literal["private", "public"] = "private"
    family: Literal[4, 6] = 4
    within: tuple[Cidr, ...] = ()


class CloudVm(Policy):
    """A machine on EC2 or GCE."""

    name: ClassVar[str] = "cloud_vm"
    risk: ClassVar[Risk] = Risk.NONE
    of_host: ClassVar[bool] = False

    provider: InstanceOf[Ec2] | InstanceOf[Gce] = of_a_group()
    """This, `image` and `size` must be given, by one of the groups of a host."""
    image: CloudName = of_a_group()
    """What it is made from, once: another image later changes nothing on a machine that is there."""
    size: Word = of_a_group()
    """t3.small, e2-small."""
    label: CloudName | None = None
    """Its name in the cloud; the host's own when not given."""
    subnet: CloudName | None = None
    """subnet-0abc; regions/europe-west3/subnetworks/web. The cloud's default when not given."""
    groups: tuple[Word, ...] = ()
    """Ids of security groups on EC2; network tags on GCE, which firewall rules name. None: left as they are."""
    public_address: bool | None = None
    """Whether it gets one when it is made; None: as the subnet says on EC2, and none on GCE."""
    root_gib: Annotated[int, Field(ge=1, le=65536)] | None = None
    """The image's own disk; as large as the image when not given."""
    disks: tuple[CloudDisk, ...] = ()
    tags: dict[CloudName, Line] = Field(default_factory=dict)
    """Tags on EC2, labels on GCE. Others are left alone."""
    power: Literal["on", "off"] = "on"
    address: CloudAddress = CloudAddress()
    may_cycle_power: bool = False
    """Let a change of `size` stop the machine and start it again; without it that is told, and refused."""

    fleet: Word = "photon-fleet"
    """Part of the mark that our machines bear: two fleets of one account have names of their own."""

    def label_of(self, host: str) -> str:
        """The machine's name in the cloud."""
        return self.label or host

    def mark_of(self, host: str) -> str:
        """What tells the machine of a host from all others."""
        return f"{self.fleet}/{host}"

    def address_rule(self) -> AddressRule:
        """Which of its addresses is the one to log in to."""
        return AddressRule(network=self.address.network, family=self.address.family, within=self.address.within)

    def order(self, host: str, token: str, user_data: str) -> Order:
        """What the machine of a host is made from."""
        return Order(
            token=token, mark=self.mark_of(host), name=self.label_of(host), image=self.image, size=self.size,
            user_data=user_data, subnet=self.subnet, groups=self.groups, public_address=self.public_address,
            root_gib=self.root_gib, disks=[NewDisk(each.device, each.gib, each.kind) for each in self.disks],
            tags=self.tags,
        )  # fmt: skip

    @override
    def problems(self) -> Iterable[str]:
        lacking = [name for name in ("provider", "image", "size") if not getattr(self, name)]
        if lacking:
            yield from (f"{name}: is not given" for name in lacking)
        elif isinstance(self.provider, Ec2):
            yield from self._wrong_on_ec2()
        else:
            yield from self._wrong_on_gce()

    def _wrong_on_ec2(self) -> Iterable[str]:
        if not re.fullmatch(r"ami-[0-9a-f]{8,17}", self.image):
            yield f"image: {self.image!r} is no id of an image such as ami-0123456789abcdef0"
        if self.subnet is not None and not re.fullmatch(r"subnet-[0-9a-f]{8,17}", self.subnet):
            yield f"subnet: {self.subnet!r} is no id of a subnet such as subnet-0123456789abcdef0"
        for group in self.groups:
            if not re.fullmatch(r"sg-[0-9a-f]{8,17}", group):
                yield f"groups: {group!r} is no id of a security group such as sg-0123456789abcdef0"
        for disk in self.disks:
            if not disk.device.startswith("/dev/"):
                yield f"disks[{disk.device}]: EC2 wants the name of a device such as /dev/sdf"
        for key in self.tags:
            if key in {MARK, MADE, "Name"} or key.startswith("aws:"):
                yield f"tags: {key!r} is not for the policy to give"

    def _wrong_on_gce(self) -> Iterable[str]:
        if self.label is not None and not _GCE_NAME.fullmatch(self.label):
            yield f"label: {self.label!r}: GCE wants small letters, digits and dashes, at most 63, a letter first"
        if "/images/" not in self.image:
            yield f"image: {self.image!r}: GCE wants projects/PROJECT/global/images/NAME, or .../images/family/NAME"
        for key, value in self.tags.items():
            if not _LABEL.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
                yield f"tags[{key}]: labels of GCE are small letters, digits, _ and -, at most 63; a letter first"

    @override
    def conflicts(self, others: Mapping[str, Policy]) -> Iterable[str]:
        if "vm" in others:
            yield "the host has a vm policy as well: its machine is on a vCenter, or in a cloud"

    @override
    def apply(self) -> None:
        """Nothing: the machine is the business of deploys/vm.py."""

    @override
    def checks(self) -> Iterable[Check]:
        return ()
