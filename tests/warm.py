"""The project's programs, run by a fork of a process that has imported what they need.

The tests start pyinfra and pytest many hundred times, and three quarters of the CPU of such a run are imports. A fork
has its own command line, directory, environment, priority, files and exit status as if it had been started. It differs
where a program looks at /proc/self/cmdline, and in what Python reads of the environment before the first import.

`run()` sends a request to the server of the program: JSON, and the descriptors of output, errors and a socket, on which
the process number and then the exit status come back, in decimal.
"""

# Before gevent is imported, whose own would make a hub in the server.
from socket import AF_UNIX, SOCK_SEQPACKET, recv_fds, send_fds, socket, socketpair

# isort: split
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_LONGEST_REQUEST = 1 << 17

PROGRAMS = ("pyinfra", "pytest")
_IMPORTS = (
    "deploys._run", "deploys.guard", "deploys.policies", "deploys.update.current", "deploys.verify.session",
    "inventories._fleet", "inventories._lab", "pyinfra_cli.main", "pytest", "tests.lab.client",
    "deploys.clouds.bring_up", "deploys.fixes._vm_fix", "deploys.vsphere.bring_up", "deploys.vsphere.inventory",
    "inventories._vm", "inventories._vsphere", "operations.vm_removal",
)  # fmt: skip
_KNOWN = "-Wignore::pytest.PytestAssertRewriteWarning"
"""pytest would tell that its plug-ins were imported before it could rewrite their assertions."""

# Not in a function of this file: what looks at the stack for the user's own code would find that.
_SERVER = f"""
from tests.warm import serve
import runpy, {", ".join(_IMPORTS)}
runpy.run_path(serve(), run_name="__main__")
"""


def serve() -> str:
    """Take requests for ever; returns in each new process: the path of the program that it is to be.

    Its end is that of the process that asks.
    """
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    wire = socket(fileno=0)
    wire.setblocking(True)
    while True:
        data, descriptors, _, _ = recv_fds(wire, _LONGEST_REQUEST, 3)
        if not data:
            sys.exit()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            wire.close()
            return _become(json.loads(data), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _become(request: dict[str, Any], out: int, err: int, reports: int) -> str:
    """In a new process: start another one that becomes the program, and wait for it."""
    with socket(fileno=reports) as wire:
        wire.setblocking(True)
        if pid := os.fork():
            wire.send(str(pid).encode())
            _, status, _ = os.wait4(pid, 0)
            with suppress(BrokenPipeError):  # who asked has lost patience
                wire.send(str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)
    # The lowest number that is free: that of the server's socket, which is closed here.
    nothing = os.open(os.devnull, os.O_RDONLY)
    assert nothing == 0
    for number, descriptor in ((1, out), (2, err)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.setpriority(os.PRIO_PROCESS, 0, request["priority"])
    sys.argv = request["words"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    if request["first"]:
        importlib.import_module(request["first"])
    return sys.argv[0]


@cache
def _server() -> tuple[socket, subprocess.Popen[bytes]]:
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    with theirs:
        return ours, subprocess.Popen([sys.executable, "-c", _SERVER], cwd=_ROOT, stdin=theirs.fileno())


def can_run(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether it is one of the programs, of this environment of Python's, to be started as the tests were."""
    ours = command[0] in {str(Path(sys.executable).with_name(name)) for name in PROGRAMS}
    python = {name: value for name, value in environment.items() if name.startswith("PYTHON")}
    return ours and python == {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}


def _number(reports: socket) -> int:
    report = reports.recv(32)
    if not report:
        message = "the process that tests/warm.py starts programs from has ended; it says above why"
        raise RuntimeError(message)
    return int(report)


class Started:
    """A run that is under way.

    Args:
        command: the program and its arguments.
        cwd, env: its directory and whole environment.
        first: a module that is imported before the program begins.
    """

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], first: str = "") -> None:
        self.command = list(command)
        self.returncode: int | None = None
        self._files = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 - closed when they were read
        self._wire, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        request = {
            "words": self.command, "directory": str(cwd), "priority": os.getpriority(os.PRIO_PROCESS, 0),
            "environment": {**env, "PYTEST_ADDOPTS": _KNOWN}, "first": first,
        }  # fmt: skip
        with theirs:
            descriptors = [*(file.fileno() for file in self._files), theirs.fileno()]
            send_fds(_server()[0], [json.dumps(request).encode()], descriptors)
        self.pid = _number(self._wire)

    def has_ended(self) -> bool:
        """Whether it has; what it came to is known by `communicate`."""
        return bool(select.select([self._wire], [], [], 0)[0])

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What it wrote, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it was killed after `timeout` seconds.
        """
        self._wire.settimeout(timeout)
        try:
            self.returncode = _number(self._wire)
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            raise subprocess.TimeoutExpired(self.command, timeout) from None
        finally:
            self._wire.close()
        texts = []
        for file in self._files:
            with file:
                file.seek(0)
                texts.append(file.read())
        return texts[0], texts[1]


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Like subprocess.run with `capture_output`, `text` and no standard input.

    Raises:
        subprocess.TimeoutExpired: it was killed after `timeout` seconds.
    """
    started = Started(command, cwd=cwd, env=env)
    out, err = started.communicate(timeout)
    assert started.returncode is not None
    return subprocess.CompletedProcess(list(command), started.returncode, out, err)
