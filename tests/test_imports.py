"""The top-level packages are ours: `facts`, `tests` and the like are names that others use too."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["facts", "operations", "deploys", "inventories", "tests"])
def test_is_imported_from_this_repository(name: str) -> None:
    module = importlib.import_module(name)
    assert Path(module.__file__).resolve() == ROOT / name / "__init__.py"


def test_one_module_alone_knows_procrastinate() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("deploys/**/*.py")
        if re.search(r"^\s*(?:import|from) procrastinate\b", path.read_text(), re.MULTILINE)
    ]
    assert found == ["deploys/rollout/engine/procrastinate.py"]


def test_rollouts_on_one_machine_need_no_extra() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = sys.modules['procrastinate'] = None;"
        "import deploys.rollout.cli, deploys.rollout.steer, deploys.rollout.engine.cli"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", ["deploys.policies.vcenter", "deploys.policies.clouds", "inventories._clouds"])
def test_may_be_what_an_inventory_imports_first(name: str) -> None:
    # Policies know the settings of what they are made on, which are made as policies are.
    subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", ["deploys.rollout.steer", "deploys.report.cli"])
def test_what_only_reads_rows_answers_without_what_a_converge_needs(name: str) -> None:
    code = f"import {name}, sys; sys.exit('pyinfra' in sys.modules or 'pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
