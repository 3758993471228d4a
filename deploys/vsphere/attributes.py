"""Custom attributes: their definitions, which all machines of a vCenter share, and a machine's values of them."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl

from deploys.vsphere.errors import UnansweredError, VSphereError, said
from deploys.vsphere.looks import LOOKS
from deploys.vsphere.session import Session


def defined(session: Session, name: str) -> int:
    """The key of an attribute of machines, which is made; one that somebody makes meanwhile is as good.

    Raises:
        VSphereError: the vCenter refuses or does not answer.
    """
    for _ in range(LOOKS):
        try:
            made = session.write(
                lambda content: content.customFieldsManager.AddCustomFieldDef(name, vim.VirtualMachine)
            )
            return int(made.key)
        except (vim.fault.DuplicateName, UnansweredError):
            for each in session.read(lambda content: list(content.customFieldsManager.field or ())):
                if each.name == name:
                    return int(each.key)
        except vmodl.MethodFault as fault:
            message = f"vCenter {session.vcenter.place}: the attribute {name!r} cannot be made: {said(fault)}"
            raise VSphereError(message) from fault
    message = f"vCenter {session.vcenter.place}: the attribute {name!r} cannot be made: no answer"
    raise VSphereError(message)


def give(session: Session, vm: Any, key: int, name: str, value: str) -> None:  # noqa: ANN401 - pyvmomi's objects
    """Give a machine a value of an attribute.

    Raises:
        VSphereError: the vCenter refuses or does not answer.
    """
    try:
        # Said again after a lost answer it says the same.
        session.read(lambda content: content.customFieldsManager.SetField(entity=vm, key=key, value=value))
    except VSphereError as error:
        message = f"the attribute {name!r} cannot be set: {error}"
        raise VSphereError(message) from error
