"""What it costs to know the machines of a vCenter: ours beside others, in one run, against the simulator.

    python -m tests.bench.vsphere                       1,000 machines for all, 10,000 for ours alone
    python -m tests.bench.vsphere --machines 200 --large 0 --repeat 1
    python -m tests.bench.vsphere --contenders ours,attributes      without Ansible, which is installed at first use

Every contender is a program that ends when it has printed what there is. Calls and bytes are the simulator's counts;
wall time, CPU time and peak memory are the program's own, from its start to its end; the median of its turns counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from deploys.policies.secret import Secret
from deploys.policies.vcenter import VCenter as Settings
from deploys.vsphere.reads import all_vms
from deploys.vsphere.rest import Rest
from deploys.vsphere.session import Session
from deploys.vsphere.tags import batches, vm_object
from tests.bench.contenders import ROOT, environment_of_others
from tests.bench.errors import BenchError
from tests.lab import vcenter
from tests.lab.errors import LabError

REQUIREMENTS = Path(__file__).with_name("vsphere-requirements.txt")
PLUGIN = """
plugin: community.vmware.vmware_vm_inventory
hostname: {host}
port: {port}
username: {user}
password: "{{{{ lookup('env', 'VCENTER_PASSWORD') }}}}"
validate_certs: false
"""
ALL = ("ours", "reader", "community.vmware", "attributes")
"""`reader` is what ours does without pyinfra, which makes a host of each machine."""
OURS = ("ours", "reader")
ROLES = ("web", "db", "edge")


@dataclass(frozen=True)
class Cost:
    """One turn of a contender."""

    calls: int
    megabytes: float
    wall: float
    cpu: float
    memory: float

    def words(self) -> str:
        return f"{self.calls:,} | {self.megabytes:.1f} MB | {self.wall:.1f} s | {self.cpu:.1f} s | {self.memory:.0f} MB"


def environment(simulator: vcenter.VCenter, place: Path) -> dict[str, str]:
    """How each contender finds the vCenter; what it keeps is its own and goes with the run."""
    return {
        **os.environ, "VCENTER_HOST": f"{simulator.host}:{simulator.port}", "VCENTER_USER": simulator.user,
        "VCENTER_PASSWORD": simulator.password, "VCENTER_PIN_SHA256": simulator.pin, "XDG_CACHE_HOME": str(place),
        "ANSIBLE_HOME": str(place / "ansible"), "PYTHONPATH": str(ROOT),
    }  # fmt: skip


def command(contender: str, simulator: vcenter.VCenter, place: Path) -> Sequence[str | Path]:
    """The program of a contender."""
    match contender:
        case "ours":
            return [Path(sys.executable).with_name("pyinfra"), "@vsphere", "debug-inventory", "--json"]
        case "community.vmware":
            source = place / "bench.vmware.yml"
            source.write_text(PLUGIN.format(host=simulator.host, port=simulator.port, user=simulator.user))
            return [environment_of_others(REQUIREMENTS) / "ansible-inventory", "-i", source, "--list"]
        case "reader":
            return [sys.executable, "-m", "tests.bench.vsphere_read"]
        case _:
            return [sys.executable, "-m", "tests.bench.vsphere_attributes"]


def machines_in(contender: str, out: str) -> int:
    """How many machines a contender has found."""
    found = json.loads(out)
    return len(found["_meta"]["hostvars"]) if contender == "community.vmware" else len(found)


def turn(contender: str, simulator: vcenter.VCenter, place: Path, machines: int) -> Cost:
    """Let a contender read everything.

    Raises:
        BenchError: it fails, or finds another number of machines.
    """
    words, env = command(contender, simulator, place), environment(simulator, place)
    simulator.reset_stats()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begin = time.monotonic()
        process = subprocess.Popen(words, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            message = f"{contender} failed:\n{err.read()[-2000:]}"
            raise BenchError(message)
        found = machines_in(contender, out.read())
    if found != machines:
        message = f"{contender} found {found} machines of {machines}"
        raise BenchError(message)
    stats = simulator.stats().values()
    return Cost(
        calls=sum(int(each["calls"]) for each in stats), megabytes=sum(each["bytes"] for each in stats) / 1e6,
        wall=wall, cpu=used.ru_utime + used.ru_stime, memory=used.ru_maxrss / 1024,
    )  # fmt: skip


def tagged(simulator: vcenter.VCenter) -> None:
    """Give every machine a tag."""
    with mock.patch.dict(os.environ, VCENTER_PASSWORD=simulator.password):
        session = Session(
            Settings(
                host=simulator.host, port=simulator.port, user=simulator.user,
                password=Secret.env("VCENTER_PASSWORD"), pin_sha256=simulator.pin,
            )
        )  # fmt: skip
        try:
            rest, objects = Rest(session), [vm_object(vm.moid) for vm in all_vms(session)]
            about = {"name": "role", "description": "", "cardinality": "SINGLE", "associable_types": ["VirtualMachine"]}
            category = rest.post("category", body=about, envelope="create_spec")
            for number, role in enumerate(ROLES):
                about = {"name": role, "description": "", "category_id": category}
                tag = rest.post("tag", body=about, envelope="create_spec")
                for batch in batches(objects[number :: len(ROLES)]):
                    body = {"object_ids": list(batch)}
                    rest.post("tag-association", tag, action="attach-tag-to-multiple-objects", body=body)
        finally:
            session.close()


def medians(turns: Sequence[Cost]) -> Cost:
    return Cost(
        calls=turns[0].calls, megabytes=statistics.median(each.megabytes for each in turns),
        wall=statistics.median(each.wall for each in turns), cpu=statistics.median(each.cpu for each in turns),
        memory=max(each.memory for each in turns),
    )  # fmt: skip


def measured(contenders: Sequence[str], machines: int, repeat: int) -> dict[str, Cost]:
    """The cost of each contender, all taking turns."""
    with vcenter.start(vms=machines, boot=0) as simulator, tempfile.TemporaryDirectory() as place:
        tagged(simulator)
        turns: dict[str, list[Cost]] = {contender: [] for contender in contenders}
        for _ in range(repeat):
            for contender in contenders:
                turns[contender].append(turn(contender, simulator, Path(place), machines))
    return {contender: medians(costs) for contender, costs in turns.items()}


def table(rows: Mapping[int, Mapping[str, Cost]]) -> str:
    """A Markdown table of machines -> contender -> cost, with ratios to ours within a number of machines."""
    lines = ["| machines | | calls | bytes | wall | CPU | memory | wall, against ours |", "|---" * 8 + "|"]
    for machines, costs in rows.items():
        for contender, cost in costs.items():
            ratio = f"{cost.wall / costs['ours'].wall:.1f}" if "ours" in costs else ""
            lines.append(f"| {machines:,} | {contender} | {cost.words()} | {ratio} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.vsphere", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--machines", type=int, default=1000, help="for all contenders (default: %(default)s)")
    parser.add_argument("--large", type=int, default=10000, help="for ours alone; 0: none (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="turns of each contender (default: %(default)s)")
    parser.add_argument("--contenders", default=",".join(ALL), help="which of them (default: %(default)s)")
    options = parser.parse_args()
    contenders = options.contenders.split(",")
    if unknown := set(contenders) - set(ALL):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(ALL)}")
    try:
        rows = {options.machines: measured(contenders, options.machines, options.repeat)}
        if options.large:
            rows[options.large] = measured(OURS, options.large, 1)
    except (BenchError, LabError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
