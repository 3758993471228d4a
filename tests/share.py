"""Two processes run the tests, each with a lab of its own: most of a lab's tests are waiting.

Both collect everything; a process runs a file when it is the first to claim it, one from the front of the list, the
other from its end. pytest-xdist is no help here: pyinfra has gevent replace the threads that its processes wait with.
`--processes 1` runs all in one; so do a single file, the proof of an inventory and a debugger.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import pytest

FIRST_LAB = ("photon-test", "10.84.0")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("photon fleet")
    group.addoption("--processes", type=int, choices=(1, 2), default=2, help="how many run the tests of the lab")
    group.addoption("--claims", type=Path, help="(for the second process) the directory where files are claimed")


def pytest_configure(config: pytest.Config) -> None:
    second = config.getoption("--claims") is not None
    # An inventory that is given is proved as it is, a person's lab included.
    if config.getoption("--inventory") is None:
        name = os.environ.get("TEST_LAB_NAME", FIRST_LAB[0])
        start, third = os.environ.get("TEST_LAB_NET", FIRST_LAB[1]).rsplit(".", 1)
        os.environ["LAB_NAME"] = f"{name}-2" if second else name
        os.environ["LAB_NET"] = f"{start}.{int(third) + second}"
    config.pluginmanager.register(Second(config.option.claims) if second else First(), "photon-fleet-share")


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
        return None if self._mine[item.path] else True


class First(Claims):
    """The process that a person started: it starts the second one, and ends with the words of both."""

    def __init__(self) -> None:
        super().__init__(None)
        self._place: tempfile.TemporaryDirectory[str] | None = None
        self._second: subprocess.Popen[bytes] | None = None
        self._said = ""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        option = session.config.option
        files = {item.path for item in session.items if item.get_closest_marker("lab")}
        alone = option.processes == 1 or option.inventory or option.usepdb or option.collectonly or os.geteuid() != 0
        if alone or len(files) < 2:
            return
        self._place = tempfile.TemporaryDirectory(prefix="photon-fleet-claims-")
        self.directory = Path(self._place.name)
        command = [sys.executable, "-m", "pytest", *session.config.invocation_params.args]
        with (self.directory / "output").open("wb") as output:
            self._second = subprocess.Popen(
                [*command, f"--claims={self.directory}", "-p", "no:cacheprovider"],
                cwd=session.config.invocation_params.dir, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._second is None or self.directory is None or self._place is None:
            return
        try:
            status = self._second.wait()
        finally:
            if self._second.poll() is None:
                self._second.terminate()
            with suppress(OSError):
                self._said = (self.directory / "output").read_text(errors="replace")
            self._place.cleanup()
        if status and session.exitstatus == 0:
            session.exitstatus = status

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._said:
            terminalreporter.section("the second process")
            terminalreporter.write(self._said)
            terminalreporter.section("the first process")


class Second(Claims):
    """The process that takes the files from the end of the list."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
        items[:] = [item for tests in reversed(files) for item in tests]
