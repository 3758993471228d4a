"""A PostgreSQL of the tests' own: Debian's, in a temporary directory, as a user who is not root, on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.machine import install

PROGRAMS = Path("/usr/lib/postgresql")
USER = "postgres"


def missing() -> list[str]:
    """The Debian packages that this machine lacks for it."""
    return [] if list(PROGRAMS.glob("*/bin/postgres")) else ["postgresql"]


class Server:
    """A running server, that can be killed."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._bin = max(PROGRAMS.glob("*/bin"))
        # A short path: that of a socket may have 107 letters.
        self.conninfo = f"postgresql:///postgres?host={place}&user={USER}"

    def make(self) -> None:
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={USER}", "-D", "data")
        with (self._place / "data/postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses = ''\nunix_socket_directories = '{self._place}'\nmax_connections = 60\n")

    def start(self) -> None:
        """Start it, also after it was killed: its last processes may still be there for a moment."""
        for last in (False,) * 100 + (True,):
            done = self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-t", "60", "start", check=last)
            if done.returncode == 0:
                return
            time.sleep(0.1)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop", check=False)

    def kill(self) -> None:
        """Kill the postmaster; the others notice."""
        os.kill(self.pid, signal.SIGKILL)

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return int((self._place / "data/postmaster.pid").read_text().splitlines()[0])

    def _run(self, program: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        user = pwd.getpwnam(USER).pw_uid if os.geteuid() == 0 else None
        # Not pipes: the server would keep them.
        with (self._place / "said").open("w+") as said:
            done = subprocess.run(
                [self._bin / program, *words], cwd=self._place, user=user, stdin=subprocess.DEVNULL, stdout=said,
                stderr=subprocess.STDOUT, check=False, start_new_session=True, text=True,
            )  # fmt: skip
            if check and done.returncode:
                said.seek(0)
                raise AssertionError(said.read() + (self._place / "log").read_text())
        return done


@contextmanager
def server() -> Iterator[Server]:
    """A server of its own; root installs what the machine lacks."""
    if missing():
        install(missing())
    place = Path(tempfile.mkdtemp(prefix="pf-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(place, USER)
        found = Server(place)
        found.make()
        found.start()
        try:
            yield found
        finally:
            found.stop()
    finally:
        shutil.rmtree(place)
