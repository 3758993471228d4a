"""Runs of pyinfra without its start: forked from a process that has imported what they need.

Each is a process like any other, with gevent's threads, signals and an end of its own; what it is spared is two seconds
of imports. `python -m tests.vsphere.forked` is the process that is forked.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]


@cache
def _server() -> subprocess.Popen[str]:
    """The process that is forked; it ends when its standard input does, with this one."""
    return subprocess.Popen(
        [sys.executable, "-m", __spec__.name], cwd=ROOT, text=True, bufsize=1, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip


def _ask(seconds: float, **request: Any) -> Any:
    server = _server()
    server.stdin.write(json.dumps(request) + "\n")
    if not select.select([server.stdout.fileno()], [], [], seconds)[0]:
        raise subprocess.TimeoutExpired("pyinfra", seconds)
    return json.loads(server.stdout.readline())


@dataclass
class Run:
    """A run that is under way.

    Args:
        arguments: of pyinfra.
        env: its whole environment.
    """

    arguments: Sequence[str]
    env: Mapping[str, str]
    returncode: int | None = None
    pid: int = 0
    _files: tuple[IO[str], IO[str]] = field(default_factory=lambda: (_file(), _file()))

    def __post_init__(self) -> None:
        out, err = (file.name for file in self._files)
        self.pid = _ask(60, arguments=list(self.arguments), env=dict(self.env), out=out, err=err)

    def has_ended(self) -> bool:
        """Whether it has; what it came to is known by `communicate`."""
        # It stays as a zombie until it is waited for.
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].startswith("Z")

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What it wrote, once it has ended; it is killed when it takes longer."""
        try:
            self.returncode = _ask(timeout, wait=self.pid)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
            _server().stdout.readline()
            raise
        texts = [file.read() for file in self._files]
        for file in self._files:
            file.close()
        return texts[0], texts[1]


def _file() -> IO[str]:
    return tempfile.NamedTemporaryFile("r", prefix="pyinfra-")


IMPORTED = (
    "deploys.clouds.bring_up", "deploys.fixes._vm_fix", "deploys.policies", "deploys.vsphere.bring_up",
    "deploys.vsphere.inventory", "inventories._fleet", "inventories._vm", "inventories._vsphere",
    "operations.vm_removal",
)  # fmt: skip
"""What the runs of these tests need."""
QUICKER = (
    ("looks", "LOOK_SECONDS"),
    ("ready", "LOOK_SECONDS"),
    ("rest", "PAUSE_SECONDS"),
    ("session", "PAUSE_SECONDS"),
)
SECONDS = 0.1
"""How long they wait there before they ask again: the simulator is quicker than a vCenter."""


def _serve() -> None:
    # Taken before gevent has its own, which would begin its event loop here: such a loop does not outlive a fork.
    fork, wait = os.fork, os.waitpid
    main = importlib.import_module("pyinfra_cli.main").main
    for name in IMPORTED:
        importlib.import_module(name)
    # Read for each host of each run, to the same end.
    connectors = importlib.import_module("pyinfra.api.connectors")
    connectors.entry_points = cache(connectors.entry_points)
    for name, constant in QUICKER:
        setattr(sys.modules[f"deploys.vsphere.{name}"], constant, SECONDS)
    while line := sys.stdin.readline():
        asked = json.loads(line)
        if "wait" in asked:
            answer = os.waitstatus_to_exitcode(wait(asked["wait"], 0)[1])
        else:
            answer = fork()
            if not answer:
                _become(asked)
                sys.exit(main())
        print(answer, flush=True)


def _become(asked: Mapping[str, Any]) -> None:
    """Have the arguments, environment and files of a run."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(asked[name], os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["pyinfra", *asked["arguments"]]


if __name__ == "__main__":
    _serve()
