"""Every operation, from data: tests/fixtures/operations/<module>.<operation>/*.yaml."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest
from pyinfra.api.arguments import all_global_arguments
from pyinfra_testing.operations import FakeState, make_operation_tests

FIXTURES = Path(__file__).parent / "fixtures" / "operations"
MODULES = sorted(
    path.stem for path in (Path(__file__).parent.parent / "operations").glob("*.py") if not path.stem.startswith("_")
)

FakeState.failed_hosts = frozenset()  # ours look there, to tell a host that cannot be read from a fresh one

for folder in sorted(path for path in FIXTURES.iterdir() if path.is_dir()):
    locals()[f"Test{folder.name}"] = make_operation_tests("operations", folder.name, folder)


@pytest.mark.parametrize("module", MODULES)
def test_no_parameter_is_swallowed_as_a_global_argument(module):
    """Its own arguments (`name`, `_sudo`, ...) pyinfra takes away before an operation sees them."""
    reserved = {argument for argument, _ in all_global_arguments()}
    for exported, operation in inspect.getmembers(import_module(f"operations.{module}"), callable):
        if hasattr(operation, "_inner"):
            clashes = reserved & set(inspect.signature(operation._inner).parameters)
            assert not clashes, f"{module}.{exported}: {sorted(clashes)}"
