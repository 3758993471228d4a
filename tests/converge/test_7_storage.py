"""Volumes on virtual disks: made once, kept over a kill, a reboot and a lost disk, and grown; others left alone.

What needs a kernel and udev of its own (partitions, swap, labels, ext4 that grows) is in tests/vm.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.converge.conftest import changes, converge, program, prove, run
from tests.converge.test_2_drift import failed

pytestmark = pytest.mark.lab

HEAD = """
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.storage import Storage
from deploys.policies.storage_models import Disk, Subvolume, Volume
from inventories._fleet import fleet, host
from inventories._lab import lab_key

base = Packages(
    keys=[SigningKey(name="photon-lab", **lab_key())],
    repositories=[Repository(id="photon", url="http://packages.lab/photon", key="photon-lab")],
)
"""
VOLUMES = """
fast = Volume(name="fast", disk=Disk(size="%s", device="/dev/sdb"), filesystem="xfs", mount="/fast",
              options=["noatime"], user="daemon", group="daemon", mode="750")
pool = Volume(name="pool", disk=Disk(device="/dev/sdc"), filesystem="btrfs", mount="/var/pool",
              options=["compress=zstd"], scrub="weekly",
              subvolumes=[Subvolume(name="logs", mount="/var/pool-logs", mode="700"), Subvolume(name="kept")])
hosts = fleet(host("disk-1", base, Storage(volumes=[fast, pool], read_only=["/scratch"]), lab_disks=[320, 256]),
              connector="lab")
"""


def inventory(directory: Path, name: str, text: str) -> str:
    path = directory / f"{name}.py"
    path.write_text(textwrap.dedent(HEAD) + text)
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def of_320(place: Path) -> str:
    return inventory(place, "of_320", VOLUMES % "320M")


# Does its work, removes itself, and takes the session with it in which it was called.
FATAL = """
cat > /usr/local/sbin/{name} <<'X'
#!/bin/sh
{before}
{path} "$@" || exit
{condition} || exit 0
rm -f /usr/local/sbin/{name}
p=$$; while [ "$(cat /proc/$p/comm)" != sshd ]; do p=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$p/status); done; kill -9 $p
X
chmod 755 /usr/local/sbin/{name}; hash -r; command -v {name}
"""


def fatal(name: str, condition: str = "true") -> str:
    return FATAL.format(name=name, path=f"/usr/bin/{name}" if name == "systemctl" else f"/usr/sbin/{name}",
                        condition=condition, before="")  # fmt: skip


SCRATCH = (
    "mkdir /scratch; echo 'tmpfs /scratch tmpfs size=1m 0 0' >> /etc/fstab; systemctl daemon-reload; mount /scratch"
)
UUIDS = "for each in sdb sdc; do blkid -p -s UUID -o value /dev/$each; done; true"


@pytest.fixture(scope="module")
def made(lab, of_320: str):
    """The first run, killed after the first file system and again after the first unit; what each run ended with."""
    lab.boot("disk-1", disks=(320, 256))
    ends = []
    for name, condition in (("mkfs.xfs", "true"), ("systemctl", '[ "$1" = enable ]')):
        ssh(lab, "disk-1", (SCRATCH if not ends else "true") + "; " + fatal(name, condition))
        ends.append((converge(inventory=of_320), ssh(lab, "disk-1", UUIDS).split()))
    ends.append((converge("--json", inventory=of_320), ssh(lab, "disk-1", UUIDS).split()))
    return ends


def ssh(lab, host: str, text: str, *, check: bool = True) -> str:
    done = run("ssh", "-F", lab.ssh_config(), host, text)
    assert not check or done.status == 0, done.all
    return done.out


def test_a_run_that_is_killed_is_carried_on_without_making_a_file_system_twice(made) -> None:
    (one, after_mkfs), (two, after_unit), (three, at_last) = made
    assert one.status != 0
    assert two.status != 0
    assert len(after_mkfs) == 1
    assert three.status == 0, three.err
    assert "disk-1: ok; " in three.err
    assert after_mkfs == after_unit[:1] == at_last[:1]
    assert len(at_last) == 2


def test_the_second_run_changes_nothing(made, of_320) -> None:
    done = converge("--json", inventory=of_320)
    totals = changes(done)
    assert (done.status, totals["success"], totals["error"]) == (0, 0, 0)


def test_volumes_are_there_after_a_reboot_with_what_was_in_them(made, lab, of_320, on) -> None:
    on("disk-1", "echo fast > /fast/file; echo logs > /var/pool-logs/file")
    boot = on("disk-1", "cat /proc/sys/kernel/random/boot_id; systemctl reboot", check=False).split()[0]
    for _ in range(100):
        if (now := on("disk-1", "cat /proc/sys/kernel/random/boot_id", check=False).strip()) not in {"", boot}:
            break
    assert now != boot
    assert on("disk-1", "cat /fast/file /var/pool/logs/file").split() == ["fast", "logs"]
    assert "ro" in on("disk-1", "findmnt -no OPTIONS /scratch").strip().split(",")
    assert prove(inventory=of_320).status == 0


def test_what_is_broken_by_hand_is_named_and_mended(made, of_320, on) -> None:
    on(
        "disk-1",
        "mount -o remount,strictatime /fast; chmod 777 /fast; systemctl disable var-pool.mount; umount /var/pool-logs; "
        "mount -o remount,rw /scratch; sed -i s/ro,// /etc/fstab; btrfs subvolume delete /var/pool/kept; "
        "systemctl disable --now photon-fleet-scrub-pool.timer; "
        "sed -i s/noatime/nodev/ /etc/systemd/system/fast.mount; rm -r /etc/systemd/system/dev-disk-*fast.device.d",
    )
    broken = prove(inventory=of_320)
    assert failed(broken.out) >= {
        "storage.volume[fast].options", "storage.volume[fast].owner", "storage.volume[fast].unit-options",
        "storage.volume[fast].patience", "storage.volume[pool].boot", "storage.volume[pool].subvolume[kept]",
        "storage.volume[pool].subvolume[logs].mounted", "storage.volume[pool].scrub.timer",
        "storage.read-only[/scratch]", "storage.read-only[/scratch].boot",
    }, broken.out[-3000:]  # fmt: skip
    mended = converge("--json", inventory=of_320)
    assert mended.status == 0, mended.err
    assert changes(converge("--json", inventory=of_320))["success"] == 0


def test_a_disk_that_grew_is_named_until_the_policy_says_so_and_then_filled(made, lab, of_320, place, on) -> None:
    lab.grow("disk-1", 0, 640)
    lab.grow("disk-1", 1, 512)
    named = failed(prove(inventory=of_320).out)
    assert named >= {"storage.volume[fast].disk.size", "storage.volume[fast].full-size"}
    assert named >= {"storage.volume[pool].full-size"}
    assert converge(inventory=of_320).line("disk-1: FAILED; 1 change; ")
    assert failed(prove(inventory=of_320).out) == {"storage.volume[fast].disk.size", "storage.volume[fast].full-size"}
    larger = inventory(place, "of_640", VOLUMES % "640M")
    assert converge(inventory=larger).line("disk-1: ok; 1 change; ")
    assert changes(converge("--json", inventory=larger))["success"] == 0
    assert on("disk-1", "cat /fast/file").strip() == "fast"


SNAPSHOT = """
from operations import btrfs
btrfs.snapshot(name="Keep what was", path="/var/pool", subvolume="logs", snapshot="{name}", keep_days={days})
"""


NEXT_WEEK = """#!/bin/sh
[ "$*" = +%s ] && exec /usr/bin/date -d "8 days" +%s
exec /usr/bin/date "$@"
"""


def test_snapshots_are_read_only_and_old_ones_go(made, of_320, place, on) -> None:
    def take(name: str, days: int) -> int:
        deploy = place / "snapshot.py"
        deploy.write_text(SNAPSHOT.format(name=name, days=days))
        return changes(run(program("pyinfra"), of_320, deploy, "-y", "--json"))["success"]

    assert (take("one", 7), take("one", 7)) == (1, 0)
    on("disk-1", "! touch /var/pool/.snapshots/logs@one/x && cat /var/pool/.snapshots/logs@one/file")
    on("disk-1", f"printf %s '{NEXT_WEEK}' > /usr/local/sbin/date; chmod 755 /usr/local/sbin/date")
    try:
        assert take("two", 7) == 1
    finally:
        on("disk-1", "rm /usr/local/sbin/date")
    assert on("disk-1", "ls /var/pool/.snapshots").split() == ["logs@two"]


REFUSED = """
def asks(disk, mount="/data"):
    return Storage(volumes=[Volume(name="data", disk=disk, mount=mount)])

hosts = fleet(
    host("full-1", base, asks(Disk(device="/dev/sdb")), lab_disks=[64]),
    host("two-1", base, asks(Disk(size="64M")), lab_disks=[64, 64]),
    host("dir-1", base, asks(Disk(size="64M"), mount="/home"), lab_disks=[64]),
    host("link-1", base, asks(Disk(size="64M"), mount="/var/link/data"), lab_disks=[64]),
    connector="lab",
)
"""


def test_what_is_not_empty_or_not_clear_is_left_alone(lab, place) -> None:
    for name, disks in (("full-1", (64,)), ("two-1", (64, 64)), ("dir-1", (64,)), ("link-1", (64,))):
        lab.boot(name, disks=disks)
    # Data that no program knows: the last bytes of the disk only.
    ssh(lab, "full-1", "printf secret | dd of=/dev/sdb bs=1 seek=$((64 * 1048576 - 6)) conv=notrunc 2>&1")
    ssh(lab, "dir-1", "echo precious > /home/file")
    ssh(lab, "link-1", "ln -s /srv /var/link")
    text = inventory(place, "refused", REFUSED)
    sums = {name: ssh(lab, name, "sha256sum /dev/sd?") for name in ("full-1", "two-1")}
    done = converge(inventory=text)
    assert done.status == 1
    assert "volume data: no empty disk, and others are left alone: /dev/sdb has data in its last MiB" in done.err
    assert "2 empty disks could be meant: /dev/sdb (64 MiB), /dev/sdc (64 MiB)" in done.err
    assert "/home has files in it, which a mount would hide" in done.err
    assert "/var/link/data leads to /srv/data by a symbolic link" in done.err
    assert sums == {name: ssh(lab, name, "sha256sum /dev/sd?") for name in sums}
    assert ssh(lab, "dir-1", "cat /home/file; blkid -p /dev/sdb; true").split() == ["precious"]


def test_a_disk_that_was_lost_holds_up_no_boot_and_gets_no_empty_successor(made, lab, of_320, on) -> None:
    lab.stop("disk-1")
    spec = next(spec for spec, _ in lab.status() if spec.name == "disk-1")
    (spec.directory / "disk0.img").unlink()
    lab.boot("disk-1")
    assert on("disk-1", "findmnt -no SOURCE /fast; findmnt -no SOURCE /var/pool", check=False).split() == ["/dev/sdc"]
    done = converge(inventory=of_320)
    assert done.status == 1
    assert "volume fast: it was made before (/etc/systemd/system/fast.mount is there)" in done.err
    assert on("disk-1", "blkid -p /dev/sdb; true") == ""


def test_no_loop_device_outlives_its_host(made, lab) -> None:
    def backing() -> list[str]:
        return [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]

    names = ("disk-1", "full-1", "two-1", "dir-1", "link-1")
    places = {spec.name: f"{spec.directory}/" for spec, _ in lab.status() if spec.name in names}
    assert any(line.startswith(places["disk-1"]) for line in backing())
    for name in names:
        lab.stop(name)
    # Other hosts of this lab have disks as well.
    assert not any(line.startswith(tuple(places.values())) for line in backing())
