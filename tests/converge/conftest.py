"""The commands of the README, run as a user runs them, against the tests' own lab."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import warm

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = "inventories/lab.py"
HOSTS = ("web-1", "db-1", "edge-1")


@dataclass(frozen=True)
class Done:
    """A finished command: status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err

    def line(self, start: str) -> str:
        """A line of the closing summary, by its beginning."""
        return next((line for line in self.err.splitlines() if line.startswith(start)), "")


def _environment() -> dict[str, str]:
    """This process's, without what makes a pytest below this one print other things than a user sees."""
    return {key: value for key, value in os.environ.items()
            if key not in {"CI", "BUILD_NUMBER"} and not key.startswith("PYTEST_")}  # fmt: skip


def run(*command: str | Path, timeout: float = 900, cold: bool = False, **env: str) -> Done:
    """Run a command; `cold` starts pyinfra and pytest as a user does, and not from a process that is warm already."""
    words = [str(word) for word in command]
    environment = {**_environment(), "COLUMNS": "200", **env}
    if not cold and warm.can_run(words, environment):
        done = warm.run(words, cwd=ROOT, env=environment, timeout=timeout)
    else:
        done = subprocess.run(
            words, cwd=ROOT, env=environment, text=True, capture_output=True, check=False, timeout=timeout,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def wait_for(true, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def program(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def converge(*arguments: str, inventory: str = INVENTORY, cold: bool = False, **env: str) -> Done:
    return run(program("pyinfra"), inventory, "deploys/host.py", "-y", *arguments, cold=cold, **env)


def dry(*arguments: str, inventory: str = INVENTORY, **env: str) -> Done:
    return run(program("pyinfra"), inventory, "deploys/host.py", "--dry", *arguments, **env)


def prove(*arguments: str, inventory: str = INVENTORY, **env: str) -> Done:
    return run(
        program("pytest"), "tests/hosts", "--inventory", inventory, "-q", "-p", "no:cacheprovider", *arguments, **env
    )


def changes(done: Done) -> dict[str, int]:
    """The totals of pyinfra's own `--json` result."""
    return json.loads(done.out)["results"]["totals"]


@pytest.fixture(scope="session")
def first_run(lab) -> Done:
    """README command 1 on a machine without lab hosts."""
    return converge(cold=True)


@pytest.fixture(scope="session")
def converged(first_run: Done) -> None:
    assert first_run.status == 0, first_run.all


@pytest.fixture
def on(lab):
    """Runs a command on a lab host, such as `on("web-1", "id")`."""

    def command(name: str, text: str, *, check: bool = True) -> str:
        done = run("ssh", "-F", lab.ssh_config(), name, text)
        assert not check or done.status == 0, done.all
        return done.out

    return command


@pytest.fixture
def address(lab):
    """The address of a lab host by name."""
    return lambda name: next(spec.address for spec, _ in lab.status() if spec.name == name)


@pytest.fixture
def cut_while_it_runs(lab):
    """Runs a deploy file on db-1 and pulls the host's cable while it works: status, errors, the seconds from then."""

    def run_and_cut(deploy: Path) -> tuple[int, str, float]:
        said = deploy.with_suffix(".said")
        process = subprocess.Popen(
            [program("pyinfra"), INVENTORY, deploy, "-y", "--limit", "db-1"], cwd=ROOT, text=True,
            stdout=subprocess.DEVNULL, stderr=said.open("w"), stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            begun = time.monotonic()
            while "] Connected" not in re.sub(" +", " ", said.read_text()) and time.monotonic() < begun + 60:
                time.sleep(0.1)
            time.sleep(3)
            lab.cut("db-1")
            cut = time.monotonic()
            process.wait(timeout=150)
        finally:
            lab.cut("db-1", down=False)
            process.kill()
        return process.returncode, said.read_text(), time.monotonic() - cut

    return run_and_cut


@pytest.fixture
def variant(tmp_path):
    """An inventory like inventories/lab.py, with more policies for some of its hosts, and texts replaced."""

    def write(own: dict[str, str], imports: str = "", texts: dict[str, str] | None = None) -> str:
        text = (ROOT / INVENTORY).read_text()
        marker = "from inventories._fleet import"
        text = text.replace(marker, f"{textwrap.dedent(imports)}\n{marker}")
        for name, policies in own.items():
            text = text.replace(f'host("{name}", ', f'host("{name}", {policies}, ')
        for old, new in (texts or {}).items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "lab.py"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture(scope="module")
def simulator(lab):
    """A simulated vCenter whose machines are lab hosts."""
    from tests.lab.vcenter import machines  # noqa: PLC0415 - most modules need no vCenter

    with machines.start(template="photon-5", vms=0) as started:
        yield started
    for spec, _ in lab.status():
        if spec.machine:
            lab.remove(spec.name)
