"""The scripts of the servers: every shell of our hosts can read them, and nothing in them was left out."""

from __future__ import annotations

import shutil
import subprocess
from importlib import import_module

import pytest

from deploys.policies import POLICIES
from deploys.policies._https_server import HttpsServer

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
SERVERS = [kind.name for kind in POLICIES if issubclass(kind, HttpsServer)]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("name", SERVERS)
def test_the_script_can_be_read(name: str, shell: list[str], tmp_path) -> None:
    for policy in import_module(f"tests.policies.test_{name}").examples(tmp_path):
        text = policy.render_script()
        done = subprocess.run([*shell, "-n"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert "{{" not in text
        # The functions that the common part calls.
        assert all(f"\n{each}() " in text for each in ("fetch", "promote", "state"))


def test_there_are_two() -> None:
    assert SERVERS == ["package_mirror", "ostree_server"]


@pytest.mark.parametrize("name", SERVERS)
def test_units_are_named_after_the_policy(name: str, tmp_path) -> None:
    policy = import_module(f"tests.policies.test_{name}").examples(tmp_path)[1]
    units = policy.units()
    prefix = f"photon-fleet-{name.replace('_', '-')}"
    assert sorted(units) == [f"{prefix}-sync.service", f"{prefix}-sync.timer", f"{prefix}.service"]
    assert "OnCalendar=03:30\n" in units[f"{prefix}-sync.timer"]
    assert f"ReadWritePaths={policy.base}\n" in units[f"{prefix}-sync.service"]
    assert "listen 8443 ssl;" in policy.render_nginx()
