"""The lab's first process: everything of the lab lives in its pid, mount and network namespaces.

When this process dies, however it dies, the kernel takes hosts, mounts, bridge and interfaces with it; there is no
clean-up to get wrong. `jail_command()` is how it is started; `python -m tests.lab.supervisor` is what runs inside.
It listens on a Unix socket for one JSON request per connection, {"do": "boot", "name": "web-1"} (or stop, kill, cut,
mend, grow, status), and answers {"ok": true, ...} or {"ok": false, "error": "..."}.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from tests.lab import layer, ostree_repo, packages, seed
from tests.lab.clone_host import CloneHost
from tests.lab.errors import LabError
from tests.lab.host import LabHost
from tests.lab.image_host import ImageHost
from tests.lab.machine import run
from tests.lab.settings import gateway, name, repository_address, state_dir, uplink
from tests.lab.vm import VmHost
from tests.lab.vm_image_host import VmImageHost

MACHINE_NET = 9
"""File descriptor of the machine's network namespace, kept open through the jail."""

# Runs outside the pid namespace: a cgroup for the lab with its controllers on and the lab's processes in a leaf
# (only leaves may hold processes), then the namespaces. $1 names the cgroup, the rest is the command.
_JAIL = f"""
set -e
name=$1; shift
c=/sys/fs/cgroup; [ -e $c/cgroup.controllers ] || mount -t cgroup2 none $c
me=$(sed -n 's/^0:://p' /proc/self/cgroup)
case $me in *.scope) ;; *) me=/$name; mkdir -p $c$me;; esac
mkdir -p $c$me/supervisor; echo $$ > $c$me/supervisor/cgroup.procs
for x in $(cat $c$me/cgroup.controllers); do echo +$x > $c$me/cgroup.subtree_control || true; done
export LAB_CGROUP=$me
exec {MACHINE_NET}</proc/self/ns/net
exec unshare --net --pid --fork --kill-child --mount-proc --propagation private "$@"
"""


def jail_command() -> list[str]:
    """The command that starts the supervisor in namespaces of its own; its pid is the lab's life line."""
    inner = [sys.executable, "-m", "tests.lab.supervisor"]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _JAIL, "sh", name(), *inner]
    if Path("/run/systemd/system").is_dir():
        scope = [
            "systemd-run",
            "--scope",
            "--quiet",
            "--collect",
            "-p",
            "Delegate=yes",
            "-p",
            "TasksMax=infinity",
        ]
        command = [*scope, f"--unit={name()}", *command]
    return command


class Supervisor:
    """Hosts by name, and the requests that boot and stop them."""

    def __init__(self) -> None:
        self._cgroup = Path("/sys/fs/cgroup") / os.environ["LAB_CGROUP"].lstrip("/")
        self._lower = layer.lower_directories()
        self._hosts: dict[str, LabHost] = {}
        self._locks: dict[str, threading.Lock] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        action = str(request.get("do"))
        if action == "status":
            return {"ok": True, "hosts": {key: host.running for key, host in self._hosts.items()}}
        wanted = str(request.get("name"))
        with self._locks.setdefault(wanted, threading.Lock()):
            host = self._hosts.get(wanted) or self._add(wanted)
            match action:
                case "boot":
                    host.start()
                case "stop" | "kill":
                    host.stop(at_once=action == "kill")
                    del self._hosts[wanted]
                case "cut" | "mend":
                    host.cut(down=action == "cut")
                case "grow":
                    host.grow(int(request["disk"]), int(request["mebibytes"]))
                case _:
                    message = f"the lab does not know how to {action!r}"
                    raise LabError(message)
        return {"ok": True}

    def _add(self, wanted: str) -> LabHost:
        spec = seed.specs().get(wanted)
        if spec is None:
            message = f"there is no lab host {wanted!r}"
            raise LabError(message)
        # The neighbour entry is permanent, so that a rebooted host is reached at once.
        run("nsenter", f"--net={_machine_net()}", "ip", "neigh", "replace", spec.address,
            "lladdr", spec.mac, "dev", uplink(), "nud", "permanent")  # fmt: skip
        kind = CloneHost if spec.machine else _KINDS[spec.vm, bool(spec.image)]
        self._hosts[wanted] = kind(spec, self._lower, self._cgroup)
        return self._hosts[wanted]


# A machine of its own, an image host.
_KINDS: dict[tuple[bool, bool], type[LabHost]] = {
    (False, False): LabHost, (True, False): VmHost, (False, True): ImageHost, (True, True): VmImageHost,
}  # fmt: skip


def _machine_net() -> str:
    return f"/proc/{os.getpid()}/fd/{MACHINE_NET}"


def _network() -> None:
    for directory in ("/run/netns", "/run/systemd/nspawn"):
        Path(directory).mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "none", directory)
    run("ip", "-b", "-", stdin=f"link set lo up\nlink add br0 type bridge\naddr add {repository_address()}/24 dev br0\n"
        "link set br0 up\n")  # fmt: skip
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", uplink(), "netns", _machine_net())
    run("ip", "link", "set", "up0", "master", "br0", "up")
    commands = f"addr add {gateway()}/24 dev {uplink()}\nlink set {uplink()} up\n"
    run("nsenter", f"--net={_machine_net()}", "ip", "-b", "-", stdin=commands)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        """Below /ostree/ is the lab's repository of images, which tests publish to."""
        if path.startswith(f"/{ostree_repo.PLACE}/"):
            directory, self.directory = self.directory, str(state_dir())
            try:
                return super().translate_path(path)
            finally:
                self.directory = directory
        return super().translate_path(path)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Package downloads are not news."""


def _serve_packages() -> None:
    handler = functools.partial(_Quiet, directory=str(packages.build() / "www"))
    server = http.server.ThreadingHTTPServer((repository_address(), 80), handler)
    threading.Thread(target=server.serve_forever, name="packages", daemon=True).start()


def _talk(supervisor: Supervisor, connection: socket.socket) -> None:
    with connection, connection.makefile("rw") as stream:
        try:
            answer = supervisor.answer(json.loads(stream.readline()))
        except (LabError, OSError, ValueError) as error:
            answer = {"ok": False, "error": str(error)}
        try:
            stream.write(json.dumps(answer) + "\n")
            stream.flush()
        except OSError:
            return  # whoever asked is gone


def main() -> None:
    _network()
    _serve_packages()
    supervisor = Supervisor()
    path = state_dir() / "control"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(64)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_talk, args=(supervisor, connection), daemon=True).start()


if __name__ == "__main__":
    main()
