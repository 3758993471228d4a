"""Where a run happens: lab hosts, the proxy in front of them, and a scratch directory. All of it gone at the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.errors import BenchError
from tests.bench.proxy import Proxy
from tests.lab import client, images, packages, settings

_BOOTS_AT_ONCE = 4


@dataclass(frozen=True)
class Place:
    """Hosts and how to reach them through the proxy: `ports` by host name, all on 127.0.0.1."""

    proxy: Proxy
    scratch: Path
    ports: dict[str, int]

    def names(self, count: int) -> list[str]:
        """The first `count` hosts."""
        return list(self.ports)[:count]

    @property
    def key(self) -> Path:
        return settings.state_dir() / "id"

    @property
    def known_hosts(self) -> Path:
        """The pinned keys of all hosts, by the ports of the proxy."""
        return self.scratch / "known_hosts"

    def environment(self, count: int) -> dict[str, str]:
        """What fleet.py and floor.py want to know."""
        return {
            **os.environ,
            "BENCH_HOSTS": " ".join(f"{name}={self.ports[name]}" for name in self.names(count)),
            "BENCH_KEY": str(self.key),
            "BENCH_KNOWN_HOSTS": str(self.known_hosts),
            "BENCH_NETWORK": f"{settings.network()}.0/24",
            "BENCH_SIGNING_KEY": str(packages.key_file()),
            "BENCH_FINGERPRINT": packages.fingerprint(),
            "BENCH_IMAGE": str(images.web()),
        }

    def reset(self, count: int) -> None:
        """Make the first `count` hosts new ones."""
        _several(client.reset, self.names(count))


def _several(do: Callable[[str], client.Access], names: Sequence[str]) -> list[client.Access]:
    with ThreadPoolExecutor(_BOOTS_AT_ONCE) as pool:
        return list(pool.map(do, names))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two benchmarks in one lab would reset each other's hosts."""
    with (Path(tempfile.gettempdir()) / f"{settings.name()}.bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = (
                f"another benchmark runs in the lab {settings.name()}: wait for it, or set BENCH_LAB_NAME and "
                "BENCH_LAB_NET to another lab"
            )
            raise BenchError(message) from error
        yield


@contextlib.contextmanager
def place(count: int, *, keep: bool) -> Iterator[Place]:
    """Boot `count` hosts in a lab of the benchmark's own; remove everything at the end unless `keep`."""
    # Another lab than a person's or the tests' own, whatever the environment says.
    os.environ["LAB_NAME"] = os.environ.get("BENCH_LAB_NAME", "photon-bench")
    os.environ["LAB_NET"] = os.environ.get("BENCH_LAB_NET", "10.86.0")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone())
        if not keep:
            stack.callback(client.down)
        # A short name: ssh's control sockets are below it, and their paths end at 108 bytes.
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pfb-", ignore_cleanup_errors=True))
        scratch = Path(directory)
        names = [f"bench-{number}" for number in range(1, count + 1)]
        accesses = dict(zip(names, _several(client.boot, names), strict=True))
        proxy = Proxy()
        stack.callback(proxy.close)
        ports = proxy.listen({name: (access.address, 22) for name, access in accesses.items()})
        made = Place(proxy, scratch, ports)
        lines = [
            f"[127.0.0.1]:{ports[name]} {access.known_hosts.read_text().partition(' ')[2]}"
            for name, access in accesses.items()
        ]
        made.known_hosts.write_text("".join(lines))
        yield made
