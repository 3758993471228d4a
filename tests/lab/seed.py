"""What a new host is given before its first boot: name, pinned host key, authorized key, a usable root account.

This plays the part that cloud-init plays on vSphere (and only that): the changes are the ones that the vendor's own
user data makes so that a fresh Photon can be reached over SSH at all. `expired=True` leaves out the mending of the
root password's age, to show what a host does that was deployed without it.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.machine import file_locked, run
from tests.lab.settings import FIRST_HOST, REPOSITORY_HOST, mac, network, repository_address, state_dir

IMAGE_TOOLS = ("", "rpm-ostree", "ostree")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")


@dataclass(frozen=True)
class Spec:
    """One lab host: name, number (which gives the address), whether root's password is left expired, disks in MiB."""

    name: str
    number: int
    expired: bool = False
    disks: tuple[int, ...] = ()
    vm: bool = False
    """Whether it has a kernel of its own."""
    image: str = ""
    """Booted from an ostree deployment, and with which tool: "" (not), "rpm-ostree" (the stand-in) or "ostree"."""
    machine: str = ""
    """The address at which a simulated vCenter keeps the guestinfo of the machine that this host stands for."""
    card: str = ""
    """The MAC of its network card, where that is not the lab's to say."""

    @property
    def address(self) -> str:
        return f"{network()}.{FIRST_HOST + self.number}"

    @property
    def mac(self) -> str:
        return self.card or mac(self.address)

    @property
    def directory(self) -> Path:
        return state_dir() / "hosts" / self.name

    @property
    def interface(self) -> str:
        """Name of the host's end on the bridge; at most 15 characters, so not the host's name."""
        return f"lab{self.number}"


def specs() -> dict[str, Spec]:
    """Every host that was ever asked for since the last `down`."""
    path = state_dir() / "hosts.json"
    if not path.exists():
        return {}
    return {entry["name"]: Spec(**{**entry, "disks": tuple(entry["disks"])}) for entry in json.loads(path.read_text())}


def add(
    name: str, *, expired: bool = False, disks: Sequence[int] = (), vm: bool = False, image: bool | str = False,
    machine: str = "", card: str = "",
) -> Spec:  # fmt: skip
    """Return the spec of `name`, giving it the next number when it is new.

    Raises:
        LabError: the name is not a host name.
    """
    if not _NAME.fullmatch(name):
        message = f"{name!r} is no name for a lab host: lower-case letters, digits and dashes, a letter first."
        raise LabError(message)
    known = specs()
    tool = "rpm-ostree" if image is True else (image or "")
    if tool not in IMAGE_TOOLS:
        message = f"{name}: lab_image is True (or 'rpm-ostree') or 'ostree'."
        raise LabError(message)
    if name not in known:
        taken = {spec.number for spec in known.values()}
        number = next(free for free in range(len(taken) + 1) if free not in taken)
        known[name] = Spec(name, number, expired, tuple(disks), vm, tool, machine, card)
        _write_specs(known)
    return known[name]


def forget(name: str) -> None:
    """Take a host off the list; its address may be given to another one."""
    _write_specs({known: spec for known, spec in specs().items() if known != name})


def _write_specs(known: Mapping[str, Spec]) -> None:
    text = json.dumps([asdict(spec) for spec in known.values()], indent=1)
    replace_text(state_dir() / "hosts.json", text)


def replace_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old or the new text, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.chmod(mode)
    partial.replace(path)


def key_pair(path: Path, comment: str) -> str:
    """Make an ed25519 key pair unless it is there; returns the public key (`type base64`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hosts that boot at once ask for the same key.
    with file_locked(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def host_key(spec: Spec) -> str:
    """The host's public key. The key is made on this side, so it is pinned before the first connection."""
    return key_pair(_host_key_file(spec), spec.name)


def known_hosts(spec: Spec) -> Path:
    """The known_hosts file with this host's key alone."""
    return state_dir() / "keys" / spec.name / "known_hosts"


def _host_key_file(spec: Spec) -> Path:
    # Outside of the host's disk: a host that is reset keeps its key.
    return state_dir() / "keys" / spec.name / "ssh_host_ed25519_key"


def write(spec: Spec, lower: Sequence[Path]) -> None:
    """Fill the upper directory of a host that has none yet. A second call changes nothing."""
    upper = spec.directory / "upper"
    if (spec.directory / "seeded").exists():
        return
    write_blank(spec, spec.name)
    key = _host_key_file(spec)
    replace_text(upper / "etc/ssh" / key.name, key.read_text(), 0o600)
    for directory in ("root", "root/.ssh"):
        (upper / directory).mkdir(mode=0o700)
        (upper / directory).chmod(0o700)
    replace_text(upper / "root/.ssh/authorized_keys", f"{key_pair(state_dir() / 'id', 'photon-lab')}\n", 0o600)
    _allow_root_key(upper, lower)
    if not spec.expired:
        _age_root_password(upper, lower)
    (spec.directory / "seeded").touch()


def write_blank(spec: Spec, hostname: str) -> None:
    """Fill the upper directory of a host with its name and what the lab's network is, and nothing to log in with."""
    upper = spec.directory / "upper"
    shutil.rmtree(upper, ignore_errors=True)
    for name in ("upper", "work", "root", "docker", "containerd"):
        (spec.directory / name).mkdir(parents=True, exist_ok=True)
    upper.chmod(0o755)
    for directory in ("etc", "etc/ssh"):
        (upper / directory).mkdir(mode=0o755)
        (upper / directory).chmod(0o755)
    replace_text(upper / "etc/hostname", f"{hostname}\n")
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n{repository_address()} {REPOSITORY_HOST}\n"
    replace_text(upper / "etc/hosts", hosts)
    replace_text(upper / "etc/resolv.conf", "# The lab has no name server.\n")


def _lower_text(lower: Sequence[Path], name: str) -> str:
    for directory in lower:
        if (directory / name).exists():
            return (directory / name).read_text()
    message = f"the base system has no /{name}: is it a root file system with systemd and sshd?"
    raise LabError(message)


def _allow_root_key(upper: Path, lower: Sequence[Path]) -> None:
    text = _lower_text(lower, "etc/ssh/sshd_config")
    text = re.sub(r"(?m)^PermitRootLogin .*$", "PermitRootLogin prohibit-password", text)
    replace_text(upper / "etc/ssh/sshd_config", text, 0o600)


def _age_root_password(upper: Path, lower: Sequence[Path]) -> None:
    lines = _lower_text(lower, "etc/shadow").splitlines()
    today = str(int(time.time() // 86400))
    for index, line in enumerate(lines):
        fields = line.split(":")
        if fields[0] == "root":
            fields[2] = today
            lines[index] = ":".join(fields)
    replace_text(upper / "etc/shadow", "\n".join(lines) + "\n", 0o600)
