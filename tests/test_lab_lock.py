"""The lab's lock under gevent, whichever was imported first."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

LAB_FIRST = ("from tests.lab.machine import file_locked", "import pyinfra_cli")

SCRIPT = """
    import sys, time
    from pathlib import Path
    {imports}
    import gevent

    def hold():
        with file_locked(Path(sys.argv[1])):
            time.sleep(0.05)

    gevent.joinall([gevent.spawn(hold) for _ in range(3)], raise_error=True)
"""


@pytest.mark.parametrize("imports", [LAB_FIRST, LAB_FIRST[::-1]], ids=["lab-first", "gevent-first"])
def test_three_greenlets_take_turns(imports, tmp_path) -> None:
    script = textwrap.dedent(SCRIPT).format(imports="\n".join(imports))
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "lock"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
