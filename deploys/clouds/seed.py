"""The first boot of a cloud's machine: user data, from the same policies as a vCenter's.

Every program in the guest can read it from the cloud's metadata service for as long as the machine lives, and so can
whoever may look at the machine through the API: nothing secret is in it, and the host's key is always made in the
guest. Source of the format: cloud-init's DataSourceEc2 and DataSourceGCE, 22.4 to 25.1.
"""

from __future__ import annotations

from deploys.clouds.console import FAILED, HOST_KEY, READY, key
from deploys.errors import InputError
from deploys.vsphere.seed.cloud_init import Channel, as_yaml, user_data_of
from deploys.vsphere.seed.host import ROOT, NewHost


def user_data(host: NewHost, token: str) -> str:
    """The cloud-config of a host.

    Raises:
        InputError: it could not be logged in to afterwards, or its key is to be made here.
    """
    host.require()
    if host.first_boot.host_keys == "controller":
        message = (
            f"{host.name}: first_boot.host_keys: on a cloud every program in the guest can read its user data, for as "
            "long as the machine lives; a private key has no place there. Let the guest make it"
        )
        raise InputError(message)
    channel = Channel(key(token, READY), key(token, FAILED), key(token, HOST_KEY), console=True)
    made = user_data_of(host, token, None, channel)
    own = {
        # Both, or the name of the cloud's metadata would be taken for the whole one.
        "hostname": host.hostname,
        "fqdn": host.hostname,
        # Images for GCE have both off: root is refused, and stays as small as the image.
        "disable_root": host.user != ROOT,
        "growpart": {"mode": "auto", "devices": ["/"]},
        "resize_rootfs": True,
    }
    return f"#cloud-config\n{as_yaml(own | made)}"
