"""The first boot of a host, for people: what it would be given, without secrets."""

from __future__ import annotations

import json
import os
from pathlib import Path

from deploys.errors import InputError
from deploys.vsphere.seed.cloud_init import HASH, seed
from deploys.vsphere.seed.host import NewHost
from deploys.vsphere.seed.host_keys import HostKey
from deploys.vsphere.seed.kickstart import Kickstart, kickstart

INSTANCE_ID = "made-when-the-VM-is"


def shown(host: NewHost) -> str:
    """The keys of guestinfo as text, before they are encoded.

    Raises:
        InputError: the host could not be logged in to.
    """
    key = None if host.first_boot.host_keys == "guest" else HostKey.shown()
    made = seed(host, INSTANCE_ID, key)
    sizes = {name: f"{len(value):,} bytes" for name, value in made.guest_info().keys.items()}
    return "\n".join(
        [
            f"guestinfo.metadata, handed over as {sizes['guestinfo.metadata']}:",
            made.metadata,
            f"guestinfo.userdata, handed over as {sizes['guestinfo.userdata']}; cloud-init takes it away:",
            made.user_data,
            f"{HASH}: {made.digest}",
        ]
    )


def answers(host: NewHost, asked: Kickstart) -> str:
    """The installer's answers as JSON, with references in the place of hashes.

    Raises:
        InputError: the host could not be logged in to.
    """
    return json.dumps(kickstart(host, asked, masked=True), indent=2)


def write_answers(host: NewHost, asked: Kickstart, path: Path) -> None:
    """Write what the installer wants, hashes included, into a new file that nobody else can read.

    Raises:
        InputError: as `answers`, or the file is there already or cannot be written.
    """
    text = json.dumps(kickstart(host, asked), indent=2) + "\n"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise InputError(message) from error
