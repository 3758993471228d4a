"""A vCenter simulator for tests: `simulators(...)` starts one for a module, `bare` is one that nobody has changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.lab import vcenter
from tests.lab.vcenter import build


@pytest.fixture(scope="session")
def vcenter_program() -> None:
    """The simulator's program, built once."""
    packages = build.lacking()
    if packages and os.geteuid() != 0:
        pytest.skip(f"the vCenter simulator needs {' and '.join(packages)}: install them, or run pytest as root")
    build.program()


@pytest.fixture(scope="module")
def simulators(vcenter_program: None) -> Iterator[Callable[..., vcenter.VCenter]]:
    """Starts simulators with the arguments of `vcenter.start`; they end with the module."""
    with ExitStack() as stack:

        def start(**options: Any) -> vcenter.VCenter:
            return stack.enter_context(vcenter.start(**options))

        yield start
