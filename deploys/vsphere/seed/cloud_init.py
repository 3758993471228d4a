"""The first boot by cloud-init's VMware datasource: metadata, network and user data, in keys of guestinfo.

The user data holds only what the first login needs; everything else is the business of `deploys/host.py`, which can
prove it. When all of it is in place the guest writes `guestinfo.fleet.ready`, or `guestinfo.fleet.failed` and why.

Source of the formats: cloud-init's DataSourceVMware and "All cloud config examples", 22.4 (Photon 3) to 25.1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploys.policies.accounts import SUDOERS
from deploys.policies.render import render
from deploys.vsphere.seed import network_data
from deploys.vsphere.seed.encode import GuestInfo, guest_info
from deploys.vsphere.seed.host import ROOT, NewHost
from deploys.vsphere.seed.host_keys import HostKey
from operations.sshd import PATH as SSHD_CONFIG

READY, FAILED, HOST_KEY, HASH = (f"guestinfo.fleet.{name}" for name in ("ready", "failed", "hostkey", "hash"))
"""READY has the instance id when the host can be logged in to, FAILED a sentence when it cannot; HOST_KEY is the public
key of a guest that made it itself; HASH tells what the VM was made with from what it would be made with today."""

KEEP_NAME = "/etc/cloud/cloud.cfg.d/99-photon-fleet.cfg"
_INSTANCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_NOT_PLAIN = re.compile(r"[^\x20-\x7e\n]")


@dataclass(frozen=True)
class Channel:
    """How a guest tells that it is ready, that it failed, and its key: by keys of guestinfo, or on its console."""

    ready: str = READY
    failed: str = FAILED
    host_key: str = HOST_KEY
    console: bool = False


@dataclass(frozen=True, repr=False)
class Seed:
    """What a new VM is given.

    Args:
        metadata: JSON, read at every boot.
        user_data: a cloud-config; may hold a private key.
        digest: of both, without the instance id and the host's key: what was asked for.
    """

    instance_id: str
    metadata: str
    user_data: str
    digest: str

    def guest_info(self) -> GuestInfo:
        """The keys for extraConfig, to be written once, when the VM is made.

        Raises:
            InputError: too large.
        """
        texts = {"metadata": self.metadata, "userdata": self.user_data}
        return guest_info(texts, {HASH.removeprefix("guestinfo."): self.digest})


def seed(host: NewHost, instance_id: str, host_key: HostKey | None = None) -> Seed:
    """What `host` is given for its first boot.

    Args:
        host: the host.
        instance_id: a new one for each VM that is made: cloud-init works once for each, and a copy of a VM must not
            count as ready.
        host_key: its SSH key; None has the guest make it.

    Raises:
        InputError: the host could not be logged in to afterwards; or no instance id.
        ValueError: a host key is given and not wanted, or wanted and not given.
    """
    host.require(network_data.problems(host.network))
    if not _INSTANCE_ID.fullmatch(instance_id):
        message = f"{instance_id!r} is no instance id"
        raise ValueError(message)
    if (host_key is None) != (host.first_boot.host_keys == "guest"):
        message = f"{host.name}: the host key is made by the {host.first_boot.host_keys}"
        raise ValueError(message)
    metadata, user_data = metadata_of(host, instance_id), user_data_of(host, instance_id, host_key)
    blank = HostKey("", "") if host_key else None
    asked = [metadata_of(host, ""), user_data_of(host, "", blank)]
    digest = hashlib.sha256("\0".join(map(as_yaml, asked)).encode()).hexdigest()
    return Seed(instance_id, as_yaml(metadata), f"#cloud-config\n{as_yaml(user_data)}", digest)


def as_yaml(value: Mapping[str, Any]) -> str:
    """JSON, which YAML 1.1 reads as the same value: but for characters that are not plain, which it wants otherwise.

    So there is no need for a writer of YAML, and for none of the ways in which it lets text look like a number.
    """
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return _NOT_PLAIN.sub(lambda found: f"\\U{ord(found[0]):08x}", text) + "\n"


def metadata_of(host: NewHost, instance_id: str) -> dict[str, Any]:
    """The metadata. It stays: without its instance id each boot would count as the first one."""
    network = network_data.network_data(host.network, host.hostname)
    return {
        "instance-id": instance_id,
        "local-hostname": host.hostname,
        "redact": ["userdata"],
        **({"network": network} if network else {}),
    }


def user_data_of(
    host: NewHost, instance_id: str, host_key: HostKey | None, channel: Channel | None = None
) -> dict[str, Any]:
    """The user data; without a channel the guest answers through guestinfo."""
    prepare = render("seed/prepare.sh", groups=_numbered_groups(host), settings=sshd_settings(host))
    ready = render("seed/ready.sh", host=host, instance_id=instance_id, public_key=host_key and host_key.public,
                   channel=channel or Channel())  # fmt: skip
    keys = {"ed25519_private": host_key.private, "ed25519_public": f"{host_key.public}\n"} if host_key else {}
    return {
        "prefer_fqdn_over_hostname": True,
        # Before sshd is started, so that no login is ever possible by the template's password.
        "bootcmd": [["cloud-init-per", "instance", "photon-fleet-prepare", "sh", "-c", prepare]],
        "write_files": [
            {"path": path, "permissions": mode, "content": text} for path, (mode, text) in files_of(host).items()
        ],
        "users": [_user(host)],
        "ssh_deletekeys": True,
        **({"ssh_keys": keys} if keys else {"ssh_genkeytypes": ["ed25519"]}),
        "runcmd": [["sh", "-c", ready]],
    }


def files_of(host: NewHost) -> dict[str, tuple[str, str]]:
    """The files of the first boot, as the policies write them later: path -> mode and text."""
    # The name is the network policy's from now on, and cloud-init must not put the first one back at each boot.
    files = {KEEP_NAME: ("0644", "preserve_hostname: true\n")}
    if host.ssh:
        files[SSHD_CONFIG] = ("0600", host.ssh.render())
    if host.user != ROOT:
        files[SUDOERS] = ("0440", host.accounts.sudoers())
    return files


def sshd_settings(host: NewHost) -> list[str]:
    """What the image's own sshd_config is begun with, as the first value counts; nothing beside an ssh policy."""
    if host.ssh:
        return []
    return [*(["PermitRootLogin prohibit-password"] if host.user == ROOT else []), "PasswordAuthentication no"]


def _user(host: NewHost) -> dict[str, Any]:
    keys = {"ssh_authorized_keys": host.login_keys()}
    account = host.account
    if account is None:
        # The password is dealt with in prepare.sh: cloud-init would lock it, and leave it expired.
        return {"name": ROOT, "lock_passwd": False, **keys}
    return {
        "name": account.name,
        "primary_group": account.group or account.name,
        "groups": list(account.groups),
        "homedir": account.home or f"/home/{account.name}",
        "shell": account.shell,
        "gecos": account.comment,
        "lock_passwd": True,
        **({} if account.uid is None else {"uid": account.uid}),
        **({"system": True} if account.system else {}),
        **keys,
    }


def _numbered_groups(host: NewHost) -> list[tuple[str, int]]:
    """Groups of the first login's user that have a number: cloud-init would make them with any."""
    wanted = [] if host.user == ROOT else host.groups()
    return [(group.name, group.gid) for group in host.accounts.groups if group.name in wanted and group.gid is not None]
