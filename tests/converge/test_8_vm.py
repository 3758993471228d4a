"""What needs a kernel of its own, on two virtual machines: partitions, labels, swap, ext4 that grows, and NFS.

In order, as a boot takes half a minute: each test leaves the machines as the next one needs them.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.converge.conftest import changes, converge, prove, run

pytestmark = [pytest.mark.lab, pytest.mark.vm]

DISKS = (256, 128)
INVENTORY = """
from deploys.policies.nfs import Nfs
from deploys.policies.nfs_models import Client, Export, NfsMount
from deploys.policies.storage import Storage
from deploys.policies.storage_models import Disk, SwapFile, Volume
from inventories._fleet import fleet, host
from inventories._lab import lab_network

def mount(path, **more):
    given = dict(server="{server}", export="/export", hard=False, timeout_tenths=30, mount_seconds=10)
    return NfsMount(path=path, **given, **more)

hosts = fleet(
    host(
        "vm-1",
        Storage(
            volumes=[
                Volume(name="data", disk=Disk(size="{size}", wwn="0x5000c50000000000"), partition=True,
                       mount="/export", wait_seconds=90),
                Volume(name="swap1", disk=Disk(serial="lab-1", scsi="*:0:1:0"), partition=True,
                       filesystem="swap", wait_seconds=20),
            ],
            swap_files=[SwapFile(path="/var/swapfile", size="64M")],
        ),
        Nfs(exports=[Export(path="/export", clients=[Client(who=lab_network(), read_only=False, squash="none")])]),
        lab_vm=True,
    ),
    host("vm-2", Nfs(mounts=[mount("/mnt/seen", idle_seconds=0), mount("/mnt/now", automount=False)]), lab_vm=True),
    connector="lab",
)
"""


@pytest.fixture(scope="module")
def vms(lab):
    """Both machines, booted at once."""
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(lab.boot, "vm-1", disks=DISKS, vm=True), pool.submit(lab.boot, "vm-2", vm=True)]
        for each in started:
            each.result()
    yield lab
    for name in ("vm-1", "vm-2"):
        lab.stop(name)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vm")


def inventory(lab, place: Path, size: str) -> str:
    server = next(spec.address for spec, _ in lab.status() if spec.name == "vm-1")
    path = place / f"of_{size}.py"
    path.write_text(INVENTORY.format(server=server, size=size))
    return str(path)


LET_IN = "iptables -I INPUT -p tcp --dport 2049 -j ACCEPT; iptables-save > /etc/systemd/scripts/ip4save"
# The kernel finds them side by side: now this one is sda, now the other.
FIRST = "/dev/$(grep -l 5000c50000000000 /sys/block/sd*/device/wwid | cut -d/ -f4)"
HALF = f"printf 'label: gpt\\nname=\"photon-fleet:data\"\\n' | sfdisk --quiet {FIRST}"


@pytest.fixture(scope="module")
def converged(vms, place):
    """The first run, with the first disk as a run leaves it that is killed between partition and file system."""
    for command in (LET_IN, HALF):
        done = run("ssh", "-F", vms.ssh_config(), "vm-1", command)
        assert done.status == 0, done.all
    return converge(inventory=inventory(vms, place, "256M"))


def test_partitions_swap_and_nfs_are_made_and_proved(converged, on) -> None:
    assert converged.status == 0, converged.err[-3000:]
    assert converged.line("vm-1: ok; ")
    assert converged.line("vm-2: ok; ")
    assert on("vm-1", "findmnt -no SOURCE /export").strip() == on("vm-1", f"echo {FIRST}1").strip()
    assert len(on("vm-1", "swapon --show=NAME --noheadings").split()) == 2
    listening = {line.split()[4].rpartition(":")[2] for line in on("vm-1", "ss -Hltun").splitlines()}
    assert listening == {"22", "2049"}


def test_what_one_writes_the_other_reads(converged, on) -> None:
    on("vm-2", "echo from-2 > /mnt/now/two")
    assert on("vm-1", "cat /export/two").strip() == "from-2"
    on("vm-1", "echo from-1 > /export/one")
    assert on("vm-2", "cat /mnt/seen/one").strip() == "from-1"


def test_a_partition_and_its_file_system_grow_with_the_disk(converged, vms, place, on) -> None:
    vms.grow("vm-1", 0, 512)
    larger = inventory(vms, place, "512M")
    grown = converge("--json", inventory=larger)
    assert grown.status == 0, grown.err[-3000:]
    assert changes(grown)["success"] == 1
    assert int(on("vm-1", "df --output=size -m /export | tail -n 1")) > 450
    assert on("vm-2", "cat /mnt/seen/one").strip() == "from-1"
    again = converge("--json", "--limit", "vm-1", "--data", "only=storage", inventory=larger)
    assert changes(again)["success"] == 0


def test_a_server_that_is_gone_holds_up_no_run_and_no_proof(converged, vms, place, on) -> None:
    vms.cut("vm-1")
    started = time.monotonic()
    done = converge("--limit", "vm-2", inventory=inventory(vms, place, "512M"))
    assert done.line("vm-2: ok; 0 changes; "), done.err[-3000:]
    assert prove("--limit", "vm-2", inventory=inventory(vms, place, "512M")).status == 0
    assert time.monotonic() - started < 100


def test_neither_a_lost_disk_nor_a_lost_server_holds_up_a_boot(converged, vms, place, on) -> None:
    spec = next(spec for spec, _ in vms.status() if spec.name == "vm-1")
    boots = "cat /proc/sys/kernel/random/boot_id"
    before = on("vm-2", boots)
    on("vm-2", "sync; systemctl reboot", check=False)
    vms.stop("vm-1")
    with (spec.directory / "disk1.img").open("r+b") as disk:
        disk.truncate(0)
        disk.truncate(DISKS[1] << 20)
    vms.boot("vm-1")
    deadline = time.monotonic() + 240
    while (now := on("vm-2", boots, check=False)) in {"", before} and time.monotonic() < deadline:
        time.sleep(1)
    assert now not in {"", before}
    assert on("vm-1", "findmnt -no SOURCE /export; swapon --show=NAME --noheadings").split() == [
        on("vm-1", f"echo {FIRST}1").strip(), "/var/swapfile",
    ]  # fmt: skip
    assert on("vm-2", "cat /mnt/seen/one").strip() == "from-1"
    refused = converge("--limit", "vm-1", "--data", "only=storage", inventory=inventory(vms, place, "512M"))
    assert "volume swap1: it was made before" in refused.err
