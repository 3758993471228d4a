"""Options and markers of all tests, and the lab that the tests of the lab tier share.

The tests have labs of their own (other names and networks, see tests/share.py): hosts that a person has booted are
left alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.lab import client

pytest_plugins = ["tests.share"]
_HOSTS = Path(__file__).parent / "hosts"
_cache = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("photon fleet")
    group.addoption("--inventory", help="inventory file whose hosts tests/hosts proves")
    group.addoption("--limit", action="append", help="only these hosts or groups (repeatable)")
    group.addoption("--only", help="only these policies, such as firewall,ssh")
    group.addoption("--rule", help="only checks that prove this rule of a security guide, such as PHTN-50-000079")
    group.addoption("--no-skips", action="store_true", help="a skipped test is a failure (CI)")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--inventory") is None:
        # What runs of the tests have read is no hint for the user's own runs, nor the other way round.
        config.stash[_cache] = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="photon-fleet-tests-")
        # A busy machine takes its time for what is quick elsewhere. A proof of a fleet needs none of it.
        import hypothesis  # noqa: PLC0415

        hypothesis.settings.register_profile("busy", deadline=None)
        hypothesis.settings.load_profile("busy")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _cache in config.stash:
        shutil.rmtree(config.stash[_cache], ignore_errors=True)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The acceptance suite proves a fleet: without an inventory there is nothing to prove."""
    if collection_path == _HOSTS and config.getoption("--inventory") is None:
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="lab hosts need root: run pytest as root for this tier")
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(skip)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if session.config.getoption("--no-skips") and skipped and exitstatus == 0:
        reporter.write_line(f"{len(skipped)} skipped test(s), and --no-skips was given", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests counted (`record_property("summary", line)`), as the last word of a run."""
    reports = terminalreporter.stats.get("passed", [])
    lines = [text for report in reports for key, text in report.user_properties if key == "summary"]
    if lines:
        terminalreporter.section("counted")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def lab():
    """The client of the tests' own lab; everything is removed at the end, and that is checked."""
    client.down()
    yield client
    client.down()
