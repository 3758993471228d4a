"""The logging policy on lab hosts: the real journald, and a real rsyslog that sends to another one."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.converge.alone import Alone

pytestmark = pytest.mark.lab

IMPORTS = "from deploys.policies.logging import Logging, Syslog"
LIMITS = "/etc/systemd/journald.conf.d/90-photon-fleet.conf"
FORWARD = "/etc/rsyslog.d/90-photon-fleet.conf"
RECEIVER = """
cat > /root/receive.conf <<'X'
module(load="imtcp")
input(type="imtcp" port="514")
action(type="omfile" file="/root/received")
X
iptables -C INPUT -p tcp --dport 514 -j ACCEPT 2>/dev/null || iptables -I INPUT -p tcp --dport 514 -j ACCEPT
systemd-run --quiet --unit=receiver rsyslogd -n -iNONE -f /root/receive.conf
"""


@pytest.fixture
def logging(lab, variant) -> Alone:
    receiver = lab.boot("edge-1").address
    policy = f'Logging(max_use="200M", retention_days=30, syslog=[Syslog(server="{receiver}", queue="50M")])'
    return Alone("packages,logging", policy, IMPORTS, variant)


def arrived(on, word: str, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if on("edge-1", f"grep -c {word} /root/received || true").strip() not in {"", "0"}:
            return True
        time.sleep(0.5)
    return False


def test_logs_arrive_also_those_of_the_time_when_the_server_was_down(logging, on) -> None:
    on("edge-1", RECEIVER)
    logging.follows()
    on("db-1", "logger first-word")
    assert arrived(on, "first-word")
    on("edge-1", "systemctl stop receiver")
    on("db-1", "for i in 1 2 3; do logger second-word; done; sleep 1; systemctl restart rsyslog; logger third-word")
    assert logging.broken() == set()
    on("edge-1", RECEIVER)
    assert arrived(on, "second-word")
    assert arrived(on, "third-word")
    assert on("edge-1", "grep third-word /root/received").split()[0].startswith("20")


def test_what_is_broken_is_named_and_mended(logging, on) -> None:
    logging.ready()
    on(
        "db-1",
        f"sed -i s/200M/300M/ {LIMITS}; systemctl restart systemd-journald; systemctl disable --now rsyslog; "
        f"sed -i s/50m/51m/ {FORWARD}; chmod 644 {FORWARD}",
    )
    assert logging.broken() == {
        "logging.SystemMaxUse", "logging.rsyslog", "logging.rsyslog.boot", "logging.syslog", "logging.rsyslog.file",
    }  # fmt: skip
    assert logging.mended() == 3
    on("db-1", f"sleep 1; touch {LIMITS} {FORWARD}")
    assert logging.broken() == {"logging.in-force", "logging.rsyslog.in-force"}
    assert logging.mended() == 2


def test_a_later_file_that_decides_is_named(logging, on) -> None:
    on("db-1", "printf '[Journal]\\nSystemMaxUse=5G\\n' > /etc/systemd/journald.conf.d/99.conf")
    try:
        assert "5G by /etc/systemd/journald.conf.d/99.conf" in logging.refused()
    finally:
        on("db-1", "rm /etc/systemd/journald.conf.d/99.conf")


def test_a_file_that_rsyslog_does_not_accept_is_not_put_in_place(logging, on) -> None:
    logging.ready()
    on(
        "db-1",
        "mv /usr/sbin/rsyslogd /usr/sbin/rsyslogd.real; printf '#!/bin/sh\\necho typo in config file; exit 1\\n' "
        "> /usr/sbin/rsyslogd; chmod 755 /usr/sbin/rsyslogd",
    )
    before = on("db-1", f"cat {FORWARD}")
    try:
        said = replace(logging, policy=logging.policy.replace("50M", "60M")).refused()
        assert "typo in config file" in said
        assert on("db-1", f"cat {FORWARD}; ls -A /etc/rsyslog.d").splitlines()[:-1] == before.splitlines()
    finally:
        on("db-1", "mv -f /usr/sbin/rsyslogd.real /usr/sbin/rsyslogd")


def test_a_server_that_left_the_policy_gets_nothing_more(logging, on) -> None:
    logging.ready()
    alone = replace(logging, policy='Logging(storage="volatile")')
    alone.follows()
    on("db-1", "logger last-word; sleep 1")
    assert not arrived(on, "last-word", 2)
    assert on("db-1", "ls /run/log/journal/*/system.journal")
    logging.follows()


def test_a_host_that_cannot_upload_its_journal_is_told_which_package_can(logging) -> None:
    uploading = replace(logging, policy='Logging(journal_server="https://logs.example:19532")')
    assert "this host cannot send its journal: install the package systemd-journal-remote" in uploading.refused()
