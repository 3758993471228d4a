"""The shell text by which each policy is undone: every shell of our hosts can read it."""

from __future__ import annotations

import shutil
import subprocess
from importlib import import_module

import pytest

from deploys.policies import POLICIES
from deploys.policies.base import Risk
from deploys.policies.render import render

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
GUARDED = [kind.name for kind in POLICIES if kind.risk is Risk.CONNECTIVITY]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("name", GUARDED)
def test_the_script_can_be_read(name: str, shell: list[str], tmp_path) -> None:
    for policy in import_module(f"tests.policies.test_{name}").examples(tmp_path):
        undo = policy.undo()
        text = render(
            "guard/guard.sh", id="run-x", seconds=60, state=tmp_path, boot_unit="none.service", paths=undo.paths,
            background="none.service", about="policy: x", running=undo.running,
        )  # fmt: skip
        done = subprocess.run([*shell, "-n"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        # A word that jinja left out, or that should have been quoted, would be seen here.
        assert "{{" not in text


def test_five_policies_can_cut_the_connection() -> None:
    assert sorted(GUARDED) == ["accounts", "firewall", "network", "selinux", "ssh"]
