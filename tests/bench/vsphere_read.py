"""Reads the machines of the vCenter that the environment names, as `@vsphere` does, without pyinfra's part of it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from deploys.policies.vcenter import VCenter
from deploys.vsphere.inventory import read


def main() -> int:
    found = read(VCenter.from_environment())
    print(json.dumps([asdict(vm) for vm in found.vms]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
