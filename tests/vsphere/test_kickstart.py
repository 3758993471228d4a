"""The answers for the installer: its keys, its own rules, and where secrets go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Root
from deploys.policies.secret import Secret
from deploys.vsphere.seed.kickstart import Kickstart, Partition, kickstart
from deploys.vsphere.seed.shown import answers, write_answers
from tests.vsphere.new_hosts import ALICE, HOSTS, ROOT, STACKED, new_host

OLD = set(
    "additional_files additional_packages additional_rpms_path arch bootmode disk eject_cdrom hostname "
    "insecure_installation live log_level ostree packagelist_file packages partition_type partitions network password "
    "postinstall postinstallscripts public_key search_path shadow_password ui linux_flavor photon_docker_image "
    "photon_release_version".split()
)
"""photon-os-installer's ks_config.txt, when Photon 4.0 was new."""
NEW = set(
    "additional_files additional_packages additional_rpms_path ansible arch archives autopartition bootmode "
    "build_mounts disk disks docker dps eject_cdrom environment firstboot grub hostname insecure_repo "
    "linux_flavor live log_level manifest_file network no_clean no_unmount packages packagelist_file "
    "packagelist_files partition_type partitions password photon_docker_image plugins postinstall "
    "postinstallscripts preinstall preinstallscripts prepkgsinstall prepkgsinstallscripts public_key repos "
    "search_path security services setup_grub_script shadow_password tdnf_cachedir type ui user_grub_cfg_file".split()
)
"""known_keys of its installer.py in the middle of 2026; it ends at any other."""
PARTITION = {"mountpoint", "size", "filesystem"}
HASH = "$6$salt$" + "a" * 86
GRUB = f"grub.pbkdf2.sha512.10000.{'AB' * 64}.{'CD' * 64}"


@pytest.mark.parametrize("name", HOSTS)
def test_every_installer_knows_the_keys(name: str) -> None:
    found = kickstart(
        HOSTS[name], Kickstart(partitions=[Partition(mount="/", size=0), Partition(mount="swap", size=512)])
    )
    assert set(found) <= OLD & NEW
    assert all(set(partition) <= PARTITION for partition in found["partitions"])
    assert found["password"] == {"crypted": True, "text": "*", "age": -1}


def test_only_a_user_needs_sudo() -> None:
    asked = Kickstart(packages=["tar"])
    assert kickstart(HOSTS["root"], asked)["additional_packages"] == ["tar"]
    assert kickstart(HOSTS["a user"], asked)["additional_packages"] == ["tar", "sudo"]


def test_the_installer_makes_stacked_links_too() -> None:
    assert any("[VLAN]" in line for line in kickstart(new_host(ROOT, STACKED), Kickstart())["postinstall"])


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"partitions": []}, "partitions: none is for /"),
        (
            {"partitions": [Partition(mount="/", size=0), Partition(mount="/var", size=0)]},
            "more than one of them has the",
        ),
        ({"partitions": [Partition(mount="/", size=0), Partition(mount="/", size=9)]}, "partitions: / is given twice"),
        ({"disk": "sda"}, "'sda' is no device"),
        ({"disk": "/dev/-x"}, "is no device"),
        ({"package_list": "-x.json"}, "is no list of packages"),
        ({"packages": ["-x"]}, "packages.0"),
        ({"kernal": "linux"}, "did you mean 'kernel'"),
    ],
)
def test_what_the_installer_would_refuse_is_refused_here(fields, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Kickstart(**fields)


def with_secrets(monkeypatch: pytest.MonkeyPatch, variable: str, root: str, grub: str) -> tuple:
    """Names of their own: secrets are resolved once in a run."""
    monkeypatch.setenv(f"{variable}_ROOT", root)
    monkeypatch.setenv(f"{variable}_GRUB", grub)
    host = new_host(Accounts(root=Root(keys=[ALICE], password=Secret.env(f"{variable}_ROOT"))))
    return host, Kickstart(root_password=True, grub_password=Secret.env(f"{variable}_GRUB"))


def test_hashes_are_for_the_installer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    host, asked = with_secrets(monkeypatch, "A", HASH, GRUB)
    found = kickstart(host, asked)
    assert (found["password"]["text"], found["grub"]) == (HASH, {"password_pbkdf2": GRUB})
    seen = json.dumps(kickstart(host, asked, masked=True))
    assert HASH not in seen
    assert GRUB not in seen
    assert "(masked: Secret.env('A_ROOT'))" in seen


@pytest.mark.parametrize(("root", "grub"), [("planted-value", GRUB), (HASH, "planted-value")])
def test_a_plain_password_is_refused_and_not_repeated(root: str, grub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host, asked = with_secrets(monkeypatch, f"B{len(root)}", root, grub)
    with pytest.raises(InputError, match="holds no hash") as refusal:
        kickstart(host, asked)
    assert "planted-value" not in str(refusal.value)


def test_a_password_that_the_policy_does_not_have() -> None:
    with pytest.raises(InputError, match=r"accounts\.root\.password has no hash"):
        kickstart(HOSTS["root"], Kickstart(root_password=True))


INVENTORY = """
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Root
from deploys.policies.secret import Secret
from deploys.vsphere.seed.first_boot import FirstBoot
from deploys.vsphere.seed.kickstart import Kickstart
from inventories._fleet import fleet, host

hosts = fleet(
    host("web-1", Accounts(root=Root(password=Secret.env("ROOT_HASH"))), address="192.0.2.1", ssh_user="root",
         first_boot=FirstBoot(keys=["ssh-ed25519 AAAAkey someone"], host_keys="controller"),
         kickstart=Kickstart(root_password=True)),
    host("odd-1", address="192.0.2.3", first_boot={"keys": []}),
)
"""


def deploys(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploys", "seed", *arguments]
    env = {**os.environ, "ROOT_HASH": HASH}
    return subprocess.run(command, text=True, capture_output=True, cwd=cwd, env=env, check=False)


def test_the_command_shows_and_writes(tmp_path: Path) -> None:
    (tmp_path / "fleet.py").write_text(INVENTORY)
    seen = deploys("fleet.py", "web-1", cwd=tmp_path)
    assert seen.returncode == 0
    assert "ssh-ed25519 AAAAkey someone" in seen.stdout
    assert "(masked: made when the VM is)" in seen.stdout
    file = tmp_path / "ks.json"
    written = deploys("fleet.py", "web-1", "--kickstart", "--output", str(file), cwd=tmp_path)
    assert (written.returncode, written.stdout) == (0, "")
    assert json.loads(file.read_text())["password"]["text"] == HASH


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "fleet.py").write_text(INVENTORY)
    done = deploys("fleet.py", "odd-1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: odd-1: first_boot is no FirstBoot(...)\n"


def test_answers_are_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "ks.json"
    write_answers(HOSTS["root"], Kickstart(), file)
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError, match="File exists"):
        write_answers(HOSTS["root"], Kickstart(), file)


def test_answers_for_people_are_json() -> None:
    assert json.loads(answers(HOSTS["root"], Kickstart())) == kickstart(HOSTS["root"], Kickstart())
