"""Three processes run the tests, each with a lab of its own: much of a lab's tests is waiting.

All collect everything; a process runs a file when it is the first to claim it, the first one from the front of the
list, the others from its end. Virtual machines need all cores: their files come first, and meanwhile the others make do
with tests that need no lab, and with what is left of the cores. `vm(alone=False)` marks those that have the time to run
beside other hosts; the first process has these too.
pytest-xdist is no help here: pyinfra has gevent replace the threads that its processes wait with.
`--processes 1` runs all in one; so do a single file, the proof of an inventory and a debugger.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from enum import IntEnum
from itertools import groupby
from pathlib import Path

import pytest

FIRST_LAB = ("photon-test", "10.84.0")
FREE = "free"
"""A file beside the claims: there are no virtual machines any more."""

LOW_PRIORITY = 15


class Kind(IntEnum):
    """What a test needs, in the order in which the first process takes them."""

    VM = 0
    PATIENT_VM = 1
    LAB = 2
    PURE = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("photon fleet")
    group.addoption("--processes", type=int, choices=(1, 2, 3), default=3, help="how many run the tests of the lab")
    group.addoption("--claims", type=Path, help="(for the other processes) the directory where files are claimed")
    group.addoption("--number", type=int, default=1, help="(for the other processes) which one it is")


def pytest_configure(config: pytest.Config) -> None:
    number = config.getoption("--number")
    # An inventory that is given is proved as it is, a person's lab included.
    if config.getoption("--inventory") is None:
        name = os.environ.get("TEST_LAB_NAME", FIRST_LAB[0])
        start, third = os.environ.get("TEST_LAB_NET", FIRST_LAB[1]).rsplit(".", 1)
        os.environ["LAB_NAME"] = name if number == 1 else f"{name}-{number}"
        os.environ["LAB_NET"] = f"{start}.{int(third) + number - 1}"
    other = config.getoption("--claims") is not None
    config.pluginmanager.register(
        Other(config.option.claims, number) if other else First(config.option.processes), "photon-fleet-share"
    )


class Claims:
    """Which process runs which file: the one that could make a file of its name."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._mine: dict[Path, bool] = {}

    def _claim(self, path: Path) -> bool:
        if self.directory is None:
            return True
        try:
            (self.directory / f"{path.parent.name}-{path.name}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if item.path not in self._mine:
            self._mine[item.path] = self._claim(item.path)
        if not self._mine[item.path]:
            return True
        # What was run last was only torn down for the next test of the list, which may be another process's.
        item.session._setupstate.teardown_exact(item)
        return None


class First(Claims):
    """The process that a person started: it starts the others, and ends with the words of all."""

    def __init__(self, processes: int) -> None:
        super().__init__(None)
        self._processes = processes
        self._place: tempfile.TemporaryDirectory[str] | None = None
        self._others: dict[int, subprocess.Popen[bytes]] = {}
        self._said: dict[int, str] = {}
        self._bad: list[int] = []
        self._shares = False

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        items.sort(key=_kind)
        option = config.option
        files = {item.path for item in items if _kind(item) is Kind.LAB}
        self._processes = min(self._processes, len(files))
        alone = option.inventory or option.usepdb or option.collectonly or os.geteuid() != 0
        self._shares = self._processes > 1 and not alone

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if self._shares:
            if not self._others:
                self._share(item.session)
            if self.directory is not None and _kind(item) is not Kind.VM:
                (self.directory / FREE).touch()
        return super().pytest_runtest_protocol(item)

    def _share(self, session: pytest.Session) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="photon-fleet-claims-")
        self.directory = Path(self._place.name)
        command = [sys.executable, "-m", "pytest", *session.config.invocation_params.args, "-p", "no:cacheprovider"]
        for number in range(2, self._processes + 1):
            with (self.directory / f"output-{number}").open("wb") as output:
                self._others[number] = subprocess.Popen(
                    [*command, f"--claims={self.directory}", f"--number={number}"],
                    cwd=session.config.invocation_params.dir, stdin=subprocess.DEVNULL,
                    stdout=output, stderr=subprocess.STDOUT,
                )  # fmt: skip

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.directory is None or self._place is None:
            return
        # A person's interrupt, or a first process that took no lab test, must not leave the others waiting.
        (self.directory / FREE).touch()
        try:
            # Not wait(): it is gevent's by now, and needs a signal that another waiter may take.
            while any(_runs(other.pid) for other in self._others.values()):
                time.sleep(0.2)
        finally:
            for other in self._others.values():
                if _runs(other.pid):
                    other.terminate()
            for number in self._others:
                self._said[number] = (self.directory / f"output-{number}").read_text(errors="replace")
                status = self.directory / f"status-{number}"
                if not status.exists() or status.read_text() != "0":
                    self._bad.append(number)
            self._place.cleanup()
        if self._bad and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for number, said in self._said.items():
            terminalreporter.section(f"process {number}")
            terminalreporter.write(said)
        if self._said:
            terminalreporter.section("process 1")
        for number in self._bad:
            # Once more where a long output is read first: at its end.
            lines = self._said[number].splitlines()
            named = [line for line in lines if line.startswith(("FAILED ", "ERROR "))] or lines[-1:]
            terminalreporter.line(f"process {number} failed: " + "\n".join(named), red=True)


class Other(Claims):
    """A process that takes the files from the end of the list, those that need no lab first."""

    def __init__(self, directory: Path, number: int) -> None:
        super().__init__(directory)
        self._number = number
        self._parent = os.getppid()
        self._free = False
        os.setpriority(os.PRIO_PROCESS, 0, LOW_PRIORITY)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        others = [item for item in items if _kind(item) >= Kind.LAB]
        files = [list(tests) for _, tests in groupby(others, key=lambda item: item.path)]
        pure, lab = ([each for each in files if _needs_lab(each) is wanted] for wanted in (False, True))
        items[:] = [item for tests in [*pure, *reversed(lab)] for item in tests]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        while not self._free and _kind(item) is Kind.LAB:
            if os.getppid() != self._parent:
                pytest.exit("the first process is gone")
            self._free = self.directory is not None and (self.directory / FREE).exists()
            if self._free:
                os.setpriority(os.PRIO_PROCESS, 0, 0)
            else:
                time.sleep(0.2)
        return super().pytest_runtest_protocol(item)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.directory is not None:
            (self.directory / f"status-{self._number}").write_text(str(int(session.exitstatus)))


def _kind(item: pytest.Item) -> Kind:
    if marker := item.get_closest_marker("vm"):
        return Kind.VM if marker.kwargs.get("alone", True) else Kind.PATIENT_VM
    return Kind.LAB if item.get_closest_marker("lab") else Kind.PURE


def _needs_lab(tests: list[pytest.Item]) -> bool:
    return any(_kind(item) is Kind.LAB for item in tests)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
