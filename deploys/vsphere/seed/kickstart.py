"""Answers for the unattended installer of Photon's ISO, from the policies of the host that it makes.

Only keys that the installers of Photon 4.0 to 5.0 know alike are used, as an unknown key ends them. `public_key` and
`network` are not: the form of both has changed, and the first also lets root log in by password. The keys, sshd_config
and the files of networkd are written after the installation instead, as the policies themselves write them.

Source of the format: photon-os-installer's docs/ks_config.md, and ks_config.txt of its older releases.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.errors import InputError
from deploys.policies.accounts_models import User
from deploys.policies.base import Item, Model
from deploys.policies.render import render
from deploys.policies.secret import Secret
from deploys.policies.types import AbsolutePath, Word
from deploys.vsphere.seed.cloud_init import files_of, sshd_settings
from deploys.vsphere.seed.host import ROOT, NewHost
from operations.accounts import HASH
from operations.network import DIRECTORY

_GRUB_HASH = re.compile(r"grub\.pbkdf2\.sha512\.[0-9]+\.[0-9A-F]+\.[0-9A-F]+")
_LIST_FILE = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./-]*\.json")
_DEVICE = re.compile(r"/dev/[A-Za-z0-9][A-Za-z0-9_:./-]*")


def _device(value: str) -> str:
    if not _DEVICE.fullmatch(value):
        message = f"{value!r} is no device such as /dev/sda"
        raise ValueError(message)
    return value


def _list_file(value: str) -> str:
    if not _LIST_FILE.fullmatch(value):
        message = f"{value!r} is no list of packages of the ISO, such as packages_minimal.json"
        raise ValueError(message)
    return value


class Partition(Item):
    """A partition of the disk; the installer adds those that the boot loader needs."""

    identity: ClassVar[str] = "mount"

    mount: AbsolutePath | Literal["swap"]
    size: int = Field(ge=0, le=2**31)
    """MiB; 0 takes what the others leave."""
    filesystem: Literal["ext4", "xfs", "btrfs"] = "ext4"

    def answer(self) -> dict[str, Any]:
        """As the installer wants it."""
        if self.mount == "swap":
            return {"size": self.size, "filesystem": "swap"}
        return {"mountpoint": self.mount, "size": self.size, "filesystem": self.filesystem}


class Kickstart(Model):
    """What the installer asks beyond the policies; `kickstart=Kickstart(...)` in a host's data."""

    disk: Annotated[str, AfterValidator(_device)] = "/dev/sda"
    """All that is on it is lost."""
    partitions: tuple[Partition, ...] = (Partition(mount="/", size=0),)
    package_list: Annotated[str, AfterValidator(_list_file)] = "packages_minimal.json"
    """A file of the ISO: its packages."""
    packages: tuple[Word, ...] = ()
    """More packages; they must be on the ISO. Others come with the packages policy."""
    kernel: Literal["linux", "linux-esx", "linux-rt"] = "linux-esx"
    boot: Literal["efi", "bios", "dualboot"] = "efi"
    root_password: bool = False
    """Hand over the hash of accounts.root.password. Whoever can fetch the answers reads it, and the installer writes it
    into its log; without it root has none until the accounts policy comes."""
    grub_password: Secret | None = None
    """The hash that `grub2-mkpasswd-pbkdf2` prints. The newest installers ask for one; older ones end at the key."""

    @override
    def contradictions(self) -> Iterable[str]:
        if not any(partition.mount == "/" for partition in self.partitions):
            yield "partitions: none is for /"
        if sum(partition.size == 0 for partition in self.partitions) > 1:
            yield "partitions: more than one of them has the size 0, which takes what the others leave"
        mounts = [partition.mount for partition in self.partitions]
        yield from sorted({f"partitions: {mount} is given twice" for mount in mounts if mounts.count(mount) > 1})

    def to_json(self) -> dict[str, Any]:
        """For `debug-inventory --json`."""
        return self.model_dump(mode="json")


def kickstart(host: NewHost, asked: Kickstart, *, masked: bool = False) -> dict[str, Any]:
    """The answers, to be served as JSON.

    Args:
        host: the host.
        asked: what else the installer wants to know.
        masked: for people: hashes are not resolved, and their references are shown.

    Raises:
        InputError: the host could not be logged in to afterwards, or a hash is none.
    """
    host.require()
    sudo = ["sudo"] if host.user != ROOT else []
    answers = {
        "hostname": host.hostname,
        "disk": asked.disk,
        "partitions": [partition.answer() for partition in asked.partitions],
        "bootmode": asked.boot,
        "linux_flavor": asked.kernel,
        "packagelist_file": asked.package_list,
        "additional_packages": list(dict.fromkeys([*asked.packages, *sudo])),
        # Never expired: sshd would refuse keys as well.
        "password": {"crypted": True, "text": _root_hash(host, asked, masked=masked), "age": -1},
        "postinstall": render("seed/postinstall.sh", **_after(host)).rstrip("\n").split("\n"),
    }
    if asked.grub_password:
        found = _hash(f"{host.name}: kickstart.grub_password", asked.grub_password, _GRUB_HASH, masked=masked)
        answers["grub"] = {"password_pbkdf2": found}
    return answers


def _root_hash(host: NewHost, asked: Kickstart, *, masked: bool) -> str:
    if not asked.root_password:
        return "*"
    password = host.accounts.root.password
    if not isinstance(password, Secret):
        message = f"{host.name}: kickstart.root_password: accounts.root.password has no hash to hand over"
        raise InputError(message)
    return _hash(f"{host.name}: accounts.root.password", password, HASH, masked=masked)


def _hash(field: str, secret: Secret, pattern: re.Pattern[str], *, masked: bool) -> str:
    if masked:
        return f"(masked: {secret})"
    found = secret.resolve()
    if not pattern.fullmatch(found):
        message = f"{field}: {secret} holds no hash, or one of another kind"
        raise InputError(message)
    return found


def _after(host: NewHost) -> dict[str, Any]:
    """What the script that runs in the new system is made from; all text quoted for a shell."""
    files = files_of(host) | {f"{DIRECTORY}/{name}": ("0644", text) for name, text in host.network.files().items()}
    account = host.account
    home = "/root" if account is None else account.home or f"/home/{account.name}"
    return {
        "files": [(path, mode, shlex.quote(text)) for path, (mode, text) in files.items()],
        "settings": sshd_settings(host),
        "user": host.user,
        "home": shlex.quote(home),
        "keys": shlex.quote("".join(f"{key}\n" for key in host.login_keys())),
        "groups": _groups(host),
        "useradd": shlex.join(_useradd(account)) if account else None,
    }


def _groups(host: NewHost) -> Mapping[str, str]:
    """Groups of the first login's user -> the options of groupadd."""
    numbers = {group.name: group.gid for group in host.accounts.groups}
    names = [] if host.account is None else dict.fromkeys(host.groups())
    return {name: f"-g {number} " if (number := numbers.get(name)) is not None else "" for name in names}


def _useradd(user: User) -> list[str]:
    words = ["useradd", "-m", "-g", user.group or user.name, "-s", user.shell, "-c", user.comment]
    words += ["-G", ",".join(user.groups)] if user.groups else []
    words += ["-d", user.home] if user.home else []
    words += [] if user.uid is None else ["-u", str(user.uid)]
    return [*words, *(["-r"] if user.system else []), user.name]
