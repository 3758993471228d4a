"""The least that any tool can do over SSH from Python: connect with a pinned key, and run `true` twice, on every host.

Nothing of Photon Fleet or pyinfra is imported. Hosts and keys come from the environment, as for `fleet.py`.
"""

from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import paramiko

_EXECS = 2


def visit(place: str) -> int:
    """Connect to one host and run the commands; returns how many of them failed."""
    port = int(place.partition("=")[2])
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with paramiko.SSHClient() as client:
        client.load_host_keys(os.environ["BENCH_KNOWN_HOSTS"])
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect("127.0.0.1", port, "root", key_filename=os.environ["BENCH_KEY"], sock=connection,
                       allow_agent=False, look_for_keys=False)  # fmt: skip
        return sum(client.exec_command("true")[1].channel.recv_exit_status() != 0 for _ in range(_EXECS))


def main() -> int:
    places = os.environ["BENCH_HOSTS"].split()
    with ThreadPoolExecutor(len(places)) as pool:
        return min(sum(pool.map(visit, places)), 1)


if __name__ == "__main__":
    sys.exit(main())
