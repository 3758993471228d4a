"""Options and markers of all tests."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("photon fleet")
    group.addoption("--inventory", help="inventory file whose hosts tests/hosts proves")
    group.addoption("--limit", action="append", help="only these hosts or groups (repeatable)")
    group.addoption("--only", help="only these policies, such as firewall,ssh")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="lab hosts need root: run pytest as root for this tier")
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(skip)
