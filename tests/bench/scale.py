"""What a run costs the controller, by the number of hosts: CPU seconds, wall seconds, memory.

    python -m tests.bench.scale                             100, 200 and 1,000 hosts
    python -m tests.bench.scale --hosts 100 --repeat 3      the least of three
    python -m tests.bench.scale --pyinfra DIR               with the pyinfra of DIR as well, such as a patched one
    python -m tests.bench.scale --record                    new answers, from three hosts of the lab (as root)

The run is the real one: deploys/host.py with -y and the policies of inventories/lab.py, on hosts of pyinfra's own
connector `@fake` that answer at once what converged lab hosts have answered. Every fact is parsed, every check of the
proof is judged; what is missing is SSH. A run that changes anything or proves less than everything is an error: its
answers no longer fit the code, and `--record` makes new ones.
"""

from __future__ import annotations

import argparse
import atexit
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = Path(__file__).with_name("answers.json")
INVENTORY = "tests/bench/scale_fleet.py"
_PROVED = re.compile(r"^\S+: ok; 0 changes; (\d+) of \1 checks passed$", re.MULTILINE)


@dataclass(frozen=True)
class Recorded:
    """What the policies are made with so that the recorded answers fit them, and the answers themselves."""

    key: Path
    fingerprint: str
    image: Path
    network: str
    roles: dict[str, dict[str, Any]]

    def data(self, role: str) -> dict[str, Any]:
        """Host data for the connector."""
        return {"fake_responses": self.roles[role], "fake_delay": 0.0, "fake_delay_jitter": 0.0} if self.roles else {}


@dataclass(frozen=True)
class Cost:
    """One run."""

    cpu: float
    wall: float
    megabytes: float


def hosts_asked() -> int:
    return int(os.environ.get("SCALE_HOSTS", "3"))


def recorded() -> Recorded:
    """The recorded answers; the key and the image become files that end with the process."""
    text = json.loads(ANSWERS.read_text())
    directory = tempfile.TemporaryDirectory(prefix="scale-")
    atexit.register(directory.cleanup)
    key, image = Path(directory.name, "key"), Path(directory.name, "image.tar")
    key.write_text(text["key"])
    with tarfile.open(image, "w") as tar:
        for name, content in text["image"].items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content.encode())
            tar.addfile(entry, io.BytesIO(content.encode()))
    # The connector takes the first answer whose command is part of the one that is run.
    roles = {role: dict(sorted(answers.items(), key=lambda item: -len(item[0])))
             for role, answers in text["roles"].items()}  # fmt: skip
    return Recorded(key, text["fingerprint"], image, text["network"], roles)


def recording(target: Path) -> Recorded:
    """What the lab has; from now on this process keeps what its hosts answer, and writes it at its end."""
    from pyinfra.api import StringCommand  # noqa: PLC0415 - a measurement's parent does without pyinfra

    from inventories import _lab  # noqa: PLC0415 - only a recording needs the lab

    key, image, network = _lab.lab_key(), _lab.lab_image(), _lab.lab_network()
    roles: dict[str, dict[str, Any]] = {}
    run = _lab.LabConnector.run_shell_command

    def keep(self: _lab.LabConnector, command: StringCommand, **arguments: Any) -> Any:
        succeeded, output = run(self, command, **arguments)
        words = command.get_masked_value() if isinstance(command, StringCommand) else command
        answer = {"success": succeeded, "stdout": output.stdout_lines, "stderr": output.stderr_lines}
        roles.setdefault(self.host.name.partition("-")[0], {})[words] = answer
        return succeeded, output

    mock.patch.object(_lab.LabConnector, "run_shell_command", keep).start()
    with tarfile.open(image) as tar:

        def text(member: str) -> str:
            file = tar.extractfile(member)
            return file.read().decode() if file else ""

        manifest = text("manifest.json")
        name = json.loads(manifest)[0]["Config"]
        files = {"manifest.json": manifest, name: text(name)}
    head = {"key": key["file"].read_text(), "fingerprint": key["fingerprint"], "image": files, "network": network}
    atexit.register(lambda: target.write_text(json.dumps({**head, "roles": roles}, indent=1, sort_keys=True) + "\n"))
    return Recorded(key["file"], key["fingerprint"], image, network, {})


def run(*options: str, pyinfra: Path | None = None, **environment: str) -> tuple[Cost, str]:
    """One run of the deploy in a process of its own, and all that it printed.

    Raises:
        RuntimeError: it did not end well.
    """
    path = os.pathsep.join([*([str(pyinfra)] if pyinfra else []), str(ROOT)])
    command = [sys.executable, "-m", "pyinfra", INVENTORY, "deploys/host.py", "-y", *options]
    with tempfile.TemporaryFile() as printed:
        began = time.monotonic()
        child = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", **environment},
            stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read().decode()
    if child.returncode != 0:
        message = f"the run ended with {child.returncode}:\n{text[-3000:]}"
        raise RuntimeError(message)
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024), text


def measure(hosts: int, repeat: int, pyinfra: Path | None = None) -> Cost:
    """The cheapest of `repeat` runs, as others use the machine too.

    Raises:
        RuntimeError: the answers do not fit.
    """
    costs = []
    for _ in range(repeat):
        cost, text = run(pyinfra=pyinfra, SCALE_HOSTS=str(hosts))
        proved = len(_PROVED.findall(text))
        if proved != hosts:
            message = f"{proved} of {hosts} hosts are proved without a change; record new answers:\n{text[-3000:]}"
            raise RuntimeError(message)
        costs.append(cost)
    return min(costs, key=lambda cost: cost.cpu)


def record() -> None:
    """Bring three hosts of the lab to their policies, then keep what they answer to a run that changes nothing."""
    run(SCALE_RECORD=os.devnull)
    run(SCALE_RECORD=str(ANSWERS))
    print(f"{ANSWERS.name}: {ANSWERS.stat().st_size // 1024} KB")


def table(sizes: list[int], repeat: int, pyinfra: Path | None = None) -> None:
    """Print the figures, and how CPU seconds per host grow from the first size."""
    print(f"pyinfra: {pyinfra or 'as installed'}")
    print(f"{'hosts':>6} {'CPU s':>8} {'wall s':>8} {'MB':>7} {'CPU ms/host':>12} {'KB/host':>9} {'growth':>7}")
    first = None
    for hosts in sizes:
        cost = measure(hosts, repeat, pyinfra)
        each = cost.cpu / hosts * 1000
        first = first or each
        print(f"{hosts:>6} {cost.cpu:>8.1f} {cost.wall:>8.1f} {cost.megabytes:>7.0f} {each:>12.1f} "
              f"{cost.megabytes / hosts * 1024:>9.0f} {each / first:>7.2f}", flush=True)  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.bench.scale")
    options.add_argument("--hosts", default="100,200,1000", help="how many, with commas (default: %(default)s)")
    options.add_argument("--repeat", type=int, default=1, help="runs of each size, of which the cheapest counts")
    options.add_argument("--pyinfra", type=Path, metavar="DIR", help="a directory with another copy of pyinfra")
    options.add_argument("--record", action="store_true", help="record new answers from hosts of the lab")
    chosen = options.parse_args()
    if chosen.record:
        record()
        return
    sizes = [int(size) for size in chosen.hosts.split(",")]
    for copy in [None, *([chosen.pyinfra.resolve()] if chosen.pyinfra else [])]:
        table(sizes, chosen.repeat, copy)


if __name__ == "__main__":
    main()
