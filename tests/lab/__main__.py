"""python -m tests.lab: throwaway hosts for people."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from typing import Any

from tests.lab import client, machine, seed, vcenter
from tests.lab.errors import LabError
from tests.lab.machine import say
from tests.lab.settings import cache_dir
from tests.lab.vcenter import machines

DEFAULT_HOSTS = ["web-1", "db-1", "edge-1"]


def _status() -> None:
    rows = client.status()
    if not rows:
        print("no lab hosts; `python -m tests.lab up` boots some")
    for spec, running in rows:
        print(f"{spec.name:20} {spec.address:15} {'running' if running else 'off'}")


def _ssh(name: str, command: list[str]) -> None:
    if name not in seed.specs():
        message = f"there is no lab host {name!r}; `python -m tests.lab status` lists them"
        raise LabError(message)
    os.execvp("ssh", ["ssh", "-F", str(client.ssh_config()), name, *command])  # noqa: S606 - there is no shell to want


def _vcenter(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in {"action", "machines"}}
    if arguments.machines:
        machine.require_root()
        _machines(options)
        return
    with vcenter.start(**options) as simulator:
        print(f"{simulator.url}\nuser     {simulator.user}\npassword {simulator.password}\npin      {simulator.pin}")
        say("a simulated vCenter runs until you press Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            simulator.process.wait()


def _machines(options: dict[str, Any]) -> None:
    options = {**options, "vms": 0, "template": options["template"] or "photon-5"}
    del options["listen"], options["boot"]
    with machines.start(**options) as simulator:
        say(f"a simulated vCenter at {simulator.url}, whose machines are lab hosts")
        say("it runs until `python -m tests.lab down`, or Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            while machines.is_wanted() and simulator.process.poll() is None:
                time.sleep(0.5)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="Throwaway Photon-like hosts.")
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="boot hosts (default: those of inventories/lab.py)")
    up.add_argument("names", nargs="*", default=DEFAULT_HOSTS)
    up.add_argument("--disk", type=int, action="append", default=[], metavar="MIB", help="a virtual disk (repeatable)")
    up.add_argument("--vm", action="store_true", help="virtual machines with a kernel of their own (half a minute)")
    up.add_argument("--image", choices=("rpm-ostree", "ostree"), default="", help="booted from an ostree deployment")
    down = actions.add_parser("down", help="remove every host and everything the lab made on this machine")
    down.add_argument("--cache", action="store_true", help="also the base system and the packages")
    actions.add_parser("status", help="which hosts there are")
    ssh = actions.add_parser("ssh", help="log in to a host, or run a command there")
    ssh.add_argument("name")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    reset = actions.add_parser("reset", help="throw a host's disk away and boot it as new")
    reset.add_argument("names", nargs="+")
    actions.add_parser("refresh", help="forget the cached base system; the next `up` builds it anew")
    simulator = actions.add_parser("vcenter", help="a simulated vCenter (needs no root once Go and govmomi are there)")
    simulator.add_argument("--machines", action="store_true", help="in the lab: machines that are made are lab hosts")
    simulator.add_argument("--vms", type=int, default=2, help="of each cluster")
    simulator.add_argument("--hosts", type=int, default=3, help="of each cluster")
    simulator.add_argument("--clusters", type=int, default=1)
    simulator.add_argument("--template", default="", metavar="NAME", help="put a Photon template into the VM folder")
    simulator.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    simulator.add_argument("--task", type=float, default=0, metavar="SECONDS", help="how long tasks take")
    simulator.add_argument("--boot", type=float, default=0, metavar="SECONDS", help="from power-on to addresses")
    return parser


def _hosts(arguments: argparse.Namespace) -> None:
    match arguments.action:
        case "up":
            client.bring_up(arguments.names, arguments.disk, vm=arguments.vm, image=arguments.image)
        case "down":
            client.down(cache=arguments.cache)
            say("everything is gone")
        case "status":
            _status()
        case "ssh":
            _ssh(arguments.name, arguments.command)
        case "reset":
            for name in arguments.names:
                client.reset(name)
                say(f"{name} is as new")
        case "refresh":
            client.down()
            shutil.rmtree(cache_dir(), ignore_errors=True)


def main() -> int:
    arguments = _parser().parse_args()
    try:
        if arguments.action == "vcenter":
            _vcenter(arguments)
        else:
            machine.require_root()
            _hosts(arguments)
    except LabError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
