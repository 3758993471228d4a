"""What is known of a cloud's machines, and what one is made from: plain values, the same for every cloud."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploys.errors import InputError
from deploys.vsphere.rows import Nic, Vm

MARK, MADE = "photon-fleet:id", "photon-fleet:instance"
"""What a machine of ours bears from its first moment: FLEET/HOST, and the token that it was asked for with."""
PENDING, RUNNING, STOPPING, STOPPED, GONE = "pending", "running", "stopping", "stopped", "gone"
"""The states that we know; a machine in another one is reported and left alone."""
KNOWN = (PENDING, RUNNING, STOPPING, STOPPED, GONE)
_POWER = {RUNNING: "on", STOPPED: "off"}


class CloudError(InputError):
    """A cloud refuses, cannot be reached, or has something else than it should."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk of a machine. `device` is its name there, `gib` its size; 0 when that is not known."""

    device: str
    id: str
    gib: int = 0


@dataclass(frozen=True)
class Instance:
    """A machine.

    Args:
        id: the cloud's own, which no other machine ever gets (EC2), or has in its zone (GCE).
        state: one of `KNOWN`, or the cloud's own word for another.
        tags: without our own marks; labels on GCE.
        groups: security groups on EC2, network tags on GCE.
    """

    id: str
    name: str
    place: str
    zone: str
    state: str
    mark: str = ""
    made: str = ""
    size: str = ""
    image: str = ""
    subnet: str = ""
    groups: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()

    def row(self) -> Vm:
        """As the inventory and its rules know machines: the networks are called private and public."""
        nics = (Nic(0, "private", "", self.private), Nic(1, "public", "", self.public))
        return Vm(
            moid=self.id, name=self.name or self.id, folder=(self.place, self.zone), uuid=self.id,
            power=_POWER.get(self.state, self.state), tools=True, nics=nics,
            tags={key: (value,) for key, value in self.tags.items()},
        )  # fmt: skip


@dataclass(frozen=True)
class NewDisk:
    """A disk that a machine is made with. `kind` is the cloud's, such as gp3; its default when None."""

    device: str
    gib: int
    kind: str | None = None


@dataclass(frozen=True)
class Order:
    """A machine that is to be made. `token` makes it one machine, however often it is asked for."""

    token: str
    mark: str
    name: str
    image: str
    size: str
    user_data: str
    subnet: str | None = None
    groups: Sequence[str] = ()
    public_address: bool | None = None
    root_gib: int | None = None
    disks: Sequence[NewDisk] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


class Cloud(ABC):
    """What each cloud can do. Every method raises `CloudError` when the cloud refuses or does not answer."""

    place: str

    @abstractmethod
    def all(self) -> list[Instance]:
        """All machines, without the sizes of their disks."""

    @abstractmethod
    def ours(self, ids: Sequence[str] = ()) -> list[Instance]:
        """The machines that bear a mark of ours, and those of `ids` whatever they bear, with their disks."""

    @abstractmethod
    def make(self, order: Order) -> str:
        """Ask for a machine, and tell its id. The same order again makes no second one."""

    @abstractmethod
    def tag(self, machine: str, tags: Mapping[str, str]) -> None:
        """Give tags; others are left alone."""

    @abstractmethod
    def regroup(self, machine: str, groups: Sequence[str]) -> None:
        """Have just these groups."""

    @abstractmethod
    def resize(self, machine: str, size: str) -> None:
        """Make a stopped machine of another size."""

    @abstractmethod
    def grow(self, volume: Volume, gib: int) -> None:
        """Make a disk larger."""

    @abstractmethod
    def start(self, machine: str) -> None:
        """Begin to start it."""

    @abstractmethod
    def stop(self, machine: str) -> None:
        """Begin to shut it down."""

    @abstractmethod
    def terminate(self, machine: str) -> None:
        """Begin to remove it, with the disks that it was made with."""

    @abstractmethod
    def console(self, machine: str) -> str:
        """What it has written on its serial console; empty while the cloud has nothing of it."""


def token(mark: str, before: Iterable[str]) -> str:
    """The token of the machine that comes after others of the same host: the same in each run until it is there."""
    return hashlib.sha256("\0".join([mark, *sorted(before)]).encode()).hexdigest()[:32]


def facts_of(found: Instance) -> dict[str, Any]:
    """The value of `facts.cloud.CloudMachine`, without its address."""
    return {
        "id": found.id, "name": found.name, "state": found.state, "size": found.size, "subnet": found.subnet,
        "image": found.image, "groups": sorted(found.groups), "tags": dict(found.tags),
        "volumes": [{"device": each.device, "id": each.id, "gib": each.gib} for each in found.volumes],
    }  # fmt: skip
