"""docs/authors.md, followed to the letter in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def blocks() -> list[str]:
    return re.findall(r"```(?:python|text)\n(.*?)```", (ROOT / "docs/authors.md").read_text(), re.DOTALL)


def followed(copy: Path) -> None:
    """A copy of the repository with the three touches of the page."""
    ignored = shutil.ignore_patterns(".git", ".venv", "venv", "__pycache__", "*.egg-info", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=ignored)
    policy, imported, line, tests = blocks()
    (copy / "deploys/policies/chrony.py").write_text(policy)
    (copy / "tests/policies/test_chrony.py").write_text(tests)
    registry = copy / "deploys/policies/__init__.py"
    text = registry.read_text().replace(
        "from deploys.policies.base import", f"{imported}from deploys.policies.base import"
    )
    registry.write_text(text.replace("    Services,\n", f"    Services,\n{line}"))


def test_the_page_leads_to_a_policy_that_keeps_the_contract(tmp_path) -> None:
    copy = tmp_path / "copy"
    followed(copy)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/policies", "-q", "-k", "chrony", "-p", "no:cacheprovider"],
        cwd=copy, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    # The contract's tests and its own: a page that registers nothing would run none of the first.
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) == 11, done.stdout
