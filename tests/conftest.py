"""Options and markers of all tests, and the lab that the tests of the lab tier share.

The tests have a lab of their own (another name and network): hosts that a person has booted are left alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.lab import client

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
    # An inventory that is given is proved as it is, a person's lab included.
    if config.getoption("--inventory") is None:
        os.environ["LAB_NAME"] = os.environ.get("TEST_LAB_NAME", "photon-test")
        os.environ["LAB_NET"] = os.environ.get("TEST_LAB_NET", "10.84.0")
        # What runs of the tests have read is no hint for the user's own runs, nor the other way round.
        config.stash[_cache] = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="photon-fleet-tests-")


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


@pytest.fixture(scope="session")
def lab():
    """The client of the tests' own lab; everything is removed at the end, and that is checked."""
    client.down()
    yield client
    client.down()
