#!/usr/bin/env python3
"""A simulated vCenter whose machines are lab hosts: switched on they boot, and cloud-init does what they are given.

with machines.start(template="photon-5") as simulator: ...

The simulator runs this file as `machines.py on|off|gone UUID PATH` when a machine is switched on, off or destroyed,
and with `kept` or `back` when a snapshot is taken or gone back to. What a machine is made of (CPUs, memory, disks) is
the simulator's word alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.lab import client, seed, vcenter
from tests.lab.errors import LabError
from tests.lab.settings import gateway, state_dir

PORT = 443
STATE, PASSWORD_FILE = "vcenter.json", "vcenter-password"


def start(**options: Any) -> vcenter.VCenter:
    """A simulator in the lab's network, which its machines reach. Takes what `vcenter.start` takes.

    Raises:
        LabError: no lab can be had, or another simulator runs in it.
    """
    client.start()
    program = Path(__file__).resolve()
    simulator = vcenter.start(**{"listen": f"{gateway()}:{PORT}", "guest_net": "", "on_power": program, **options})
    known = {"host": simulator.host, "port": simulator.port, "user": simulator.user, "pin": simulator.pin}
    seed.replace_text(state_dir() / PASSWORD_FILE, f"{simulator.password}\n", 0o600)
    seed.replace_text(state_dir() / STATE, json.dumps(known))
    return simulator


def is_wanted() -> bool:
    """Whether the lab that a simulator was started in is still there."""
    return (state_dir() / STATE).exists()


def _name(uuid: str) -> str:
    """The lab's name for a machine: its name on the vCenter may change, and be no name for a host."""
    return f"vm-{uuid.partition('-')[0]}"


def _switched(word: str, uuid: str, given: dict[str, Any]) -> dict[str, Any]:
    match word:
        case "on":
            guestinfo = f"https://{gateway()}:{PORT}/_lab/guestinfo/raw?vm={uuid}"
            return {"addresses": [client.boot_clone(_name(uuid), guestinfo, given["nics"][0]["mac"])]}
        case "off":
            client.stop(_name(uuid))
        case "gone":
            client.remove(_name(uuid))
        case "kept":
            client.keep(_name(uuid), given["snapshot"])
        case "back":
            client.take_back(_name(uuid), given["snapshot"])
    return {}


def main() -> int:
    word, uuid, path = sys.argv[1:4]
    try:
        answer = _switched(word, uuid, json.load(sys.stdin))
    except (LabError, OSError) as error:
        print(f"{path} {word}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
