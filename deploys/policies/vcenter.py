"""Which vCenter, who we are there, and how we know that it is the right one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.errors import InputError
from deploys.policies.base import Model
from deploys.policies.secret import Secret
from deploys.policies.types import Line, Port, Server


def _sha256(value: str) -> str:
    plain = value.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        message = f"{value!r} is no SHA-256 of a certificate: 64 hexadecimal digits, with or without colons"
        raise ValueError(message)
    return plain


Sha256 = Annotated[str, AfterValidator(_sha256)]


class VCenter(Model):
    """A vCenter. One of `ca_file`, `pin_sha256` and `insecure` says how its certificate is judged.

    Pin: `openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256`, compared with what
    the vCenter's own console shows.
    """

    host: Server
    user: Line
    password: Secret
    port: Port = 443
    ca_file: Path | None = None
    """The certificate of the authority that has signed the vCenter's, or the vCenter's own (PEM)."""
    pin_sha256: Sha256 | None = None
    """The SHA-256 of the vCenter's certificate; no other one gets the password."""
    insecure: bool = False
    """Take any certificate: whoever stands in between gets the password. Warned of on each run."""
    tasks: Annotated[int, Field(ge=1, le=200)] = 16
    """How many tasks of ours are under way at once."""

    @override
    def contradictions(self) -> Iterable[str]:
        given = [name for name in ("ca_file", "pin_sha256", "insecure") if getattr(self, name)]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "none is given"
            yield f"exactly one of ca_file, pin_sha256 and insecure=True says how the certificate is judged; {found}"
        if self.user.startswith("-") or not self.user:
            yield f"user: {self.user!r} is no name of a user, such as fleet@vsphere.local"

    @property
    def place(self) -> str:
        """`host:port`, for messages and for what is kept about it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def from_environment(cls) -> VCenter:
        """The vCenter that the environment names: VCENTER_HOST, VCENTER_USER, VCENTER_PASSWORD and the rest.

        The password may be in VCENTER_PASSWORD_FILE; one of VCENTER_PIN_SHA256 and VCENTER_CA_FILE must be given.

        Raises:
            InputError: one of them is missing or no such thing.
        """
        given = {name: os.environ.get(f"VCENTER_{name}", "") for name in ("HOST", "USER", "PIN_SHA256", "CA_FILE")}
        missing = [f"VCENTER_{name}" for name in ("HOST", "USER") if not given[name]]
        if missing:
            message = f"@vsphere needs a vCenter: set {' and '.join(missing)} (see docs/vsphere.md)"
            raise InputError(message)
        host, _, port = given["HOST"].partition(":")
        file = os.environ.get("VCENTER_PASSWORD_FILE")
        optional = {"pin_sha256": given["PIN_SHA256"], "ca_file": given["CA_FILE"], "port": port}
        return cls.model_validate({
            "host": host, "user": given["USER"],
            "password": Secret.file(file) if file else Secret.env("VCENTER_PASSWORD"),
            **{name: value for name, value in optional.items() if value},
        })  # fmt: skip
