"""What is written down of a host's machine, for the runs that log in to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploys.policies.cloud_vm import CloudVm
from deploys.policies.vm import Vm

if TYPE_CHECKING:
    from inventories._fleet import Host
    from inventories._merge import Effective


def recorded(member: Host, effective: Effective) -> dict[str, Any]:
    """Where the machine of a host was last seen, when the inventory says nothing else."""
    policy = effective.get(Vm.name) or effective.get(CloudVm.name)
    # Images for clouds have an sshd_config without the subsystem of SFTP.
    more = {"ssh_file_transfer_protocol": "scp"} if isinstance(policy, CloudVm) else {}
    if policy is None or "ssh_hostname" in member.data:
        return more
    from deploys.vsphere.record import DEFAULT, known  # noqa: PLC0415 - for those that have machines of ours

    written = known(Path(member.data.get("vm_record") or DEFAULT)).get(member.name)
    if written is None or not written.address:
        return {"ssh_why_not": "no address of its machine is written down: run deploys/vm.py, which makes it"}
    return {"ssh_hostname": written.address, **more}
