"""The scripts of the first boot, run with stand-ins for the programs that they call."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploys.vsphere.seed.cloud_init import user_data_of
from deploys.vsphere.seed.host import NewHost
from deploys.vsphere.seed.host_keys import HostKey
from deploys.vsphere.seed.kickstart import Kickstart, kickstart
from tests.vsphere.new_hosts import ALICE, BOB, HOSTS, OPS

GOOD = {
    "hostnamectl": 'echo web-1; [ "$1" = --static ] || say hostnamectl "$@"',
    "cut": f"echo {' '.join(ALICE.split()[:2])}",
    "vmware-rpctool": 'say "$@"',
    "getent": 'echo "$2:*:20000:0:99999:7:::"',
    **{name: f'say {name} "$@"' for name in ("iptables", "tdnf")},
    **dict.fromkeys(["sshd", "systemctl", "sudo", "ip6tables", "sleep"], "true"),
}
SHELL = "/bin/sh"


def ready_script(host: NewHost, key: HostKey | None = None) -> str:
    return user_data_of(host, "id-1", key)["runcmd"][0][-1]


def run(script: str, place: Path, programs: dict[str, str]) -> tuple[int, list[str]]:
    """Runs a script that finds these programs alone; its status and what they said."""
    said = place / "said"
    for name, body in programs.items():
        file = place / name
        file.write_text(f'#!{SHELL}\nsay() {{ echo "$*" >>{said}; }}\n{body}\n')
        file.chmod(0o755)
    # The script itself adds the directories of the system's programs, which must not be found.
    script = script.replace(":/usr/sbin:/sbin", "")
    done = subprocess.run([SHELL, "-c", script], env={"PATH": str(place)}, capture_output=True, text=True, check=False)
    return done.returncode, said.read_text().splitlines() if said.exists() else []


def test_the_guest_says_its_key_and_then_that_it_is_ready(tmp_path: Path) -> None:
    assert run(ready_script(HOSTS["root"]), tmp_path, GOOD) == (
        0, [f"info-set guestinfo.fleet.hostkey {' '.join(ALICE.split()[:2])}", "info-set guestinfo.fleet.ready id-1"],
    )  # fmt: skip


def test_a_guest_without_the_first_tool_uses_the_other(tmp_path: Path) -> None:
    programs = {**GOOD, "vmware-rpctool": "exit 127", "vmtoolsd": 'say "$@"'}
    _, said = run(ready_script(HOSTS["root"]), tmp_path, programs)
    assert said[-1] == "--cmd info-set guestinfo.fleet.ready id-1"


@pytest.mark.parametrize(
    ("name", "program", "body", "sentence"),
    [
        ("root", "hostnamectl", '[ "$1" = --static ] && echo other', "the host does not take its name"),
        ("root", "getent", "echo root:x:0:0:90:7:::", "the password of root has expired, so its keys are refused"),
        ("root", "getent", "exit 2", "the password of root has expired, so its keys are refused"),
        ("root", "sshd", "exit 255", "sshd does not understand its configuration"),
        ("root", "systemctl", "exit 3", "sshd does not run"),
        ("root", "cut", "exit 1", "the host has no SSH key of the type ed25519"),
        ("a user", "sudo", "", "sudo cannot be installed, and ops needs it: do the repositories answer?"),
    ],
)
def test_a_guest_that_cannot_be_logged_in_to_says_why(name, program, body, sentence, tmp_path: Path) -> None:
    programs = {key: value for key, value in {**GOOD, program: body}.items() if value}
    status, said = run(ready_script(HOSTS[name]), tmp_path, programs)
    assert (status, said[-1]) == (1, f"info-set guestinfo.fleet.failed {sentence}")
    assert said.count("tdnf -y install sudo") == (10 if program == "sudo" else 0)


def test_sudo_is_installed_where_it_lacks(tmp_path: Path) -> None:
    programs = {key: value for key, value in GOOD.items() if key != "sudo"}
    programs["tdnf"] = f'say tdnf "$@"; ln -s {tmp_path}/sshd {tmp_path}/sudo'
    programs["ln"] = '/bin/ln "$@"'
    status, said = run(ready_script(HOSTS["a user"]), tmp_path, programs)
    assert (status, said.count("tdnf -y install sudo"), said[-1]) == (0, 1, "info-set guestinfo.fleet.ready id-1")


def test_the_key_that_was_given_must_be_the_hosts(tmp_path: Path) -> None:
    host, key = HOSTS["root, key made here"], HostKey("", " ".join(ALICE.split()[:2]))
    assert run(ready_script(host, key), tmp_path, GOOD) == (0, ["info-set guestinfo.fleet.ready id-1"])
    other = {**GOOD, "cut": f"echo {' '.join(BOB.split()[:2])}"}
    status, said = run(ready_script(host, key), tmp_path, other)
    assert (status, said[-1]) == (1, "info-set guestinfo.fleet.failed the host has another SSH key than it was given")


def test_another_port_is_opened_for_the_first_login(tmp_path: Path) -> None:
    _, said = run(ready_script(HOSTS["another port"]), tmp_path, GOOD)
    assert "iptables -w -I INPUT -p tcp --dport 2222 -j ACCEPT" in said


def scratch(script: str, root: Path) -> None:
    """Run a script that is meant for a new system, on copies of what it changes below `root`."""
    for path in ("/etc/", "/root/", "/home/"):
        script = script.replace(f" {path}", f" {root}{path}").replace(f">{path}", f">{root}{path}")
    (root / "etc/ssh").mkdir(parents=True, exist_ok=True)
    (root / "etc/ssh/sshd_config").write_text("PermitRootLogin no\n")
    stubs = "".join(
        f'{name}() {{ echo "{name} $*" >>{root}/said; }}\n'
        for name in ("usermod", "chage", "groupadd", "useradd", "chown", "systemctl")
    )
    subprocess.run(
        [SHELL, "-c", f"{stubs}getent() {{ false; }}\nid() {{ false; }}\n{script}"], check=True, capture_output=True
    )


def test_the_images_own_sshd_lets_keys_in_and_no_passwords(tmp_path: Path) -> None:
    scratch(user_data_of(HOSTS["nothing but a key"], "id", None)["bootcmd"][0][-1], tmp_path)
    config = tmp_path / "etc/ssh/sshd_config"
    assert config.read_text() == "PermitRootLogin prohibit-password\nPasswordAuthentication no\nPermitRootLogin no\n"
    assert config.stat().st_mode & 0o777 == 0o600
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0] == "usermod -p * root"
    assert said[1].endswith("-m 0 -M 99999 -I -1 -E -1 root")


@pytest.mark.parametrize("name", HOSTS)
def test_the_installed_system_has_the_files_of_the_policies(name: str, tmp_path: Path) -> None:
    host = HOSTS[name]
    scratch("\n".join(kickstart(host, Kickstart())["postinstall"]), tmp_path)
    home = tmp_path / ("root" if host.user == "root" else "home/ops")
    wanted = {home / ".ssh/authorized_keys": ("".join(f"{key}\n" for key in host.login_keys()), 0o600)}
    if host.ssh:
        wanted[tmp_path / "etc/ssh/sshd_config"] = (host.ssh.render(), 0o600)
    if host.user == "ops":
        wanted[tmp_path / "etc/sudoers.d/photon-fleet"] = (OPS.sudoers(), 0o440)
    for file, text in host.network.files().items():
        wanted[tmp_path / "etc/systemd/network" / file] = (text, 0o644)
    for path, (text, mode) in wanted.items():
        assert (path.read_text().replace(str(tmp_path), ""), path.stat().st_mode & 0o777) == (text, mode), path
    assert (home / ".ssh").stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.rglob("*.new"))
    said = (tmp_path / "said").read_text().splitlines()
    assert "systemctl enable sshd.service" in said
    if not host.ssh:
        first = (tmp_path / "etc/ssh/sshd_config").read_text().splitlines()[0]
        assert first == ("PermitRootLogin prohibit-password" if host.user == "root" else "PasswordAuthentication no")
    if host.user == "ops":
        assert "groupadd -g 1500 operators" in said
        assert "useradd -m -g operators -s /bin/bash -c Ünïcode 🐙 it's -G wheel -u 1501 ops" in said
