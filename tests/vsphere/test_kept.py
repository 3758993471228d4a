"""What was read of a vCenter, kept for when it does not answer."""

from __future__ import annotations

import stat
import time

import pytest

from deploys.policies.secret import Secret
from deploys.policies.vcenter import VCenter
from deploys.vsphere.kept import Read, file_of, keep, kept
from deploys.vsphere.rows import Nic, Vm

VCENTER = VCenter(host="vcenter.example.com", user="ro@vsphere.local", password=Secret.env("NONE"), pin_sha256="a" * 64)
VMS = (
    Vm("vm-1", "web-1", ("DC0",), nics=(Nic(4000, "net", "", ("10.0.0.1",)),), tags={"role": ("web",)}),
    Vm("vm-2", "ü", ("DC0", "a/b"), template=True),
)


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_it_comes_back_as_it_was() -> None:
    assert kept(VCENTER) is None
    read = Read(VMS, time.time(), tagged=False)
    keep(VCENTER, read)
    again = kept(VCENTER)
    assert again == read
    assert again.digest == read.digest
    assert stat.S_IMODE(file_of(VCENTER).stat().st_mode) == 0o600
    assert [path.name for path in file_of(VCENTER).parent.iterdir()] == [file_of(VCENTER).name]


def test_another_user_or_vcenter_has_another_one() -> None:
    keep(VCENTER, Read(VMS, 0))
    assert kept(VCENTER.model_copy(update={"user": "rw@vsphere.local"})) is None
    assert kept(VCENTER.model_copy(update={"port": 8443})) is None


SPOILT = [
    lambda text: text[:-5],
    lambda text: text.replace("10.0.0.1", "10.0.0.2"),
    lambda text: text.replace('"format": 2', '"format": 3'),
    lambda _: "",
    lambda _: "[]\n[]",
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_one_that_was_cut_off_or_edited_is_not_used(spoil) -> None:
    keep(VCENTER, Read(VMS, 0))
    path = file_of(VCENTER)
    path.write_text(spoil(path.read_text()))
    assert kept(VCENTER) is None


def test_a_place_that_cannot_be_written_is_no_trouble(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep(VCENTER, Read(VMS, 0))
    assert kept(VCENTER) is None


@pytest.mark.parametrize(("seconds", "words"), [(5, "seconds old"), (200, "3 minutes old"), (3 * 3600, "3 hours old"),
                                                (72 * 3600, "3 days old")])  # fmt: skip
def test_its_age_is_said(seconds: int, words: str) -> None:
    assert Read((), time.time() - seconds).age().endswith(words)
