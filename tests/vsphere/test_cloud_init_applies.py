"""Debian's cloud-init carries out what hosts are given: in namespaces of its own, over what is on this machine."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploys.vsphere.seed.cloud_init import seed
from deploys.vsphere.seed.host import NewHost
from deploys.vsphere.seed.host_keys import HostKey, read_back
from tests.lab import cloud_init
from tests.lab.errors import LabError
from tests.vsphere.new_hosts import ALICE, BOB, HOSTS, OPS

SCRIPT = Path(__file__).with_name("apply_seed.sh")
SAY = 'echo "${0##*/} $*" >>/mnt/said\n'
PROGRAMS = {
    "hostnamectl": f'{SAY}[ "$1" != --static ] || hostname; [ "$1" != set-hostname ] || hostname "$2"',
    "vmware-rpctool": SAY, "systemctl": SAY, "tdnf": SAY, "sudo": SAY, "sshd": SAY,
}  # fmt: skip
"""Stand-ins: they would act on the machine, are not on it, or are Photon's alone."""


@dataclass
class Booted:
    """What a first boot left behind: path -> mode and text of its files."""

    files: dict[str, tuple[int, str]]

    def text(self, path: str) -> str:
        return self.files[path][1]

    def line(self, path: str, name: str) -> str:
        return next(line for line in self.text(path).splitlines() if line.startswith(f"{name}:"))

    def said(self) -> list[str]:
        """How its programs were called."""
        assert "failed" not in self.files, self.text("output")[-3000:]
        return self.text("said").splitlines()


@pytest.fixture
def boot(tmp_path: Path):
    """Boots a host for the first time."""
    try:
        modules = cloud_init.unpacked()
    except LabError as error:
        pytest.skip(str(error))

    def carry_out(host: NewHost, key: HostKey | None = None, renamed: str = "") -> Booted:
        (tmp_path / "bin").mkdir()
        for name, body in PROGRAMS.items():
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / "bin" / name).chmod(0o755)
        keys = seed(host, "id-1", key).guest_info().keys
        env = {f"vmx.{name}".upper().replace(".", "_"): value for name, value in keys.items()}
        env |= {
            "VMX_GUESTINFO": "1",
            "RENAMED": renamed,
            "PYTHONPATH": str(modules),
            "CLOUD_INIT": f"{cloud_init.PYTHON} -m cloudinit.cmd.main",
            "PATH": f"{tmp_path / 'bin'}:{modules.parents[2] / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        command = ["unshare", "--mount", "--uts", "--net", "--ipc", "--pid", "--fork", "sh", SCRIPT]
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            members = [member for member in archive if member.isfile()]
            return Booted({m.name: (m.mode, archive.extractfile(m).read().decode()) for m in members})

    return carry_out


def test_root_gets_in_by_key_and_nobody_by_the_images_password(boot) -> None:
    host, key = HOSTS["root, key made here"], HostKey.make()
    seen = boot(host, key)
    said = seen.said()
    assert said[-1] == "vmware-rpctool info-set guestinfo.fleet.ready id-1"
    assert not any("guestinfo.fleet.hostkey" in line for line in said)
    assert seen.text("hostname-1") == "web-1\n"
    assert re.fullmatch(r"root:\*:[1-9][0-9]+:0:99999:7:::", seen.line("etc/shadow", "root"))
    assert seen.files["root/.ssh/authorized_keys"] == (0o600, f"{ALICE}\n")
    assert seen.files["etc/ssh/sshd_config"] == (0o600, host.ssh.render())
    assert seen.files["etc/ssh/ssh_host_ed25519_key"] == (0o600, key.private)
    assert seen.text("etc/cloud/cloud.cfg.d/99-photon-fleet.cfg") == "preserve_hostname: true\n"


def test_a_user_gets_in_with_its_numbers_groups_and_sudo(boot) -> None:
    seen = boot(HOSTS["a user, image's sshd"])
    said = seen.said()
    assert said[-1] == "vmware-rpctool info-set guestinfo.fleet.ready id-1"
    told = next(line for line in said if "guestinfo.fleet.hostkey" in line).partition("hostkey ")[2]
    assert read_back(told) == " ".join(seen.text("etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
    assert "of the template" not in seen.text("etc/ssh/ssh_host_ed25519_key")
    assert seen.line("etc/passwd", "ops") == "ops:x:1501:1500:Ünïcode 🐙 it's:/home/ops:/bin/bash"
    assert seen.line("etc/group", "wheel") == "wheel:x:28:ops"
    assert seen.line("etc/shadow", "ops").split(":")[1].startswith("!")
    mode, keys = seen.files["home/ops/.ssh/authorized_keys"]
    assert (mode, sorted(keys.splitlines())) == (0o600, [ALICE, BOB])
    assert not seen.files.get("root/.ssh/authorized_keys", (0, ""))[1]
    assert seen.files["etc/sudoers.d/photon-fleet"] == (0o440, OPS.sudoers())
    assert seen.text("etc/ssh/sshd_config").startswith("PasswordAuthentication no\n")


def test_a_host_has_its_network_and_whole_name(boot) -> None:
    seen = boot(HOSTS["static addresses"])
    assert seen.said()[-1] == "vmware-rpctool info-set guestinfo.fleet.ready id-1"
    assert seen.text("hostname-1") == "web-1.example.com\n"
    assert seen.files["etc/systemd/network/10-cloud-init-eth0.network"][0] == 0o644
    assert "Address=10.0.0.5/24" in seen.text("etc/systemd/network/10-cloud-init-eth1.network")
    assert "DHCP=ipv4" in seen.text("etc/systemd/network/10-cloud-init-eth0.network")


def test_a_later_boot_changes_nothing(boot) -> None:
    """Not the name that the host has got since, nor what the first boot made, though the user data are gone."""
    seen = boot(HOSTS["root"], renamed="web-1-new")
    said = seen.said()
    assert seen.text("hostname-2") == "web-1-new\n"
    later = said[said.index("second boot") + 1 :]
    assert not [line for line in later if not line.startswith("systemctl status")]
    told = next(line for line in said if "guestinfo.fleet.hostkey" in line).partition("hostkey ")[2]
    assert read_back(told) == " ".join(seen.text("etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
    assert seen.text("root/.ssh/authorized_keys") == f"{ALICE}\n"
