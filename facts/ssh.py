"""The SSH connection that this run uses, which no change may cut."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TypedDict

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override


class Connection(TypedDict):
    """The SSH connection as the host sees it; `interface` is "" when it is not known."""

    user: str
    groups: list[str]
    client: str
    server: str
    port: int
    interface: str


class SshConnection(FactBase[Connection | None]):
    """
    Returns the connection that this run uses, or None when the host does not tell (not over SSH, or under sudo):

    .. code:: python

        {"user": "root", "groups": ["root"], "client": "10.0.0.5", "server": "10.0.0.9", "port": 22,
         "interface": "eth0"}

    Source of the format: SSH_CONNECTION of sshd(8) and `ip -o address show` of iproute2.
    """

    @override
    def command(self) -> str:
        # Of a link-local address, ip wants no scope.
        return (
            'id -un; id -Gn; echo "$SSH_CONNECTION"; set -- $SSH_CONNECTION; '
            'ip -o address show to "$(echo "${3:-0.0.0.0}" | cut -d% -f1)"'
        )

    @override
    def process(self, output: list[str]) -> Connection | None:
        words = output[2].split() if len(output) > 2 else []  # noqa: PLR2004 - its third line
        if len(words) != 4:  # noqa: PLR2004 - client address and port, server address and port
            return None
        try:
            client, server = ip_address(words[0]), ip_address(words[2])
            port = int(words[3])
        except ValueError as error:
            message = f"SSH_CONNECTION is {output[2]!r}"
            raise FactProcessError(message) from error
        address = output[3].split() if len(output) > 3 else []  # noqa: PLR2004 - the line of ip
        return {
            "user": output[0], "groups": output[1].split(), "client": str(client), "server": str(server), "port": port,
            "interface": address[1] if len(address) > 1 else "",
        }  # fmt: skip
