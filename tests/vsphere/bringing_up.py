"""A fleet of machines on a simulator: an inventory, runs of deploys/vm.py, and stand-ins for its guests.

The guests are no machines: a thread writes what cloud-init's last command writes in a real one (see
`deploys.vsphere.seed.cloud_init`), once a machine is on and has the data of its first boot.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from deploys.policies.secret import Secret
from deploys.policies.vcenter import VCenter as Settings
from deploys.vsphere.ready import INSTANCE
from deploys.vsphere.seed.cloud_init import HOST_KEY, READY
from deploys.vsphere.seed.host_keys import HostKey
from tests import warm
from tests.lab.errors import LabError
from tests.lab.vcenter import VCenter

ROOT = Path(__file__).resolve().parents[2]
PYINFRA = Path(sys.executable).with_name("pyinfra")
QUICKER = "tests.vsphere.quicker"
PASSWORD = "PF_TEST_VCENTER"
LOGIN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd3tlIuFOMIjUQhSdKE8OMJSdMP3Yp6lTz3VcdtOL6M test"

HEAD = """
from pathlib import Path
from deploys.policies.secret import Secret
from deploys.policies.ssh import Ssh
from deploys.policies.vm import Adapter, Address, Disk, Vm
from deploys.vsphere.seed.first_boot import FirstBoot
from deploys.policies.vcenter import VCenter
from inventories._fleet import fleet, group, host

VC = VCenter(host="{host}", port={port}, user="{user}", password=Secret.env("{password}"), pin_sha256="{pin}")
PLACE = Path(__file__).parent
DATA = dict(
    vm_record=str(PLACE / "vms.json"), ssh_known_hosts_file=str(PLACE / "known_hosts"),
    first_boot=FirstBoot(keys=["{key}"]),
)
"""
BODY = """
base = group("base", Ssh(root_login="prohibit-password"), Vm(
    vcenter=VC, folder="DC0/prod/web", template="DC0/photon-5", cluster="DC0_C0", cpus=2, memory_mib=1024,
    tags={"role": "web"}, attributes={"owner": "ops"}, annotation="kept by Photon Fleet", apart="web",
))
hosts = fleet(*(host(f"web-{number}", base, **DATA) for number in (1, 2, 3)))
"""


def settings(simulator: VCenter) -> Settings:
    """How the product reaches a simulator, whose password is in the environment."""
    return Settings(
        host=simulator.host, port=simulator.port, user=simulator.user, password=Secret.env(PASSWORD),
        pin_sha256=simulator.pin,
    )  # fmt: skip


@dataclass(frozen=True)
class Run:
    """How a run of pyinfra ended, and the calls that it took."""

    status: int
    out: str
    err: str
    calls: int

    def line(self, host: str) -> str:
        """What the summary says of a host."""
        return next((line for line in self.err.splitlines() if line.startswith(f"{host}: ")), "")


@dataclass
class Fleet:
    """Machines on a simulator, by an inventory in a directory of its own."""

    simulator: VCenter
    place: Path
    body: str = BODY
    names: tuple[str, ...] = ("web-1", "web-2", "web-3")
    folder: str = "DC0/vm/prod/web"
    guests: bool = True
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def inventory(self) -> Path:
        path = self.place / "fleet.py"
        words = {"host": self.simulator.host, "port": self.simulator.port, "user": self.simulator.user,
                 "password": PASSWORD, "pin": self.simulator.pin, "key": LOGIN_KEY}  # fmt: skip
        path.write_text(HEAD.format(**words) + self.body)
        return path

    def start(self, *arguments: str, deploy: str = "deploys/vm.py") -> warm.Started:
        """A run, under way."""
        env = {**os.environ, PASSWORD: self.simulator.password, "COLUMNS": "200"}
        command = [str(PYINFRA), str(self.inventory), deploy, "-y", *arguments]
        return warm.Started(command, cwd=ROOT, env=env, first=QUICKER)

    def run(self, *arguments: str, deploy: str = "deploys/vm.py") -> Run:
        """A run to its end."""
        before = self.simulator.calls()
        process = self.start(*arguments, deploy=deploy)
        out, err = process.communicate(timeout=120)
        return Run(process.returncode, out, err, self.simulator.calls() - before)

    def changes(self, *arguments: str) -> int:
        """The number of changes of a run that must go well."""
        done = self.run("--json", *arguments)
        assert done.status == 0, done.err[-4000:]
        return int(json.loads(done.out)["results"]["totals"]["success"])

    def record(self) -> dict[str, Any]:
        path = self.place / "vms.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def pinned(self) -> list[str]:
        path = self.place / "known_hosts"
        return path.read_text().splitlines() if path.exists() else []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._boot, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _boot(self) -> None:
        keys = {name: HostKey.make().public for name in self.names}
        while not self._stop.is_set():
            # Each question is a connection of its own: many machines are asked less often.
            time.sleep(0.1 + 0.05 * len(self.names))
            for name in self.names if self.guests else ():
                try:
                    self._first_boot(f"{self.folder}/{name}", keys[name])
                except (LabError, OSError):
                    continue

    def _first_boot(self, path: str, key: str) -> None:
        instance = self.simulator.guestinfo(path, INSTANCE)
        if instance and self.simulator.guestinfo(path, READY) != instance:
            self.simulator.set_guestinfo(path, HOST_KEY, key)
            self.simulator.set_guestinfo(path, READY, instance)
