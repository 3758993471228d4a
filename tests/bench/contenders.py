"""The contenders: what each is run with, and how it is told that nothing was changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.errors import BenchError
from tests.bench.place import Place
from tests.bench.playbook import SITE

ALL = ("ours", "stock", "ansible", "mitogen", "floor")
ROOT = Path(__file__).resolve().parents[2]
_REQUIREMENTS = Path(__file__).parent / "requirements.txt"
_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A contender's command for certain hosts, and its environment."""

    words: list[str]
    env: dict[str, str]


def environment_of_others(requirements: Path = _REQUIREMENTS) -> Path:
    """The bin directory of the environment with what others need, made at first use.

    Raises:
        BenchError: it cannot be made; pip's last words are in the message.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "photon-fleet" / "bench"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    final = base / f"others-{digest}"
    if not (final / "complete").exists():
        print(f"bench: installing what {requirements.name} names once, in {final}", file=sys.stderr)
        shutil.rmtree(final, ignore_errors=True)
        venv.create(final, with_pip=True)
        done = subprocess.run(
            [final / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
             "-r", requirements],
            text=True, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            message = f"{requirements.name} cannot be installed:\n{done.stderr.strip()[-2000:]}"
            raise BenchError(message)
        (final / "complete").touch()
    return final / "bin"


def command(contender: str, place: Place, count: int) -> Command:
    """How a contender converges the first `count` hosts."""
    env = place.environment(count)
    # What a contender keeps on this side is its own, and goes with the run.
    env |= {f"XDG_{kind}_HOME": str(memory(contender, place) / kind.lower()) for kind in ("CACHE", "STATE", "DATA")}
    match contender:
        case "ours" | "stock":
            env["BENCH_CONNECTOR"] = "photon" if contender == "ours" else "ssh"
            program = Path(sys.executable).with_name("pyinfra")
            return Command([str(program), "tests/bench/fleet.py", "deploys/host.py", "-y", "--json"], env)
        case "ansible" | "mitogen":
            return _ansible(contender, place, count, env)
        case _:
            return Command([sys.executable, "-m", "tests.bench.floor"], env)


def memory(contender: str, place: Place) -> Path:
    """Where a contender may keep what it has learned on this side."""
    return place.scratch / "memory" / contender


def _ansible(contender: str, place: Place, count: int, env: dict[str, str]) -> Command:
    programs = environment_of_others()
    directory = place.scratch / f"{contender}-{count}"
    directory.mkdir(exist_ok=True)
    hosts = {name: {"ansible_port": place.ports[name]} for name in place.names(count)}
    common = {
        "ansible_host": "127.0.0.1",
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(place.key),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    (directory / "ansible.cfg").write_text(_configuration(contender, place, count, programs))
    env |= {"ANSIBLE_CONFIG": str(directory / "ansible.cfg"), "ANSIBLE_HOME": str(place.scratch / "home")}
    env["PATH"] = f"{programs}{os.pathsep}{env['PATH']}"
    words = [str(programs / "ansible-playbook"), "-i", str(directory / "inventory.json"), str(SITE),
             "-e", f"@{place.scratch / 'vars.json'}"]  # fmt: skip
    return Command(words, env)


def _configuration(contender: str, place: Place, count: int, programs: Path) -> str:
    shared = f"-o UserKnownHostsFile={place.known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    lines = [
        "[defaults]",
        f"forks = {count}",
        # Of a connection. Mitogen's includes the start of Python on hosts that may all start it at once.
        "timeout = 60",
        "gathering = explicit",
        "host_key_checking = True",
        "nocows = True",
        "deprecation_warnings = False",
    ]
    if contender == "mitogen":
        (plugins,) = programs.parent.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy")
        lines += [f"strategy_plugins = {plugins}", "strategy = mitogen_linear"]
    lines += [
        "[ssh_connection]",
        "pipelining = True",
        f"ssh_args = -C -o ControlMaster=auto -o ControlPersist=60s {shared}",
        f"control_path_dir = {place.scratch / 'cp'}",
    ]
    return "\n".join(lines) + "\n"


def changes(contender: str, output: str, count: int) -> int:
    """How many things a finished run changed, over all hosts.

    Raises:
        BenchError: its output does not tell, or tells of a host that failed or is missing.
    """
    if contender == "floor":
        return 0
    if contender in {"ours", "stock"}:
        return _pyinfra_changes(output)
    found = _RECAP.findall(output)
    if len(found) != count or any(int(failed) or int(unreachable) for *_, unreachable, failed in found):
        message = f"{contender}: {len(found)} of {count} hosts in the recap, or not all of them well"
        raise BenchError(message)
    return sum(int(changed) for _, _, changed, _, _ in found)


def _pyinfra_changes(output: str) -> int:
    try:
        results: Mapping[str, Any] = json.loads(output)["results"]
        return sum(len(operation["success"]) for operation in results["operations"])
    except (ValueError, KeyError) as error:
        message = f"pyinfra's result cannot be read: {error!r}"
        raise BenchError(message) from error
