"""Kernel settings: what is refused, what is written, and which file decides at the next boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.docker import Docker
from deploys.policies.kernel import Kernel, Setting, boot_settings
from inventories._fleet import fleet, group, host


def examples(_: Path) -> tuple[Kernel, Kernel]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Kernel(flavour="linux-esx", settings=[Setting(key="vm.swappiness", value=10)]),
        Kernel(
            flavour="linux-rt",
            settings=[Setting(key="vm.swappiness", value=60, optional=True)],
            modules=["br_netfilter"],
            blacklist=["usb-storage"],
            arguments=["audit=1"],
        ),
    )


def test_values_are_numbers_or_words_and_kept_with_single_blanks() -> None:
    policy = Kernel(
        settings=[
            Setting(key="vm.swappiness", value=10),
            Setting(key="net.ipv4.tcp_rmem", value="4096\t131072  6291456"),
            Setting(key="net.bridge.bridge-nf-call-iptables", value=1, optional=True),
        ]
    )
    assert policy.render().splitlines()[1:] == [
        "vm.swappiness = 10", "net.ipv4.tcp_rmem = 4096 131072 6291456", "net.bridge.bridge-nf-call-iptables = 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"key": "swappiness", "value": 1}, "no name of a kernel setting"),
        ({"key": "net.ipv4.conf.*.rp_filter", "value": 1}, "no name of a kernel setting"),
        ({"key": "../../etc/passwd", "value": 1}, "no name of a kernel setting"),
        ({"key": "vm.swappiness", "value": ""}, "no value of a kernel setting"),
        ({"key": "vm.swappiness", "value": "1\nkernel.core_pattern=|/tmp/x"}, "no value of a kernel setting"),
        ({"key": "vm.swappiness", "value": True}, "value"),
    ],
)
def test_bad_settings_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Setting(**fields)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"flavour": "linux-aws"}, "flavour"),
        ({"modules": ["-r"]}, "no name of a kernel module"),
        ({"modules": ["a b"]}, "no name of a kernel module"),
        ({"modules": ["usb-storage"], "blacklist": ["usb_storage"]}, "usb_storage is also to be loaded"),
        ({"arguments": ["audit=1 quiet"]}, "no argument of the kernel"),
        (
            {"settings": [Setting(key="net.ipv4.ip_forward", value=1), Setting(key="net/ipv4/ip_forward", value=0)]},
            "are the same setting",
        ),
    ],
)
def test_bad_policies_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Kernel(**fields)


@pytest.mark.parametrize("key", ["net.ipv4.ip_forward", "net/ipv4/ip_forward", "net.ipv4.conf.all.forwarding"])
def test_forwarding_may_not_be_taken_from_docker(key: str) -> None:
    web = group("web", Kernel(settings=[Setting(key=key, value=0)]))
    with pytest.raises(InputError, match=r"web-1: kernel: settings.*docker policy of this host needs .* \[group web"):
        fleet(host("web-1", web, Docker()))


def test_forwarding_is_free_without_docker_and_on_with_it() -> None:
    assert fleet(host("x", Kernel(settings=[Setting(key="net.ipv4.ip_forward", value=0)])))
    assert fleet(host("x", Kernel(settings=[Setting(key="net.ipv4.ip_forward", value=1)]), Docker()))


FILES = """\
# /etc/sysctl.d/50-security-hardening.conf
net.ipv4.ip_forward=0
net.ipv4.conf.all.rp_filter = 1

# /etc/sysctl.d/60-photon-fleet-docker.conf
# Photon Fleet (policy: docker)
net.ipv4.ip_forward = 1
net.ipv4.tcp_rmem = 4096\t131072   6291456
-net.bridge.bridge-nf-call-iptables = 1

# /usr/lib/sysctl.d/zz-late.conf
net/ipv4/conf/*/rp_filter=2
; vm.swappiness = 5
#vm.swappiness = 6
"""


@pytest.mark.parametrize(
    ("key", "decides"),
    [
        ("net.ipv4.ip_forward", ("/etc/sysctl.d/60-photon-fleet-docker.conf", "1")),
        ("net/ipv4/ip_forward", ("/etc/sysctl.d/60-photon-fleet-docker.conf", "1")),
        ("net.ipv4.tcp_rmem", ("/etc/sysctl.d/60-photon-fleet-docker.conf", "4096 131072 6291456")),
        ("net.bridge.bridge-nf-call-iptables", ("/etc/sysctl.d/60-photon-fleet-docker.conf", "1")),
        ("net.ipv4.conf.all.rp_filter", ("/etc/sysctl.d/50-security-hardening.conf", "1")),
        ("net.ipv4.conf.eth0.rp_filter", ("/usr/lib/sysctl.d/zz-late.conf", "2")),
        ("vm.swappiness", ("", "")),
    ],
)
def test_the_last_file_decides_and_names_come_before_patterns(key: str, decides: tuple[str, str]) -> None:
    assert boot_settings(FILES, key) == decides
