"""The @lab connector: naming a host `@lab/web-1` boots a throwaway host `web-1` when pyinfra connects to it.

See docs/lab.md. Nothing runs while the inventory is only read, listed or limited. pyinfra loads every connector for
every inventory: what belongs to the lab is imported when it is used, so that other inventories never wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import ConnectError
from typing_extensions import override

from deploys.errors import InputError
from deploys.policies.secret import Secret
from deploys.policies.vcenter import VCenter
from inventories._ssh import PhotonConnector


class LabConnector(PhotonConnector):
    """The @photon connector to a host that is booted on demand."""

    @override
    def connect(self) -> None:
        from tests.lab import client  # noqa: PLC0415 - see the module's docstring
        from tests.lab.errors import LabError  # noqa: PLC0415 - see the module's docstring

        try:
            access = client.boot(
                self.host.name,
                expired=bool(self.host.data.get("lab_expired", default=False)),
                disks=self.host.data.get("lab_disks", default=()),
                vm=bool(self.host.data.get("lab_vm", default=False)),
                image=self.host.data.get("lab_image", default=False),
            )
        except (LabError, OSError) as error:
            raise ConnectError(str(error)) from error
        own: dict[str, Any] = {
            "ssh_hostname": access.address,
            "ssh_user": access.user,
            "ssh_key": str(access.key),
            "ssh_known_hosts_file": str(access.known_hosts),
        }
        for key, value in own.items():
            # What the inventory or the command line says wins: a test may want the wrong key.
            if self.host.data.get(key) is None:
                self.data[key] = value  # type: ignore[literal-required]
        super().connect()

    def closing_words(self) -> list[str]:
        """How to look at this host, for the end of a run: what answers over HTTP, and the way in."""
        from tests.lab.probe import urls  # noqa: PLC0415 - see the module's docstring

        found = urls(str(self.data["ssh_hostname"]), self.host.data.get("policies"))
        return [*found, f"look around: python -m tests.lab ssh {self.host.name}"]

    @staticmethod
    def last_words() -> list[str]:
        return ["remove all of it: python -m tests.lab down"]


def lab_key() -> dict[str, Any]:
    """File and fingerprint of the key that signs the lab's packages; makes them when there are none.

    Raises:
        InputError: the lab cannot run here; the message says why and what to do.
    """
    from tests.lab import packages  # noqa: PLC0415 - see the module's docstring

    with _as_input_error():
        return {"file": packages.key_file(), "fingerprint": packages.fingerprint()}


def lab_network() -> str:
    """The lab's network in CIDR notation; this machine is in it as well."""
    from tests.lab import settings  # noqa: PLC0415 - see the module's docstring

    return f"{settings.network()}.0/24"


def lab_vcenter() -> VCenter:
    """The simulated vCenter whose machines are lab hosts.

    Raises:
        InputError: there is none.
    """
    from tests.lab import settings  # noqa: PLC0415 - see the module's docstring
    from tests.lab.vcenter.machines import PASSWORD_FILE, STATE  # noqa: PLC0415 - see the module's docstring

    try:
        known = json.loads((settings.state_dir() / STATE).read_text())
    except FileNotFoundError as error:
        message = "no simulated vCenter runs in the lab; start one: python -m tests.lab vcenter --machines &"
        raise InputError(message) from error
    return VCenter(
        host=known["host"], port=known["port"], user=known["user"], pin_sha256=known["pin"],
        password=Secret.file(settings.state_dir() / PASSWORD_FILE),
    )  # fmt: skip


def lab_machine() -> dict[str, Any]:
    """What a host on a machine of that vCenter needs beside its policies: the lab's key, and files of the lab."""
    from deploys.vsphere.seed.first_boot import FirstBoot  # noqa: PLC0415 - for those that make machines
    from tests.lab import seed, settings  # noqa: PLC0415 - see the module's docstring

    state = settings.state_dir()
    with _as_input_error():
        public = seed.key_pair(state / "id", "photon-lab")
    return {
        "ssh_user": "root", "ssh_key": str(state / "id"), "vm_record": str(state / "vms.json"),
        "ssh_known_hosts_file": str(state / "machines_known_hosts"), "first_boot": FirstBoot(keys=[public]),
    }  # fmt: skip


def lab_image(tag: str = "1") -> Path:
    """The archive of the container image `lab/web:TAG`."""
    from tests.lab import images  # noqa: PLC0415 - see the module's docstring

    with _as_input_error():
        return images.web(tag)


@contextmanager
def _as_input_error() -> Iterator[None]:
    from tests.lab.errors import LabError  # noqa: PLC0415 - see the module's docstring

    try:
        yield
    except (LabError, OSError) as error:
        raise InputError(str(error)) from error
