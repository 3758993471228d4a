"""The time policy on a lab host, with the real timesyncd: applied twice, broken by hand, and refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.converge.alone import Alone

pytestmark = pytest.mark.lab

POLICY = 'Time(servers=["10.0.0.1", "ntp.example"], fallback_servers=["10.0.0.2"], zone="Europe/Berlin")'
DROP_INS = "/etc/systemd/timesyncd.conf.d"
OURS = f"{DROP_INS}/90-photon-fleet.conf"


@pytest.fixture
def time(lab, variant, on) -> Alone:
    # Five restarts within ten seconds are too many for systemd, and these tests are quick.
    on("db-1", "systemctl reset-failed systemd-timesyncd", check=False)
    return Alone("time", POLICY, "from deploys.policies.time import Time", variant)


def test_the_daemon_that_runs_asks_the_policys_servers(time, on) -> None:
    time.follows()
    assert on("db-1", "timedatectl show-timesync -p SystemNTPServers --value").split() == ["10.0.0.1", "ntp.example"]
    assert on("db-1", "date +%Z").strip() in {"CET", "CEST"}


BREAKS = [
    ("systemctl disable systemd-timesyncd", "time.boot"),
    ("ln -sfn /usr/share/zoneinfo/Asia/Tokyo /etc/localtime", "time.zone"),
    (f"sed -i /10.0.0.2/d {OURS}; systemctl restart systemd-timesyncd", "time.fallback_servers"),
    (f"chmod 600 {OURS}", "time.file"),
]


def test_all_that_is_broken_is_named_and_mended_at_once(time, on) -> None:
    on("db-1", "; ".join(deed for deed, _ in BREAKS))
    assert time.broken() == {check for _, check in BREAKS}
    assert time.mended() == 3
    on("db-1", "systemctl stop systemd-timesyncd; rm /etc/localtime")
    assert time.broken() == {"time.running", "time.zone"}
    assert time.mended() == 2


def test_a_server_that_somebody_adds_in_another_file_is_named(time, on) -> None:
    """The file is not ours to remove: the run fails, and its proof says what the daemon asks."""
    on("db-1", f"printf '[Time]\\nNTP=192.0.2.9\\n' > {DROP_INS}/99.conf; chmod 644 {DROP_INS}/99.conf")
    on("db-1", "systemctl restart systemd-timesyncd")
    try:
        assert "['10.0.0.1', 'ntp.example', '192.0.2.9']" in time.refused()
    finally:
        on("db-1", f"rm {DROP_INS}/99.conf; systemctl restart systemd-timesyncd")


def test_without_fallback_servers_none_of_the_distribution_is_asked(time, on) -> None:
    replace(time, policy='Time(servers=["10.0.0.1"])').ready()
    assert on("db-1", "timedatectl show-timesync -p FallbackNTPServers --value").strip() == "10.0.0.1"
    time.ready()


def test_a_run_that_was_killed_before_the_restart_is_made_good(time, on) -> None:
    on("db-1", f"sleep 1; touch {OURS}")
    assert time.mended() == 1


def test_another_daemon_is_refused_and_replaced_only_when_the_policy_says_so(time, on) -> None:
    unit = "/etc/systemd/system/chronyd.service"
    text = "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"
    on("db-1", f"printf '{text}' > {unit}; systemctl enable --now chronyd.service")
    try:
        assert "chronyd.service keeps the clock of this host" in time.refused()
        assert time.broken() == {"time.alone[chronyd]"}
        replace(time, policy=POLICY.replace("zone=", "replace=True, zone=")).follows()
        state = on("db-1", "systemctl is-active chronyd; systemctl is-enabled chronyd", check=False)
        assert state.split() == ["inactive", "disabled"]
    finally:
        on("db-1", f"systemctl disable --now chronyd.service; rm {unit}; systemctl daemon-reload")


def test_a_zone_that_the_host_does_not_have_is_refused(time, on) -> None:
    on("db-1", "mv /usr/share/zoneinfo/Asia/Tokyo /root/")
    try:
        said = replace(time, policy=POLICY.replace("Europe/Berlin", "Asia/Tokyo")).refused()
        assert "there is no time zone 'Asia/Tokyo' in /usr/share/zoneinfo of this host" in said
        assert on("db-1", "readlink /etc/localtime").strip() == "/usr/share/zoneinfo/Europe/Berlin"
    finally:
        on("db-1", "mv /root/Tokyo /usr/share/zoneinfo/Asia/")
