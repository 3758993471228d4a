"""Volumes: units and mount options as systemd and the kernel name them."""

from __future__ import annotations

import pytest

from deploys.policies.storage import scrub_units
from operations import _mount_units
from operations.mount import missing_options, unit_text, with_option


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data", "data"),
        ("/", "-"),
        ("/var/lib/data-1", r"var-lib-data\x2d1"),
        ("/dev/disk/by-label/data", r"dev-disk-by\x2dlabel-data"),
        ("/.hidden/x.y", r"\x2ehidden-x.y"),
        ("/a//b/", "a-b"),
        ("/srv/ä@1", r"srv-\xc3\xa4\x401"),
    ],
)
def test_paths_are_escaped_as_systemd_does(path: str, name: str) -> None:
    assert _mount_units.escaped(path) == name


def test_the_unit_is_not_needed_by_a_boot_and_is_checked_before_it_is_mounted() -> None:
    text = unit_text("/data", "/dev/disk/by-label/data", "ext4", ["rw", "noatime"])
    assert r"Wants=systemd-fsck@dev-disk-by\x2dlabel-data.service" in text
    assert "WantedBy=local-fs.target" in text
    assert "RequiredBy" not in text
    assert "fsck" not in unit_text("/data", "/dev/sdb", "ext4", [])
    assert "fsck" not in unit_text("/data", "/dev/disk/by-label/data", "xfs", [])


def test_percent_signs_are_no_specifiers() -> None:
    assert "Where=/a%%b" in _mount_units.text("x", {"Mount": {"Where": "/a%b"}})


def test_scrub_units_are_of_the_mount() -> None:
    service, timer = scrub_units("pool", "/pool", "weekly").values()
    assert "RequiresMountsFor=/pool" in service
    assert "OnCalendar=weekly" in timer


@pytest.mark.parametrize(
    ("wanted", "live", "missing"),
    [
        (["rw", "noatime"], ["rw", "noatime"], []),
        (["rw", "compress=zstd"], ["rw", "compress=zstd:3"], []),
        (["rw", "noatime"], ["rw", "relatime"], ["noatime"]),
        (["ro"], ["rw"], ["ro"]),
        (["rw"], ["rw", "ro"], ["rw"]),
    ],
)
def test_options_in_force(wanted: list[str], live: list[str], missing: list[str]) -> None:
    assert missing_options(wanted, live) == missing


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("UUID=1 /boot ext4 defaults 1 2", "UUID=1\t/boot\text4\tro\t1\t2"),
        ("UUID=1 /boot ext4 rw,noatime 1 2", "UUID=1\t/boot\text4\tro,noatime\t1\t2"),
        ("UUID=1 /boot ext4 noatime,ro 1 2", "UUID=1 /boot ext4 noatime,ro 1 2"),
        ("tmpfs /scratch tmpfs size=1m", "tmpfs\t/scratch\ttmpfs\tro,size=1m"),
    ],
)
def test_a_line_of_fstab_becomes_read_only(line: str, wanted: str) -> None:
    assert with_option(line) == wanted
