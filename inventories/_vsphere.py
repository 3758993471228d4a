"""The machines of a vCenter as hosts of an inventory, and the @vsphere connector for what has no inventory file.

    _found = vms(
        VCENTER, base, where=Where(folder="DC0/prod"), groups=[(Where(tags={"role": "web"}), web)],
        address=AddressRule(network="management"), ssh_user="fleet",
    )
    hosts = fleet(*_found)

    pyinfra '@vsphere/DC0/prod?tag=role:web' exec -- uptime

A user that may only read is enough. Templates are no hosts. A machine that is off or has no address stays in the
inventory: it is listed, and told apart at the end of a run as one that could not be reached, with the reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from pydantic import Field
from typing_extensions import override

from deploys.errors import InputError, near
from deploys.policies.base import Model, Policy
from inventories._fleet import Group, Host, host
from inventories._ssh import PhotonConnector

if TYPE_CHECKING:
    from deploys.policies.vcenter import VCenter
    from deploys.vsphere.kept import Read
    from deploys.vsphere.rows import AddressRule, Vm

_WHY_NOT = "ssh_why_not"


class Where(Model):
    """Which machines: those for which all that is given holds.

    Args:
        folder: the path from the datacenter down, such as "DC0/prod"; all below it as well.
        names: patterns such as "web-*", one of which fits.
        tags: category -> the name of a tag.
        attributes: custom attribute -> its value.
    """

    folder: str | None = None
    names: tuple[str, ...] = ()
    tags: dict[str, str] = Field(default_factory=dict)
    attributes: dict[str, str] = Field(default_factory=dict)
    power: str | None = None
    cluster: str | None = None

    def holds(self, vm: Vm) -> bool:
        """Whether the machine is one of them."""
        from deploys.vsphere.rows import coded, shown  # noqa: PLC0415 - see vms()

        steps = tuple(coded(shown(step)) for step in (self.folder or "").split("/") if step)
        path = tuple(vm.path.split("/"))
        return (
            path[: len(steps)] == steps
            and (not self.names or any(fnmatchcase(vm.name, pattern) for pattern in self.names))
            and all(name in vm.tags.get(category, ()) for category, name in self.tags.items())
            and all(vm.attributes.get(name) == value for name, value in self.attributes.items())
            and self.power in {None, vm.power}
            and self.cluster in {None, vm.cluster}
        )


def vms(
    vcenter: VCenter,
    *given: Group | Policy,
    where: Where | None = None,
    groups: Sequence[tuple[Where, Group]] = (),
    address: AddressRule | None = None,
    max_age: float = 0,
    offline: bool = False,
    **data: Any,  # noqa: ANN401 - pyinfra's host data
) -> list[Host]:
    """The hosts that a vCenter has, for `fleet()`.

    Args:
        vcenter: which one.
        given: groups and policies of all of them.
        where: which machines; all that the user may see when not given.
        groups: a machine is in a group when the `Where` before it holds.
        address: which of a machine's addresses is its own for management.
        max_age: seconds; what was read of the vCenter that recently serves without asking it.
        offline: take what was read the last time, however old.
        data: pyinfra host data of all of them, such as `ssh_user="fleet"`.

    Raises:
        InputError: the vCenter refuses, or nothing is known of it; `tags` are asked for and could not be read.
    """
    from deploys.vsphere.inventory import read  # noqa: PLC0415 - pyvmomi's import is for those that have a vCenter

    found = read(vcenter, max_age=max_age, offline=offline)
    asked = [each for each in (where, *(condition for condition, _ in groups)) if each is not None]
    if not found.tagged and any(each.tags for each in asked):
        message = f"vCenter {vcenter.place}: the tags could not be read, and the inventory selects by them"
        raise InputError(message)
    return hosts_of(found.vms, *given, where=where, groups=groups, address=address, **data)


def hosts_of(
    found: Sequence[Vm],
    *given: Group | Policy,
    where: Where | None = None,
    groups: Sequence[tuple[Where, Group]] = (),
    address: AddressRule | None = None,
    **data: Any,  # noqa: ANN401 - pyinfra's host data
) -> list[Host]:
    """The hosts of machines that were read; the arguments are those of `vms`."""
    from deploys.vsphere.rows import AddressRule  # noqa: PLC0415 - see vms()

    chosen = [vm for vm in found if not vm.template and (where is None or where.holds(vm))]
    rule = address or AddressRule()
    return [
        _host(vm, name, [*given, *(group for condition, group in groups if condition.holds(vm))], rule, data)
        for name, vm in zip(names(chosen), chosen, strict=True)
    ]


def names(chosen: Sequence[Vm]) -> list[str]:
    """A name for each: its own, or with its folders behind it, innermost first, where several have the same.

    What pyinfra cannot have in a name is written as in a URL.
    """
    times = Counter(vm.name for vm in chosen)
    own = [(vm.name,) if times[vm.name] == 1 else (vm.name, *reversed(vm.folder)) for vm in chosen]
    return [".".join(re.sub(r"[\s/,:@%]", lambda letter: quote(letter[0], safe=""), part) for part in parts)
            for parts in own]  # fmt: skip


def _host(vm: Vm, name: str, given: Sequence[Group | Policy], rule: AddressRule, data: dict[str, Any]) -> Host:
    place = rule.of(vm) if vm.power == "on" else None
    known: dict[str, Any] = {"vm_uuid": vm.uuid, "vm_path": vm.path, "vm_tags": dict(vm.tags)}
    known |= {"vm_esxi": vm.host, "vm_datastores": list(vm.datastores)}
    if place is None:
        known[_WHY_NOT] = rule.reason(vm)
    return host(name, *given, address=place or name, **{**known, **data})


def automatic_groups(vm: Vm) -> list[str]:
    """The groups of a machine that no inventory file names: by tag, folder, cluster and power."""
    words = [
        *(f"tag_{category}_{tag}" for category, tags in vm.tags.items() for tag in tags),
        *(f"folder_{'_'.join(vm.folder[: depth + 1])}" for depth in range(len(vm.folder))),
        *([f"cluster_{vm.cluster}"] if vm.cluster else []),
        f"power_{vm.power}",
    ]
    return [re.sub(r"\W", "_", word) for word in words]


_QUESTIONS = ("attribute", "cluster", "family", "name", "network", "power", "tag")


def asked_for(text: str | None, connector: str = "@vsphere") -> tuple[Where, AddressRule]:
    """`DC0/prod?tag=role:web&power=on&name=web-*&network=management` as what it means to a connector.

    Raises:
        InputError: there is no such question, or an answer is not of its form.
    """
    from deploys.vsphere.rows import AddressRule  # noqa: PLC0415 - see vms()

    folder, _, query = (text or "").partition("?")
    questions: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _QUESTIONS:
            message = (
                f"{connector}: no such question {name!r}{near(name, _QUESTIONS)}; there are {', '.join(_QUESTIONS)}"
            )
            raise InputError(message)
        questions.setdefault(name, []).append(value)
    pairs = {}
    for name in ("tag", "attribute"):
        parts = [value.partition(":") for value in questions.get(name, [])]
        if any(not separator for _, separator, _ in parts):
            message = f"{connector}: {name}= is written {name}=NAME:VALUE, such as tag=role:web"
            raise InputError(message)
        pairs[name] = {key: value for key, _, value in parts}
    last = {name: values[-1] for name, values in questions.items()}
    where = Where(
        folder=folder.strip("/") or None, names=tuple(questions.get("name", ())), tags=pairs["tag"],
        attributes=pairs["attribute"], power=last.get("power"), cluster=last.get("cluster"),
    )  # fmt: skip
    if last.get("family", "4") not in {"4", "6"}:
        message = f"{connector}: family={last['family']}: 4 or 6"
        raise InputError(message)
    return where, AddressRule(network=last.get("network"), family=int(last.get("family", "4")))


@cache
def _read_once(vcenter: VCenter) -> Read:
    """What a run reads: pyinfra asks for the hosts of a connector twice."""
    from deploys.vsphere.inventory import read  # noqa: PLC0415 - see vms()

    return read(vcenter)


class VSphereConnector(PhotonConnector):
    """The @photon connector to the machines that a vCenter names: `@vsphere`, `@vsphere/FOLDER?QUESTIONS`."""

    @staticmethod
    @override
    def make_names_data(name: str | None = None) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        from deploys.policies.vcenter import VCenter  # noqa: PLC0415 - see vms()

        where, rule = asked_for(name)
        found = _read_once(VCenter.from_environment())
        if where.tags and not found.tagged:
            message = "@vsphere: the tags could not be read"
            raise InputError(message)
        chosen = [vm for vm in found.vms if not vm.template and where.holds(vm)]
        if not chosen:
            message = f"@vsphere{'/' + name if name else ''}: no machine of the vCenter is asked for by that"
            raise InputError(message)
        for label, vm in zip(names(chosen), chosen, strict=True):
            made = _host(vm, label, [], rule, {})
            yield label, {**made.data}, automatic_groups(vm)
