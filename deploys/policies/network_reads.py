"""What the checks of the network policy read: the kernel's own view, by `ip` and /sys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploys.policies.network_models import Link
from operations.network import DIRECTORY, PREFIX

if TYPE_CHECKING:
    from testinfra.host import Host

RESOLVED = "/etc/systemd/resolved.conf.d/photon-fleet.conf"


def content(path: str, host: Host) -> str:
    """The text of a file, with its last line end."""
    found = host.run("cat %s", path)
    return str(found.stdout) if found.rc == 0 else "no such file"


def files_of_ours(host: Host) -> list[str]:
    """The names of the policy's files that are there."""
    return sorted(name for name in host.run("ls %s", DIRECTORY).stdout.split() if name.startswith(PREFIX))


def device_of(link: Link, host: Host) -> str:
    """The name of a link's device; a card that is part of a bond has the bond's address, and is told by its own."""
    if link.device is not None:
        return link.device
    for line in host.check_output("ip -o link show").splitlines():
        name = line.split(": ")[1].partition("@")[0]
        stacked = "@" in line.split(": ")[1] and "link-netnsid" not in line
        if (f"permaddr {link.mac}" in line or f"link/ether {link.mac} " in line) and not stacked:
            return str(name)
    message = f"no device has the MAC address {link.mac}"
    raise LookupError(message)


def addresses(link: Link, host: Host) -> list[str]:
    """The addresses of a link's device, with their lengths."""
    lines = host.check_output("ip -o addr show").splitlines()
    device = device_of(link, host)
    return [words[3] for words in map(str.split, lines) if words[1] == device]


def attribute(link: Link, name: str, host: Host) -> str:
    """A file of /sys/class/net/DEVICE."""
    return str(host.check_output("cat %s", f"/sys/class/net/{device_of(link, host)}/{name}"))


def _routes(family: int, host: Host) -> list[list[str]]:
    return [line.split() for line in host.check_output(f"ip -{family} route show").splitlines()]


def gateways(link: Link, family: int, host: Host) -> list[str]:
    """Where the default routes over a link's device lead."""
    device = device_of(link, host)
    found = [words for words in _routes(family, host) if words[0] == "default" and device in words]
    return [words[words.index("via") + 1] for words in found if "via" in words]


def route_via(link: Link, to: str, host: Host) -> str:
    """The gateway of a route over a link's device."""
    device, (network_part, _, length) = device_of(link, host), to.partition("/")
    names = {to, network_part} if length in {"32", "128"} else {to}
    for words in _routes(6 if ":" in to else 4, host):
        if words[0] in names and device in words:
            return words[words.index("via") + 1] if "via" in words else "the link"
    return "no such route"


def master_of(link: Link, host: Host) -> str:
    """The bond or bridge that a link's device is part of."""
    found = host.run("readlink %s", f"/sys/class/net/{device_of(link, host)}/master")
    return str(found.stdout.strip().rpartition("/")[2]) or "nothing"


def lower_of(name: str, host: Host) -> str:
    """Whether a device is there and stands on another one."""
    lines = host.check_output("ip -o link show").splitlines()
    return "it does" if any(line.split(": ")[1].startswith(f"{name}@") for line in lines) else "there is no such device"


def resolved_setting(key: str, host: Host) -> str:
    """A setting of our drop-in for systemd-resolved."""
    lines = host.check_output("cat %s", RESOLVED).splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith(f"{key}=")), "")
