"""What the hardening policy looks at and changes nothing of: by the number of the rule, and how values are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from operations.keyed import value_of

if TYPE_CHECKING:
    from testinfra.host import Host

_PUBLIC, _PRIVATE = "/etc/ssh -name 'ssh_host_*_key.pub'", "/etc/ssh -name 'ssh_host_*_key'"


class Look(NamedTuple):
    """What is true, how it is seen, and what must be seen."""

    proves: str
    read: Callable[[Host], object]
    expect: object


def value_in(path: str, key: str, style: str, host: Host) -> str:
    """The value that a file gives a key."""
    found = value_of(host.check_output("cat %s", path).splitlines(), key, style)
    return "not set" if found is None else found or "set"


def _shared_numbers(host: Host) -> list[str]:
    numbers = Counter(line.split(":")[2] for line in host.check_output("getent passwd").splitlines())
    return sorted(number for number, times in numbers.items() if times > 1)


def _pam(path: str, module: str, host: Host) -> list[str]:
    """The words of a module's lines in a stack."""
    lines = host.run("cat %s", path).stdout.splitlines()
    return [" ".join(line.split()) for line in lines if module in line and not line.lstrip().startswith("#")]


def _hashes(host: Host) -> str:
    return (
        "yes"
        if any("sha512" in line.split() for line in _pam("/etc/pam.d/system-password", "pam_unix.so", host))
        else "no"
    )


def _looks_at_passwords(host: Host) -> str:
    return "yes" if _pam("/etc/pam.d/system-password", "pam_pwquality.so", host) else "no"


def _takes_empty(host: Host) -> list[str]:
    stacks = ("/etc/pam.d/system-password", "/etc/pam.d/system-auth")
    return [line for path in stacks for line in _pam(path, "pam_unix.so", host) if "nullok" in line.split()]


def _without_password(host: Host) -> list[str]:
    found = host.run("grep -rhE 'NOPASSWD|!authenticate' /etc/sudoers /etc/sudoers.d").stdout.splitlines()
    return [" ".join(line.split()) for line in found if not line.lstrip().startswith("#")]


def unchecked(text: str) -> list[str]:
    """Sections of repository files, as `grep -H ''` shows them, that do not switch gpgcheck on."""
    sections: dict[str, bool] = {}
    name = ""
    for line in text.splitlines():
        content = line.partition(":")[2].strip()
        if content.startswith("["):
            name = content.strip("[]")
            sections[name] = False
        elif name and content.partition("=")[0].strip() == "gpgcheck":
            value = content.partition("=")[2].strip().lower()
            # tdnf takes nothing else for a yes.
            sections[name] = value == "true" or (value.isdigit() and int(value) > 0)
    return sorted(name for name, checked in sections.items() if not checked)


def _repositories(host: Host) -> list[str]:
    return unchecked(host.run("grep -H '' /etc/yum.repos.d/*.repo").stdout)


def _reverse_paths(host: Host) -> str:
    keys = "net.ipv4.conf.all.rp_filter net.ipv4.conf.default.rp_filter"
    return " ".join(host.check_output(f"sysctl -n {keys}").split())


def _others_than(wanted: str, places: str) -> Callable[[Host], list[str]]:
    def read(host: Host) -> list[str]:
        lines = host.check_output(f"find {places} -printf '%m %u:%g %p\\n'").splitlines()
        return [line for line in lines if not line.startswith(f"{wanted} ")]

    return read


def _allowed_in_tmp(host: Host) -> list[str]:
    found = host.run("findmnt -no OPTIONS /tmp")
    if found.rc != 0:
        return ["it is no file system of its own: systemctl enable tmp.mount, and reboot"]
    return sorted({"nodev", "noexec", "nosuid"} - set(found.stdout.strip().split(",")))


LOOKS: Mapping[str, Look] = {
    "000049": Look("no two users have one number", _shared_numbers, []),
    "000059": Look("PAM hashes passwords by SHA-512", _hashes, "yes"),
    "000073": Look("/var/log is root's", _others_than("755 root:root", "/var/log -maxdepth 0"), []),
    "000133": Look("nobody gets sudo without a password", _without_password, []),
    "000197": Look("PAM looks at new passwords", _looks_at_passwords, "yes"),
    "000199": Look("every repository checks signatures", _repositories, []),
    "000229": Look("answers leave as questions came", _reverse_paths, "1 1"),
    "000233": Look("public host keys are root's", _others_than("644 root:root", _PUBLIC), []),
    "000234": Look("private host keys are root's alone", _others_than("600 root:root", _PRIVATE), []),
    "000245": Look("nothing in /tmp is a program or a device", _allowed_in_tmp, []),
    "000247": Look("PAM takes no empty passwords", _takes_empty, []),
}
