"""Volumes: which disk may be taken, what is refused before a connection, and units as systemd names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api import OperationError

from deploys.errors import InputError
from deploys.policies.storage import Storage
from deploys.policies.storage_models import Disk, Subvolume, SwapFile, Volume, byte_count
from operations._disks import Target, Wanted, choose, same_wwn

GIB = 1 << 30


def examples(_: Path) -> tuple[Storage, Storage]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Storage(
            volumes=[
                Volume(
                    name="data",
                    disk=Disk(
                        size="20G", serial="a1", wwn="naa.6000c29000000001", path="pci-0-scsi-0:0:1:0", scsi="0:0:1:0"
                    ),
                    filesystem="btrfs",
                    mount="/data",
                    subvolumes=[Subvolume(name="logs", mount="/var/data-logs")],
                    scrub="weekly",
                )
            ],
            swap_files=[SwapFile(path="/var/swap", size="1G")],
            read_only=["/boot"],
        ),
        Storage(
            volumes=[
                Volume(
                    name="data",
                    disk=Disk(
                        size="40G", tolerance_percent=2, serial="b2", wwn="naa.6000c29000000002", device="/dev/sdb",
                        path="pci-0-scsi-0:0:2:0", scsi="*:0:2:0",
                    ),
                    filesystem="xfs",
                    mount="/other",
                    partition=True,
                    read_only=True,
                    options=["noatime"],
                    user="app",
                    group="staff",
                    mode="750",
                    wait_seconds=60,
                ).model_copy(
                    update={
                        "subvolumes": (
                            Subvolume(
                                name="logs", mount="/var/other", options=["nodev"], user="app", group="app", mode="700"
                            ),
                        ),
                        "scrub": "monthly",
                    }
                )
            ],
            swap_files=[SwapFile(path="/var/swap", size="2G")],
            read_only=["/boot", "/usr"],
            read_only_root=True,
        ),
    )  # fmt: skip


def disk(node: str, size: int = 20 * GIB, **more) -> dict:
    return {
        "node": node, "size": size, "serial": "", "wwn": "", "scsi": "", "paths": [], "kind": "", "label": "",
        "reasons": [], "partitions": [], **more,
    }  # fmt: skip


def partition(node: str, **more) -> dict:
    return {
        "node": node,
        "size": 19 * GIB,
        "start": 1 << 20,
        "name": "",
        "kind": "",
        "label": "",
        "reasons": [],
        **more,
    }


SYSTEM = disk(
    "/dev/sda", reasons=["has a partition table (gpt)"], partitions=[partition("/dev/sda1", kind="ext4", label="root")]
)


def chosen(*disks: dict, partitioned: bool = False, filesystem: str = "ext4", **wanted) -> Target:
    return choose({"udev": True, "disks": list(disks)}, Wanted("data", filesystem, partitioned, wanted))


def refusal(*disks: dict, **wanted) -> str:
    with pytest.raises(OperationError) as error:
        chosen(*disks, **wanted)
    return str(error.value)


def test_the_one_empty_disk_that_matches_is_chosen() -> None:
    assert chosen(SYSTEM, disk("/dev/sdb"), size=20 * GIB, tolerance=1).node == "/dev/sdb"
    assert chosen(disk("/dev/sdb"), disk("/dev/sdc", serial="x"), serial="x").node == "/dev/sdc"
    assert chosen(disk("/dev/sdb"), disk("/dev/sdc", paths=["p", "q"]), path="q").node == "/dev/sdc"
    assert chosen(disk("/dev/sdb", scsi="0:0:1:0"), disk("/dev/sdc", scsi="3:0:2:0"), scsi="*:0:2:0").node == "/dev/sdc"
    assert not chosen(disk("/dev/sdb"), device="/dev/sdb").formatted


def test_two_empty_disks_are_both_named_and_none_is_taken() -> None:
    said = refusal(SYSTEM, disk("/dev/sdb"), disk("/dev/sdc", serial="s2"), size=20 * GIB)
    assert "2 empty disks" in said
    assert "/dev/sdb" in said
    assert "/dev/sdc (20 GiB, serial s2)" in said
    assert "/dev/sda" not in said


@pytest.mark.parametrize(
    "reason", ["holds ext4", "has a partition table (dos)", "is mounted", "has data in its first MiB"]
)
def test_a_disk_with_anything_on_it_is_left_alone(reason: str) -> None:
    assert f"/dev/sdb {reason}" in refusal(disk("/dev/sdb", reasons=[reason]), device="/dev/sdb")


def test_no_disk_that_matches_names_those_that_there_are() -> None:
    said = refusal(SYSTEM, disk("/dev/sdb", size=10 * GIB), size=20 * GIB, tolerance=1, serial="x")
    assert "size 20 GiB ± 1 %, serial x" in said
    assert "/dev/sdb (10 GiB)" in said
    assert "none" in refusal(serial="x")


def test_a_volume_is_known_by_its_label_wherever_its_disk_is_now() -> None:
    own = disk("/dev/sdd", size=40 * GIB, kind="ext4", label="data", reasons=["holds ext4"])
    found = chosen(disk("/dev/sdb"), own, device="/dev/sdb", size=20 * GIB, tolerance=1)
    assert (found.node, found.formatted) == ("/dev/sdd", True)


@pytest.mark.parametrize(
    ("own", "wanted", "sentence"),
    [
        ({"kind": "xfs"}, {}, "holds xfs, not ext4: it is never made anew"),
        ({"kind": "ext4"}, {"serial": "other"}, "is not the disk that it asks for"),
        ({"kind": "ext4"}, {"partitioned": True}, "on a whole disk; it stays as it was made"),
    ],
)
def test_a_label_on_something_else_is_refused(own: dict, wanted: dict, sentence: str) -> None:
    labelled = disk("/dev/sdb", label="data", reasons=["holds"], **own)
    assert sentence in refusal(labelled, disk("/dev/sdc"), **wanted)


def test_a_label_that_is_there_twice_is_refused() -> None:
    clone = [disk(node, label="data", kind="ext4", reasons=["holds ext4"]) for node in ("/dev/sdb", "/dev/sdc")]
    assert "more than once: /dev/sdb, /dev/sdc" in refusal(*clone, size=20 * GIB)


def test_a_partition_of_ours_without_a_file_system_is_carried_on_with() -> None:
    """A run that was killed between the partition and the file system."""
    half = disk(
        "/dev/sdb",
        reasons=["has a partition table (gpt)"],
        partitions=[partition("/dev/sdb1", name="photon-fleet:data")],
    )
    found = chosen(half, partitioned=True, size=20 * GIB)
    assert (found.node, found.formatted) == ("/dev/sdb1", False)
    half["partitions"][0] |= {"kind": "xfs", "reasons": ["holds xfs"]}
    assert "its partition /dev/sdb1 holds xfs" in refusal(half, partitioned=True, size=20 * GIB)


def test_wwns_are_compared_in_their_short_and_long_forms() -> None:
    assert same_wwn("naa.6000c298e7dfd47f0123456789abcdef", "0x6000C298E7DFD47F")
    assert not same_wwn("naa.6000c298e7dfd47f", "naa.6000c298e7dfd470")
    assert not same_wwn("", "naa.6000c298e7dfd470")
    assert not same_wwn("6", "60")


@pytest.mark.parametrize(
    "place",
    ["/", "/usr", "/usr/local", "/etc", "/etc/x", "/var/lib/photon-fleet", "/proc/x", "/boot", "/var", "/dev/shm"],
)
def test_nothing_is_mounted_where_the_host_lives(place: str) -> None:
    with pytest.raises(InputError, match="nothing is mounted at"):
        Volume(name="x", disk=Disk(serial="1"), mount=place)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"mount": "data"}, "an absolute path"),
        ({"mount": "/data/"}, "no slash at its end"),
        ({"mount": "/data/../etc"}, "an absolute path"),
        ({"mount": "/a b"}, "an absolute path"),
        ({}, "mount is missing"),
        ({"name": "Data", "mount": "/d"}, "lower-case"),
        ({"name": "-data", "mount": "/d"}, "no dash first"),
        ({"name": "a-label-too-long", "mount": "/d"}, "1 to 12"),
        ({"mount": "/d", "options": ["ro"]}, "decided by the policy"),
        ({"mount": "/d", "options": ["subvolid=5"]}, "decided by the policy"),
        ({"mount": "/d", "options": ["x"], "filesystem": "swap"}, "swap has no mount"),
        ({"mount": "/d", "options": ["noatime,ro"]}, "one option"),
        ({"mount": "/d", "scrub": "weekly"}, "for btrfs, not ext4"),
        ({"mount": "/d", "mode": "rwx"}, "octal"),
        ({"mount": "/d", "wait_seconds": 0}, "wait_seconds"),
        ({"mount": "/d", "filesystem": "ntfs"}, "filesystem"),
    ],
)
def test_bad_volumes_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Volume(**{"name": "data", "disk": Disk(serial="1"), **fields})


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "give at least one of"),
        ({"size": "20"}, "such as 20G"),
        ({"size": "0G"}, "such as 20G"),
        ({"device": "/dev/sdb1/x"}, "whole disk"),
        ({"device": "sdb"}, "whole disk"),
        ({"wwn": "x"}, "hexadecimal"),
        ({"scsi": "1:2:3"}, "host:channel:target:lun"),
        ({"serial": "-x"}, "letters, digits"),
        ({"sise": "20G"}, "did you mean 'size'"),
    ],
)
def test_bad_disks_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Disk(**fields)


def test_two_volumes_cannot_have_one_place_or_one_disk() -> None:
    one = Volume(name="one", disk=Disk(serial="1"), mount="/data")
    place = Storage(volumes=[one, Volume(name="two", disk=Disk(serial="2"), mount="/data")])
    assert list(place.problems()) == ["volumes[two]: /data is the mount of volume one already"]
    same = Storage(volumes=[one, Volume(name="two", disk=Disk(serial="1"), mount="/more")])
    assert list(same.problems()) == ["volumes[two].disk: asks for the same disk as volume one"]


def test_subvolumes_are_given_once() -> None:
    with pytest.raises(InputError, match="'a' is given 2 times"):
        Volume(name="x", disk=Disk(serial="1"), mount="/x", filesystem="btrfs", subvolumes=[Subvolume(name="a")] * 2)


def test_sizes_are_counted_in_1024s() -> None:
    assert byte_count("20G") == 20 * GIB
    assert byte_count("2T") == 2048 * GIB
