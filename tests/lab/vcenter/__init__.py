"""A vCenter for tests: govmomi's simulator with call counts, faults, slow tasks and guests. docs/lab.md describes it.

with vcenter.start(vms=50, task=2.0) as simulator:
    simulator.fault("CloneVM_Task", "task", "NoDiskSpace")
    ...
    assert simulator.calls() <= 20
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.lab.errors import LabError
from tests.lab.vcenter.build import program

USER = "administrator@vsphere.local"
PASSWORD = "Lab!pass1"
SECONDS = 60.0


def start(
    *,
    vms: int = 2,
    hosts: int = 3,
    clusters: int = 1,
    datacenters: int = 1,
    standalone: int = 0,
    datastores: int = 1,
    port_groups: int = 1,
    template: str = "",
    listen: str = "127.0.0.1:0",
    user: str = USER,
    password: str = PASSWORD,
    certificate: Path | None = None,
    key: Path | None = None,
    task: float = 0,
    boot: float = 0,
    rtt: float = 0,
    idle: float = 0,
    page: int = 0,
    api: str = "8.0.3.0",
    guest_net: str = "10.9",
    on_power: Path | None = None,
    mend: bool = True,
) -> VCenter:
    """A simulator, built first where that is needed; it ends with a `with` block, `stop`, or this process.

    `vms` and `hosts` are those of each cluster, `standalone` hosts and the rest those of each datacenter. A `template`
    is a Photon template of that name in each datacenter's VM folder. Without `certificate` and `key` (PEM files) it
    makes a pair of its own, another one at each start.

    Times are in seconds. Tasks are answered at once and take `task`; with 0 they run inside the call. A VM has its
    addresses `boot` after power-on. Each request takes `rtt` longer. A session without a call for `idle` ends.

    A `page` of RetrievePropertiesEx has so many objects at most, whatever the client wants. `guest_net` is the first
    two octets of the guests' addresses; "" gives them none. `on_power` backs VMs by something real: a program that is
    run as `PROGRAM on|off|gone UUID PATH`. `mend=False` leaves the simulator as it is.

    Raises:
        LabError: it cannot be built, or does not start.
    """
    flags: dict[str, str | int] = {
        "vm": vms, "host": hosts, "cluster": clusters, "dc": datacenters, "standalone": standalone, "ds": datastores,
        "pg": port_groups, "template": template, "listen": listen, "user": user, "task": f"{task}s",
        "boot": f"{boot}s", "rtt": f"{rtt}s", "idle": f"{idle}s", "page": page, "api": api, "guest-net": guest_net,
        "mend": str(mend).lower(),
    }  # fmt: skip
    for name, path in (("cert", certificate), ("key", key), ("on-power", on_power)):
        if path is not None:
            flags[name] = str(path)
    return VCenter([str(program()), *(f"-{name}={value}" for name, value in flags.items())], user, password)


class VCenter:
    """A simulator that runs.

    Attributes:
        host, port: where it listens.
        user, password: the only ones that it accepts.
        pin: the SHA-256 of its certificate, in hexadecimal.
        certificate: its certificate, PEM.
    """

    def __init__(self, command: Sequence[str], user: str, password: str) -> None:
        self.user, self.password = user, password
        self._ready = False
        # Five files of each VM: they go with the directory, also when the process was killed.
        self._place = tempfile.TemporaryDirectory(prefix="lab-vcenter-", ignore_cleanup_errors=True)
        self._errors = Path(self._place.name) / "errors"
        env = {**os.environ, "TMPDIR": self._place.name, "LAB_VCENTER_PASSWORD": password}
        with self._errors.open("wb") as errors:
            # It ends when its standard input does, whatever happens to this process.
            self.process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=env
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            said = self._errors.read_text(errors="replace").strip()
            self.stop()
            message = f"the vCenter simulator did not start: {said[-2000:]}"
            raise LabError(message)
        ready = json.loads(line)
        self.host, port = ready["address"].rsplit(":", 1)
        self.port = int(port)
        self.pin: str = ready["sha256"]
        self.certificate: str = ready["certificate"]
        self._ready = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    def stop(self) -> None:
        """End it and remove its files; once more does nothing."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        said, status = self.said(), self.process.returncode
        self._place.cleanup()
        if status > 0 and self._ready:
            message = f"the vCenter simulator died with {status}: {said}"
            raise LabError(message)

    def context(self) -> ssl.SSLContext:
        """A TLS context that accepts this simulator's certificate and no other."""
        context = ssl.create_default_context(cadata=self.certificate)
        context.check_hostname = False
        return context

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=SECONDS, context=self.context())
        try:
            connection.request(method, f"/_lab/{path}", None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            message = f"the vCenter simulator does not answer: {error}; {self.said()}"
            raise LabError(message) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            message = f"the vCenter simulator refuses {path}: {text.strip()}"
            raise LabError(message)
        return json.loads(text)

    def said(self) -> str:
        """The end of what it, and the programs behind its VMs, wrote on standard error."""
        return self._errors.read_text(errors="replace").strip()[-2000:] if self._errors.exists() else "it has ended"

    def stats(self) -> dict[str, dict[str, float]]:
        """What clients asked: SOAP method, or `GET /rest/...?action=...` with ID for ids -> calls, bytes and ms."""
        figures: dict[str, dict[str, float]] = self._ask("GET", "stats")
        return figures

    def calls(self, *names: str) -> int:
        """How many calls there were: all of them, or those of these names."""
        return sum(int(each["calls"]) for name, each in self.stats().items() if not names or name in names)

    def reset_stats(self) -> None:
        self._ask("POST", "stats/reset")

    def fault(
        self, method: str, mode: str, fault: str = "", *, skip: int = 0, times: int = 1, status: int = 503,
        fields: Mapping[str, object] | None = None,
    ) -> None:  # fmt: skip
        """Let calls of a method go wrong.

        Args:
            method: SOAP method, REST call as `stats` names it, or "*".
            mode: "soap" (the call faults), "task" (its task fails), "http" (answered with `status`), "drop" (nothing
                is done, the connection closed), "lost" (done, then the connection closed), "logout" (all sessions
                end before it is served).
            fault: for soap and task, a fault of the API: NoPermission, DuplicateName, NoDiskSpace, ...
            fields: of the fault, beside those that clients require.
            status: for http.
            skip: so many calls go well first.
            times: then so many go wrong.
        """
        body = {"method": method, "mode": mode, "fault": fault, "skip": skip, "times": times, "status": status}
        self._ask("POST", "fault", {**body, **({"fields": dict(fields)} if fields else {})})

    def clear_faults(self) -> None:
        self._ask("POST", "fault/clear")

    def delay(self, method: str, seconds: float) -> None:
        """Calls of a method take so much longer; 0 ends that."""
        self._ask("POST", "delay", {"method": method, "ms": seconds * 1000})

    def sessions(self) -> dict[str, int]:
        """How many sessions are open: {"soap": ..., "rest": ...}."""
        count: dict[str, int] = self._ask("GET", "sessions")
        return count

    def leaks(self) -> dict[str, int]:
        """What open sessions have not destroyed: {"views": ..., "collectors": ..., "filters": ...}."""
        count: dict[str, int] = self._ask("GET", "leaks")
        return count

    def kill_sessions(self) -> None:
        """Log every client out, as a restart of the vCenter does."""
        self._ask("POST", "sessions/end")

    def guest(self, vm: str, **state: object) -> None:
        """Say what a VM's guest is like; what is not given stays as it was, None makes it as usual again.

        Args:
            vm: inventory path, instance or BIOS UUID, or id such as vm-42.
            state: `addresses` of the first NIC, `nics` (addresses of each NIC), `bridges` ({"docker0": [...]}, NICs
                that only the guest knows), `hostname`, `tools` (False: not running), `question` (a text that waits
                for an answer; "" takes it back), `guestinfo` ({"guestinfo.x": "y"}, written by the guest).
        """
        self._ask("POST", "guest", {"vm": vm, **state})

    def guestinfo(self, vm: str, key: str) -> str | None:
        """What the guest would read with `vmware-rpctool "info-get KEY"`."""
        value: str | None = self._ask("GET", f"guestinfo?vm={quote(vm, safe='')}&key={quote(key, safe='')}")
        return value

    def set_guestinfo(self, vm: str, key: str, value: str) -> None:
        """As the guest does with `vmware-rpctool "info-set KEY VALUE"`."""
        self._ask("POST", "guestinfo", {"vm": vm, "key": key, "value": value})
