"""The kernel policy on a lab host: its network settings are its own, all else is the machine's and read-only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.converge.alone import Alone
from tests.converge.conftest import converge

pytestmark = pytest.mark.lab

POLICY = """Kernel(
    flavour="linux",
    settings=[
        Setting(key="net.ipv4.tcp_rmem", value="4096 100000  5000000"),
        Setting(key="net.ipv4.ip_forward", value=0),
        Setting(key="net.bridge.no-such", value=1, optional=True),
    ],
    modules=["dummy"], blacklist=["usb-storage"],
)"""
PREPARE = """
mkdir -p /lib/modules/$(uname -r)
echo kernel/drivers/net/dummy.ko > /lib/modules/$(uname -r)/modules.builtin
ln -sfn linux-6.1.111-1.ph5.cfg /boot/photon.cfg
"""
FILE = "/etc/sysctl.d/90-photon-fleet.conf"


@pytest.fixture
def kernel(lab, variant, on) -> Alone:
    """A host that has one module built in, as the lab's kernel has none, and Photon's link to the next kernel."""
    lab.boot("db-1")
    on("db-1", PREPARE)
    imports = "from deploys.policies.kernel import Kernel, Setting"
    return Alone("packages,kernel", POLICY, imports, variant)


def test_settings_hold_now_and_after_a_reboot(kernel, on) -> None:
    kernel.follows()
    assert on("db-1", "cat /proc/sys/net/ipv4/tcp_rmem").split() == ["4096", "100000", "5000000"]
    assert "linux" in on("db-1", "rpm -q linux")
    on("db-1", "systemctl restart systemd-sysctl.service")
    assert on("db-1", "cat /proc/sys/net/ipv4/tcp_rmem").split() == ["4096", "100000", "5000000"]


def test_what_is_broken_is_named_and_mended(kernel, on) -> None:
    on(
        "db-1",
        f"sysctl -w net.ipv4.ip_forward=1; sed -i /tcp_rmem/d {FILE}; rm /etc/modprobe.d/photon-fleet.conf; "
        "sed -i /dummy/d /etc/modules-load.d/photon-fleet.conf; chmod 600 /etc/modules-load.d/photon-fleet.conf",
    )
    assert kernel.broken() == {
        "kernel.setting[net.ipv4.ip_forward]", "kernel.setting[net.ipv4.tcp_rmem].boot",
        "kernel.blacklist[usb_storage]",
        "kernel.module[dummy].boot", "kernel.file[modules-load.d]", "kernel.file[modprobe.d]",
    }  # fmt: skip
    assert kernel.mended() == 4


def test_a_later_file_that_would_win_at_the_next_boot_is_named(kernel, on) -> None:
    on("db-1", "mkdir -p /run/sysctl.d; echo net.ipv4.ip_forward=1 > /run/sysctl.d/zz-late.conf")
    try:
        assert "1 by /run/sysctl.d/zz-late.conf" in kernel.refused()
    finally:
        on("db-1", "rm /run/sysctl.d/zz-late.conf")


def test_what_only_a_reboot_brings_is_said(kernel, on) -> None:
    on(
        "db-1",
        "echo 'user_cmdline=quiet audit=1' > /boot/user.cfg; ln -sfn linux-6.1.111-1.ph5-rt.cfg /boot/photon.cfg",
    )
    wanting = replace(
        kernel,
        policy=POLICY.replace('"linux"', '"linux-rt"').replace("modules=", 'arguments=["audit=1", "x=2"], modules='),
    )
    try:
        said = wanting.refused()
        assert "not true that the kernel that runs is linux-rt" in said
        assert "it was not; /boot/user.cfg has it: reboot" in said
        assert "it was not, and no file of /boot has it: add it to user_cmdline in /boot/user.cfg" in said
        assert "the next boot starts" not in said
    finally:
        on("db-1", "rm /boot/user.cfg")


def test_what_the_kernel_lacks_or_does_not_take_is_refused_and_not_kept(kernel, on) -> None:
    kernel.ready()
    before = on("db-1", f"cat {FILE}")
    lacking = replace(kernel, policy='Kernel(settings=[Setting(key="vm.no_such", value=1)])')
    assert "the kernel of this host has no setting vm.no_such" in lacking.refused()
    wrong = replace(kernel, policy='Kernel(settings=[Setting(key="net.ipv4.tcp_rmem", value="many")])')
    assert "the kernel does not take net.ipv4.tcp_rmem = many" in wrong.refused()
    missing = replace(kernel, policy=POLICY.replace('modules=["dummy"', 'modules=["no_such"'))
    assert "Module no_such not found" in missing.refused()
    assert on("db-1", f"cat {FILE}") == before


def test_a_policy_that_would_cut_docker_off_is_refused_before_any_connection(kernel, variant) -> None:
    done = converge(inventory=variant({"web-1": POLICY}, kernel.imports))
    assert done.status == 1
    assert "web-1: kernel: settings[net.ipv4.ip_forward]: the docker policy of this host needs forwarding" in done.err
    assert "Connect" not in done.err
