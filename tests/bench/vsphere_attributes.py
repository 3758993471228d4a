"""Reads the machines of a vCenter by the attributes of pyvmomi's objects, as its own samples do: each is a call.

What is read is what `@vsphere` lists: name, folder, power, UUID, cluster, adapters with their addresses, attributes.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
from collections.abc import Iterator
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim


def machines(content: Any) -> Iterator[dict[str, Any]]:
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    try:
        for vm in view.view:
            yield {
                "name": vm.name, "folder": _above(vm.parent), "power": str(vm.runtime.powerState),
                "uuid": vm.config.instanceUuid, "template": vm.config.template,
                "cluster": vm.runtime.host.parent.name, "tools": str(vm.guest.toolsRunningStatus),
                "addresses": [list(nic.ipAddress) for nic in vm.guest.net],
                "attributes": {str(each.key): each.value for each in vm.customValue},
            }  # fmt: skip
    finally:
        view.DestroyView()


def _above(place: Any) -> list[str]:
    steps: list[str] = []
    while place is not None:
        steps.append(place.name)
        place = place.parent
    return steps


def main() -> int:
    host, _, port = os.environ["VCENTER_HOST"].rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    # The vCenter is the benchmark's own simulator.
    context.verify_mode = ssl.CERT_NONE
    service = SmartConnect(
        host=host, port=int(port), user=os.environ["VCENTER_USER"], pwd=os.environ["VCENTER_PASSWORD"],
        sslContext=context,
    )  # fmt: skip
    try:
        print(json.dumps(list(machines(service.RetrieveContent()))))
    finally:
        Disconnect(service)
    return 0


if __name__ == "__main__":
    sys.exit(main())
