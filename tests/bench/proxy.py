"""A TCP proxy for the benchmark: one port for each host, a round-trip time of choice, and counts of what passes.

Runs as a process of its own (`Proxy`), so that its work is in no contender's figures. It reads one JSON request per
line from standard input and answers each with one line; when its input ends, it ends.

What counts as a round trip: the opening of a connection is one, and so is each time the client sends something after
something of the server has reached it. The client's end decides: an answer that is still on its way has been reacted
to by nobody, so what is sent meanwhile is no new round trip.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

from typing_extensions import override

from tests.bench.errors import BenchError


@dataclass
class Counts:
    """What has passed since the last reset, over all hosts. `up` is towards the hosts."""

    connections: int = 0
    round_trips: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


class _Side(asyncio.Protocol):
    """One end of a connection; `peer` is the other one, `ends` what both have in common."""

    def __init__(self, connection: _Connection, *, is_client: bool) -> None:
        self.connection = connection
        self.is_client = is_client
        self.transport: asyncio.Transport | None = None
        self.due: deque[tuple[float, bytes | None]] = deque()
        """What this end will be given, and when; None is the end of the stream."""
        self.timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        handle = transport.get_extra_info("socket")
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.is_client:
            self.connection.opened(self)

    @override
    def data_received(self, data: bytes) -> None:
        self.connection.passes(self, data)

    @override
    def eof_received(self) -> bool:
        self.connection.passes(self, None)
        # The other direction stays open: the streams end one by one, as they do without a proxy.
        return True

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.connection.passes(self, None)

    @override
    def pause_writing(self) -> None:
        self.connection.other(self).read(wanted=False)

    @override
    def resume_writing(self) -> None:
        self.connection.other(self).read(wanted=True)

    def read(self, *, wanted: bool) -> None:
        if self.transport is not None and not self.transport.is_closing():
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def give(self, data: bytes | None, delay: float) -> None:
        """Hand `data` to this end after `delay` seconds, in order."""
        if not delay and not self.due and self.transport is not None:
            self._write(data)
            return
        self.due.append((asyncio.get_running_loop().time() + delay, data))
        self.wake()

    def wake(self) -> None:
        if self.timer is None and self.due and self.transport is not None:
            self.timer = asyncio.get_running_loop().call_at(self.due[0][0], self._deliver)

    def _deliver(self) -> None:
        self.timer = None
        now = asyncio.get_running_loop().time()
        while self.due and self.due[0][0] <= now and self.transport is not None:
            self._write(self.due.popleft()[1])
        self.wake()

    def _write(self, data: bytes | None) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if data is None:
            self.connection.ended(self)
            return
        if self.is_client:
            self.connection.answered = True
        self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class _Connection:
    """A client, the host it wants, and the delay between the two."""

    def __init__(self, proxy: Relay, address: str, port: int) -> None:
        self.proxy, self.address, self.port = proxy, address, port
        self.delay = proxy.rtt / 2
        self.client = _Side(self, is_client=True)
        self.server = _Side(self, is_client=False)
        self.answered = False
        self.finished: set[_Side] = set()
        self.told: set[_Side] = set()
        self.task: asyncio.Task[None] | None = None

    def other(self, side: _Side) -> _Side:
        return self.server if side is self.client else self.client

    def opened(self, client: _Side) -> None:
        self.proxy.counts.connections += 1
        self.proxy.counts.round_trips += 1
        client.read(wanted=False)
        self.task = asyncio.get_running_loop().create_task(self._reach())

    async def _reach(self) -> None:
        # The kernel has accepted already. Without a proxy the client could send after one round trip, and the server
        # would know of the connection half a round trip later.
        await asyncio.sleep(2 * self.delay)
        self.client.read(wanted=True)
        await asyncio.sleep(self.delay)
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.server, self.address, self.port)
        except OSError:
            self.client.close()
            return
        self.server.wake()

    def passes(self, side: _Side, data: bytes | None) -> None:
        """`side` has sent `data`, or will send nothing more."""
        counts = self.proxy.counts
        if data is None:
            if side in self.finished:
                return
            self.finished.add(side)
        elif side.is_client:
            counts.bytes_up += len(data)
            if self.answered:
                counts.round_trips += 1
                self.answered = False
        else:
            counts.bytes_down += len(data)
        self.other(side).give(data, self.delay)

    def ended(self, side: _Side) -> None:
        """The end of the other's stream has reached `side`."""
        self.told.add(side)
        other = self.other(side)
        if other in self.told or other.transport is None:
            side.close()
            other.close()
        elif side.transport is not None and side.transport.can_write_eof():
            side.transport.write_eof()


def _accepted(proxy: Relay, address: str, port: int) -> _Side:
    return _Connection(proxy, address, port).client


class Relay:
    """The proxy inside its process."""

    def __init__(self) -> None:
        self.rtt = 0.0
        self.counts = Counts()
        self._servers: list[asyncio.Server] = []

    async def listen(self, targets: Mapping[str, tuple[str, int]]) -> dict[str, int]:
        """Open a port of 127.0.0.1 for each target; returns the ports by the same names."""
        ports = {}
        for name, (address, port) in targets.items():
            server = await asyncio.get_running_loop().create_server(
                partial(_accepted, self, address, port), "127.0.0.1", 0, backlog=512
            )
            self._servers.append(server)
            ports[name] = server.sockets[0].getsockname()[1]
        return ports

    async def close(self) -> None:
        for server in self._servers:
            server.close()

    async def answer(self, request: Mapping[str, Any]) -> object:
        """Do what one request asks for."""
        match request["do"]:
            case "listen":
                return await self.listen({name: (host, port) for name, (host, port) in request["targets"].items()})
            case "reset":
                self.rtt, self.counts = float(request["rtt"]), Counts()
                return None
            case _:
                return asdict(self.counts)


async def _serve() -> None:
    relay = Relay()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await relay.answer(json.loads(line))), flush=True)


class Proxy:
    """The proxy's process, as its user sees it. Ends when it is closed, and when its user dies."""

    def __init__(self) -> None:
        # A session of its own: Ctrl-C is its user's to handle.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.proxy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def _ask(self, **request: object) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            message = "the proxy has ended by itself; its last words are above"
            raise BenchError(message)
        return json.loads(line)

    def listen(self, targets: Mapping[str, tuple[str, int]]) -> dict[str, int]:
        """Open a port of 127.0.0.1 for each target (address and port); returns the ports by the same names."""
        ports: dict[str, int] = self._ask(do="listen", targets=targets)
        return ports

    def reset(self, rtt: float) -> None:
        """Forget all counts; connections from now on have this round-trip time (seconds)."""
        self._ask(do="reset", rtt=rtt)

    def counts(self) -> Counts:
        """What has passed since the last reset."""
        return Counts(**self._ask(do="counts"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main(arguments: Sequence[str]) -> int:
    """Serve standard input."""
    if arguments:
        print("the proxy takes no arguments: it reads requests from standard input", file=sys.stderr)
        return 2
    asyncio.run(_serve())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
