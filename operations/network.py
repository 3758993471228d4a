"""Host name, hosts file, and the files of systemd-networkd that carry our prefix."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.file import FileNames, TextFile
from facts.network import HostNames, HostsFile
from facts.systemd import Unit
from operations._background import in_background
from operations._contain import Commands, operation, read
from operations.file import Text, is_as_wanted, write, write_all

DIRECTORY = "/etc/systemd/network"
PREFIX = "05-photon-fleet-"
"""Before the files of cloud-init (10-) and of the installer (50-): for each device the first that matches counts."""
BEGIN, END = "# photon-fleet: begin", "# photon-fleet: end"
UNIT = "systemd-networkd.service"
# networkctl has `reload` since systemd 244; Photon 3 has 239. Links are configured after it has returned.
_USE = (
    f"systemctl unmask --quiet {UNIT}; systemctl enable --quiet {UNIT}; if systemctl is-active --quiet {UNIT}; "
    f"then networkctl reload 2>/dev/null || systemctl restart {UNIT}; else systemctl start {UNIT}; fi && "
    '{ tries=0; while [ "$tries" -lt 20 ] && networkctl --no-legend --no-pager | grep -qE " (configuring|pending) *$"; '
    "do sleep 0.5; tries=$((tries + 1)); done; }"
)

HOST_NAME = re.compile(r"(?=.{1,64}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63})*")


@operation()
def hostname(hostname: str) -> Commands:
    """
    Make sure that the host has a name, now and after the next boot.

    + hostname: a plain name or one with its domain
    """
    if not HOST_NAME.fullmatch(hostname):
        message = f"{hostname!r} is no host name"
        raise OperationError(message)
    names = read(HostNames)
    if names == {"now": hostname, "at_boot": hostname}:
        host.noop(f"the host is called {hostname}")
        return
    # The kernel's name is set by itself as well: hostnamed needs D-Bus, which a rescue system may lack.
    quoted = shlex.quote(hostname)
    after = f"{{ hostnamectl set-hostname {quoted} 2>/dev/null || echo {quoted} > /proc/sys/kernel/hostname; }}"
    yield write("/etc/hostname", hostname, mode="644", after=after)


@operation()
def hosts(entries: Sequence[str]) -> Commands:
    """
    Make sure that the hosts file has these lines, in a block of ours; the other lines are left alone.

    + entries: lines as in hosts(5)
    """
    if any("\n" in entry or entry.startswith("#") for entry in entries):
        message = "an entry of the hosts file is one line"
        raise OperationError(message)
    lines = read(HostsFile)
    block = [BEGIN, *entries, END] if entries else []
    others: list[str] = []
    ours: list[str] = []
    inside = False
    for line in lines:
        inside = inside or line == BEGIN
        (ours if inside else others).append(line)
        inside = inside and line != END
    if inside:
        # Half a block: what follows its beginning may be somebody's.
        others, ours = [*others, *(line for line in ours if line != BEGIN and line not in entries)], ["half a block"]
    if ours == block:
        host.noop("the hosts file has these entries")
        return
    yield write("/etc/hosts", "\n".join([*others, *block]), mode="644")


@operation()
def networkd(files: Mapping[str, str], devices: Mapping[str, str]) -> Commands:
    """
    Make sure that networkd has these files of ours and no others of ours, runs and uses them. Files of others stay.

    + files: name with our prefix, and its whole text
    + devices: name of a .netdev file -> the device that it makes; one whose file changed is made anew
    """
    for name in files:
        if not name.startswith(PREFIX) or "/" in name:
            message = f"{name!r} does not begin with {PREFIX}"
            raise OperationError(message)
    there = [name for name in read(FileNames, directory=DIRECTORY) if name.startswith(PREFIX)]
    differing = [
        Text(f"{DIRECTORY}/{name}", text)
        for name, text in files.items()
        if not is_as_wanted(read(TextFile, path=f"{DIRECTORY}/{name}"), text, mode="644")
    ]
    stale = [name for name in there if name not in files]
    state = read(Unit, unit=UNIT)
    runs = state["active"] == "active" and state["file"] == "enabled"
    if not differing and not stale and (runs or not files):
        host.noop(f"networkd has its {len(files)} files")
        return
    steps = []
    for name in stale:
        path = shlex.quote(f"{DIRECTORY}/{name}")
        if name.endswith(".netdev"):
            steps.append(f'ip link del dev "$(sed -n s/^Name=//p {path})" 2>/dev/null')
        steps.append(f"rm -f {path}")
    changed = {each.path.rpartition("/")[2] for each in differing}
    # networkd makes devices that are not there, and leaves those that are as they are.
    steps += [f"ip link del dev {device} 2>/dev/null" for name, device in devices.items() if name in changed]
    # Not in this session: a change of the address that it came in by would leave it waiting for its own end.
    after = in_background("; ".join([*steps, _USE]))
    yield write_all(differing, after=after) if differing else StringCommand(after)
