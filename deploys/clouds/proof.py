"""The proof of machines in clouds: what the cloud says after the last change of a run."""

from __future__ import annotations

import time

from deploys.clouds.crew import LOOK_SECONDS, Crew
from deploys.clouds.machine import PENDING, RUNNING, STOPPED, Instance
from deploys.policies.cloud_vm import CloudVm

SECONDS = 30.0
"""How long a cloud may take until it shows what it has done."""


def wrong(found: Instance, host: str, policy: CloudVm) -> list[str]:
    """A sentence for each thing that is not as a policy says."""
    gib = {volume.device: volume.gib for volume in found.volumes}
    pairs = [
        ("fleet", "the machine bears the host's mark", policy.mark_of(host), found.mark),
        ("size", "it is of its size", policy.size, found.size),
        *((f"tags[{key}]", "it has its tag", value, found.tags.get(key)) for key, value in policy.tags.items()),
        *([("groups", "it is in its groups", sorted(policy.groups), sorted(found.groups))] if policy.groups else []),
    ]
    lines = [
        f"{field}: not true that {proves}: expected {expected!r}, found {actual!r}"
        for field, proves, expected, actual in pairs
        if expected != actual
    ]
    lines += [
        f"disks[{disk.device}]: not true that it has {disk.gib} GiB: found {gib.get(disk.device)!r}"
        for disk in policy.disks
        if gib.get(disk.device, 0) < disk.gib
    ]
    if found.state not in ({RUNNING, PENDING} if policy.power == "on" else {STOPPED}):
        lines.append(f"power: not true that it is {policy.power}: found {found.state!r}")
    return lines


def findings(crew: Crew, host: str, policy: CloudVm, seconds: float = SECONDS) -> list[str]:
    """What is wrong with the machine of a host, once the cloud has had the time to show what it has done.

    Raises:
        CloudError: the cloud refuses or does not answer.
    """
    end = time.monotonic() + seconds
    while True:
        crew.changed()
        found = crew.seen(host)
        lines = ["there is no machine any more"] if found is None else wrong(found, host, policy)
        if not lines or time.monotonic() >= end:
            return lines
        time.sleep(LOOK_SECONDS)
