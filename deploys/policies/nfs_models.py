"""What is mounted from NFS servers, and what a server exports to whom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies.base import Item
from deploys.policies.storage_models import MountPath, Option, PlainPath

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_OWN = {"vers", "nfsvers", "hard", "soft", "timeo", "retrans", "bg", "fg", "minorversion"}


def _server(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        if _HOST.fullmatch(value):
            return value
    message = f"{value!r} is no name or address of a host"
    raise ValueError(message)


def _client(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        if _HOST.fullmatch(value) and not value.replace(".", "").isdigit() and "/" not in value:
            return value
        message = f"{value!r} is no network and no name of a host: {error}"
        raise ValueError(message) from None


def _own_option(value: str) -> str:
    if value.partition("=")[0] in _OWN:
        message = f"{value!r} is a field of its own"
        raise ValueError(message)
    return value


Server = Annotated[str, AfterValidator(_server)]
ClientName = Annotated[str, AfterValidator(_client)]
NfsOption = Annotated[Option, AfterValidator(_own_option)]


class NfsMount(Item):
    """A directory of a server; `path` is where it is seen."""

    identity: ClassVar[str] = "path"

    path: MountPath
    server: Server
    export: PlainPath
    version: Literal["4.1", "4.2"] = "4.2"
    read_only: bool = False
    automount: bool = True
    """Mounted when somebody looks at it, not at boot."""
    idle_seconds: int = Field(default=600, ge=0)
    """An automount that nobody uses is taken away after this; 0 keeps it."""
    hard: bool = True
    """Wait for a server that is gone, for ever. A soft mount gives errors instead, and can lose what was written."""
    timeout_tenths: int = Field(default=600, ge=1, le=6000)
    """Tenths of a second until a request is sent again (`timeo`)."""
    retries: int = Field(default=2, ge=0, le=100)
    """How often, before a soft mount gives up (`retrans`)."""
    mount_seconds: int = Field(default=30, ge=5, le=600)
    """How long mounting may take."""
    options: tuple[NfsOption, ...] = ()
    """As /proc/mounts shows them, such as noatime or nosuid."""

    def mount_options(self) -> list[str]:
        """What must be in force once it is mounted."""
        return [
            "ro" if self.read_only else "rw", f"vers={self.version}", "hard" if self.hard else "soft",
            f"timeo={self.timeout_tenths}", f"retrans={self.retries}", *self.options,
        ]  # fmt: skip

    @property
    def source(self) -> str:
        """Server and directory, as mount.nfs wants them."""
        return f"[{self.server}]:{self.export}" if ":" in self.server else f"{self.server}:{self.export}"


class Client(Item):
    """Who may mount an export, and how."""

    identity: ClassVar[str] = "who"

    who: ClientName
    """A network in CIDR notation, an address, or the name of a host."""
    read_only: bool = True
    squash: Literal["root", "all", "none"] = "root"
    """Whose requests are taken for nobody's: root's, everybody's, no one's."""
    write: Literal["sync", "async"] = "sync"
    """`async` answers before data is on the disk: a server that falls over loses what clients believe to be written."""

    def words(self) -> list[str]:
        """Its options in exports(5), all of them said."""
        squash = {
            "root": ["root_squash", "no_all_squash"],
            "all": ["root_squash", "all_squash"],
            "none": ["no_root_squash", "no_all_squash"],
        }
        return ["ro" if self.read_only else "rw", self.write, *squash[self.squash], "no_subtree_check", "sec=sys"]

    @property
    def shown(self) -> str:
        """As exportfs shows it: a single address without its prefix."""
        try:
            network = ip_network(self.who)
        except ValueError:
            return self.who
        return str(network.network_address) if network.num_addresses == 1 else self.who


class Export(Item):
    """A directory that clients may mount."""

    identity: ClassVar[str] = "path"

    path: PlainPath
    clients: tuple[Client, ...] = Field(min_length=1)

    @override
    def contradictions(self) -> Iterable[str]:
        if self.path == "/":
            yield "path: the whole host is no export"
        names = [client.who for client in self.clients]
        yield from sorted(
            {f"clients: {name!r} is given {names.count(name)} times" for name in names if names.count(name) > 1}
        )

    def line(self) -> str:
        """Its line in exports(5)."""
        return " ".join([self.path, *(f"{client.shown}({','.join(client.words())})" for client in self.clients)])
