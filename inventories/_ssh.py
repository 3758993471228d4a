"""The @photon connector: pyinfra's SSH connector with pinned host keys, no Nagle delay, and reads in batches.

Host names stay plain (`web-1`), so `--limit web-1` works. Host keys are looked up in the fleet's own known_hosts file
(`inventories/known_hosts` unless `ssh_known_hosts_file` says otherwise) and nothing is ever added to it: an unknown or
changed key is refused with the fingerprints that were expected and seen.

Reads (facts, and what a proof reads) are answered together: the first one of a phase brings the answers of all that
were read in that phase the last time (see _reads.py and _profiles.py). Everything else that is run on the host may
change it, and ends what is known of it. Not batched: a command with a masked value, standard input, a terminal, a time
limit of its own, variables in its environment, or without a shell.

`anew()` is the proof that the next run gets in: the same user, key, sudo and pinned host key over a new connection.
Where a host is about to move (`ssh_next_hostname`) or to change its login (`ssh_next_key`), it is made in that way if
it can be, with the host key that is pinned for the host as it is called now: it is the same machine.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gevent
from paramiko import AuthenticationException, BadHostKeyException, PKey, SSHException, Transport
from pyinfra import logger
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.base import DataMeta
from typing_extensions import override

from inventories._batched import BatchedConnector, BatchedData
from inventories._exec import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyinfra.api.command import StringCommand
    from pyinfra.api.host import Host
    from pyinfra.api.state import State
    from pyinfra.connectors.sshuserclient import SSHClient
    from pyinfra.connectors.util import CommandOutput

# Paramiko logs a traceback for what the connector turns into one sentence.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

KNOWN_HOSTS = Path(__file__).parent / "known_hosts"
KEEPALIVE_SECONDS = 15
DEAD_LINK_SECONDS = 60
"""A connection whose peer acknowledges nothing for this long is given up; keepalives make it notice."""
CONNECT_SECONDS = 10
COMMAND_SECONDS = 3600
"""The end of every command that has no `_timeout` of its own."""
LOST = "the connection was lost while the command ran; what it changed is not known. The next run looks again."
# pam_unix's words, printed instead of running the command; there is no other sign of it (exit status 1).
EXPIRED = "Password change required but no TTY available"


def fingerprint(key: PKey) -> str:
    """`ssh-ed25519 SHA256:...`, as ssh-keygen -l prints it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _transport(sock: Any, **options: Any) -> Transport:  # noqa: ANN401 - paramiko's factory signature
    # Without this every command waits 40 ms for the peer's delayed acknowledgement.
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_LINK_SECONDS * 1000)
    return Transport(sock, **options)


class PhotonData(BatchedData):
    """Host data that this connector knows."""

    ssh_next_hostname: str
    ssh_next_key: str
    ssh_why_not: str


class PhotonConnector(BatchedConnector):
    """Strict SSH to a host of the inventory; see the module's docstring."""

    data: PhotonData
    data_cls: ClassVar[type[Any]] = PhotonData  # type: ignore[misc]
    _socket: socket.socket | None = None

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self._at_end: list[Callable[[], None]] = []

    data_meta: ClassVar[dict[str, DataMeta]] = {  # type: ignore[misc]
        **BatchedConnector.data_meta,
        "ssh_known_hosts_file": DataMeta("The fleet's known_hosts file", str(KNOWN_HOSTS)),
        "ssh_strict_host_key_checking": DataMeta("Always yes", "yes"),
        "ssh_next_hostname": DataMeta("Where SSH reaches the host once its network policy is applied"),
        "ssh_next_key": DataMeta("The private key that the next run logs in with"),
        "ssh_why_not": DataMeta("Why the host cannot be reached at all, such as: it is off"),
    }

    @staticmethod
    @override
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield name, {}, []

    @override
    def make_paramiko_kwargs(self) -> dict[str, Any]:
        # Whoever wants another policy than "yes" wants another connector.
        return {
            **super().make_paramiko_kwargs(),
            "_pyinfra_ssh_strict_host_key_checking": "yes",
            "transport_factory": _transport,
        }

    @override
    def connect(self) -> None:
        if self.data["ssh_why_not"]:
            raise ConnectError(self.data["ssh_why_not"])
        super().connect()

    def at_end(self, do: Callable[[], None]) -> None:
        """Call `do` before the host is disconnected, however the run ends; what was given last is called first."""
        self._at_end.append(do)

    @override
    def disconnect(self) -> None:
        while self._at_end:
            do = self._at_end.pop()
            try:
                do()
            except Exception as error:  # noqa: BLE001 - the others are called all the same, and the host disconnected
                logger.warning("%s%s", self.host.print_prefix, error)
        super().disconnect()

    def anew(
        self,
        command: StringCommand,
        connect_seconds: float = CONNECT_SECONDS,
        login_seconds: float | None = None,
        **arguments: Any,  # noqa: ANN401 - pyinfra's connector arguments
    ) -> tuple[bool, CommandOutput]:
        """Run a command over a connection of its own, made as the next run will make it; see the module's docstring.

        Args:
            command: what is run.
            connect_seconds: how long the other end may take to answer at all.
            login_seconds: how long it may take until we are in; twice that when not given.
            arguments: of the connector.

        Raises:
            ConnectError: no new connection.
            SSHException: it was lost, or the command did not end in time.
        """
        reasons = []
        place, key = self.data["ssh_next_hostname"], self.data["ssh_next_key"]
        for next_place, next_key in dict.fromkeys(((place, key), (None, None))):
            fresh = type(self)(self.state, self.host)
            fresh.data = {**self.data, "ssh_key": next_key} if next_key else self.data
            try:
                fresh._connect_once(next_place, connect_seconds, login_seconds or 2 * connect_seconds)  # noqa: SLF001 - of the same class
                return fresh._run_alone(command, **arguments)  # noqa: SLF001 - of the same class
            except ConnectError as error:
                reasons.append(str(error))
            finally:
                self._keep_one(fresh, moved=next_place is not None)
        raise ConnectError("; ".join(reasons))

    def hang_up(self) -> None:
        """Give up the connection, as its other end is going down; the next new one takes its place."""
        if self.client is not None:
            self.client.close()

    def _keep_one(self, fresh: PhotonConnector, *, moved: bool) -> None:
        """Close the new connection, or go on with it where the change has cut the old one."""
        if fresh._is_open() and (moved or not self._is_open()):
            self.client, fresh.client = fresh.client, self.client
        if fresh.client is not None:
            fresh.client.close()

    def _connect_once(self, place: str | None, seconds: float, login_seconds: float) -> None:
        """Open the connection, at `place` or where it is said to be, and nothing that belongs to a run."""
        try:
            if place is not None:
                self._socket = socket.create_connection((place, int(self.data["ssh_port"] or 22)), timeout=seconds)
            with gevent.Timeout(login_seconds, TimeoutError(f"no login within {login_seconds:.0f} s")):
                self._connect(seconds)
        except (SSHException, OSError, EOFError) as error:
            raise ConnectError(str(error) or type(error).__name__) from error

    @override
    def _connect(self, seconds: float | None = None) -> None:
        kwargs = self.make_paramiko_kwargs()
        if seconds is not None:
            kwargs["timeout"] = seconds
        address = kwargs.pop("hostname")
        if self._socket is not None:
            kwargs["sock"] = self._socket
        client: SSHClient = Client()
        self.client = client
        try:
            client.connect(address, **kwargs)
        except BadHostKeyException as error:
            raise ConnectError(self._changed_key(address, error)) from error
        except AuthenticationException as error:
            user = kwargs.get("username") or "the current user"
            key = self.data["ssh_key"] or "the SSH agent's and the user's own keys"
            message = f"{address} refuses {user} with {key}: {error}"
            raise ConnectError(message) from error
        except SSHException as error:
            seen = self._offered_key()
            if "No host key for" in str(error) and seen is not None:
                raise ConnectError(self._unknown_key(address, seen)) from error
            if self._retry_paramiko_agent_keys(address, kwargs, error):
                return
            raise
        transport = self.client.get_transport()
        if transport is not None:
            transport.set_keepalive(KEEPALIVE_SECONDS)

    def _offered_key(self) -> PKey | None:
        transport = self.client.get_transport() if self.client else None
        try:
            return transport.get_remote_server_key() if transport else None
        except SSHException:
            return None
        finally:
            if transport:
                transport.close()

    def _known_hosts(self) -> str:
        return str(self.data["ssh_known_hosts_file"])

    def _unknown_key(self, address: str, seen: PKey) -> str:
        return (
            f"no host key is pinned for {address}; it offers {fingerprint(seen)}. Compare that with the host's console "
            f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then add the key to {self._known_hosts()}."
        )

    def _changed_key(self, address: str, error: BadHostKeyException) -> str:
        return (
            f"the host key of {address} is not the pinned one: expected {fingerprint(error.expected_key)}, "
            f"seen {fingerprint(error.key)}. Either the host was rebuilt or something stands in between; nothing was "
            f"sent. If it was rebuilt, replace its line in {self._known_hosts()}."
        )

    def _is_open(self) -> bool:
        transport = self.client.get_transport() if self.client else None
        return transport is not None and transport.is_active()

    @override
    def _run_alone(self, command: StringCommand, **arguments: Any) -> tuple[bool, CommandOutput]:
        bounded = arguments.get("_timeout") or COMMAND_SECONDS
        try:
            succeeded, output = super()._run_alone(command, **{**arguments, "_timeout": bounded})
        except (EOFError, SSHException) as error:
            # pyinfra takes an EOFError for a bug and ends the run of every host.
            raise SSHException(str(error) if self._is_open() else LOST) from error
        except TimeoutError as error:
            message = f"the command did not end within {bounded} s" if self._is_open() else LOST
            raise SSHException(message) from error
        if not succeeded and not self._is_open():
            # A command that did not end looks like one that failed and said nothing.
            raise SSHException(LOST)
        if not succeeded and EXPIRED in output.output:
            message = (
                "the password of the login user has expired, and until it is changed the host refuses every command, "
                "key or not. Change it on the console, or set its age: chage -M -1 USER"
            )
            raise SSHException(message)
        return succeeded, output
