"""From the settings of a cloud to the cloud; its library is imported here, when it is used, and nowhere before."""

from __future__ import annotations

from importlib import import_module

from deploys.clouds.machine import Cloud
from deploys.errors import InputError
from deploys.policies.clouds import Ec2, Gce


def opened(settings: Ec2 | Gce) -> Cloud:
    """The cloud.

    Raises:
        InputError: its library is not installed, or it refuses us.
    """
    try:
        if isinstance(settings, Ec2):
            made: Cloud = import_module("deploys.clouds.ec2").Ec2Cloud(settings)
        else:
            made = import_module("deploys.clouds.gce").GceCloud(settings)
    except ModuleNotFoundError as error:
        message = f"{settings.place} needs {error.name}, which is not installed: pip install -e '.[clouds]'"
        raise InputError(message) from error
    return made
