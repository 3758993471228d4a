"""The hosts of an inventory as hosts that are to be made."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from deploys.errors import InputError
from deploys.vsphere.seed.first_boot import FirstBoot
from deploys.vsphere.seed.host import ROOT, NewHost
from deploys.vsphere.seed.kickstart import Kickstart
from inventories._merge import effective_of

if TYPE_CHECKING:
    from pyinfra.api.host import Host

_Asked = TypeVar("_Asked", FirstBoot, Kickstart)


def new_host(member: Host) -> NewHost:
    """What is known of a pyinfra host before its first boot.

    Raises:
        InputError: the inventory was not made with `fleet()`, or `first_boot` is something else.
    """
    user = member.data.get("ssh_user") or ROOT
    return NewHost(member.name, str(user), effective_of(member).policies, asked_of(member, "first_boot", FirstBoot))


def asked_of(member: Host, name: str, kind: type[_Asked]) -> _Asked:
    """What a host's data say beyond its policies, under `name`; the defaults of `kind` when they say nothing.

    Raises:
        InputError: it is of another kind.
    """
    found = member.data.get(name)
    if found is None:
        return kind()
    if not isinstance(found, kind):
        message = f"{member.name}: {name} is no {kind.__name__}(...)"
        raise InputError(message)
    return found
