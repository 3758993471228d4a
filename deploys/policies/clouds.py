"""Which cloud, where in it, and who we are there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from typing_extensions import override

from deploys.policies.base import Model
from deploys.policies.secret import Secret
from deploys.policies.types import Word


def _fits(value: str, pattern: str, what: str) -> str:
    if not re.fullmatch(pattern, value):
        message = f"{value!r} is no {what}"
        raise ValueError(message)
    return value


def _region(value: str) -> str:
    return _fits(value, r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}", "region such as eu-central-1")


def _zone(value: str) -> str:
    return _fits(value, r"[a-z]+-[a-z]+[0-9]{1,2}-[a-z]", "zone such as europe-west3-a")


def _project(value: str) -> str:
    return _fits(value, r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", "id of a project such as acme-prod")


def _endpoint(value: str) -> str:
    return _fits(value, r"https?://[A-Za-z0-9.\[\]:-]+/?", "address of a service such as https://ec2.example.com")


Region = Annotated[str, AfterValidator(_region)]
Zone = Annotated[str, AfterValidator(_zone)]
Project = Annotated[str, AfterValidator(_project)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]


class Ec2(Model):
    """A region of EC2.

    Without `key_id` and `profile` the credentials are found as boto3 finds them: its environment variables, ~/.aws,
    single sign-on, the role of the machine that this runs on.
    """

    region: Region
    profile: Word | None = None
    """A profile of ~/.aws."""
    key_id: Secret | None = None
    secret_key: Secret | None = None
    endpoint: Endpoint | None = None
    """Another service that speaks EC2's API, or an endpoint of the VPC."""

    @override
    def contradictions(self) -> Iterable[str]:
        if (self.key_id is None) != (self.secret_key is None):
            yield "key_id: it goes with secret_key: give both, or neither"
        if self.key_id is not None and self.profile is not None:
            yield "profile: it has credentials of its own: give it or key_id"

    @property
    def place(self) -> str:
        """For messages, and for what is written down of machines there."""
        return f"ec2:{self.region}"


class Gce(Model):
    """A zone of a project of Google's Compute Engine.

    Without `credentials_file` the credentials are found as Google's own library finds them: `gcloud auth
    application-default login`, the account of the machine that this runs on.
    """

    project: Project
    zone: Zone
    credentials_file: Path | None = None
    """The JSON key of a service account."""

    @property
    def place(self) -> str:
        """For messages, and for what is written down of machines there."""
        return f"gce:{self.project}/{self.zone}"
