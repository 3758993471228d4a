"""The services policy on a lab host: own units, drop-ins for others', and what systemd itself refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.converge.alone import Alone

pytestmark = pytest.mark.lab

POLICY = """Services(
    units=[
        Service(unit="beat.timer", enabled=True, running=True),
        Service(unit="steady.service", enabled=True, running=True),
        Service(unit="debug-shell.service", masked=True),
        Service(unit="systemd-timesyncd.service", enabled=False, running=False),
    ],
    files=[
        UnitFile(name="beat.service", content="[Service]\\nType=oneshot\\nExecStart=/bin/true\\n"),
        UnitFile(name="beat.timer", content="[Timer]\\nOnCalendar=daily\\n[Install]\\nWantedBy=timers.target\\n"),
        UnitFile(
            name="steady.service",
            content="[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n",
        ),
    ],
    drop_ins=[DropIn(unit="sshd.service", content="[Service]\\nLimitNOFILE=4096\\n"),
              DropIn(unit="serial-getty@.service", content="[Service]\\nNice=5\\n")],
)"""
SSHD = "/etc/systemd/system/sshd.service.d/50-services.conf"
STEADY = "/etc/systemd/system/steady.service"


@pytest.fixture
def services(lab, variant) -> Alone:
    imports = "from deploys.policies.services import DropIn, Service, Services, UnitFile"
    return Alone("services", POLICY, imports, variant)


def limit(on) -> str:
    return on("db-1", "grep 'open files' /proc/$(systemctl show -p MainPID --value sshd)/limits").split()[3]


def test_units_run_and_a_running_unit_has_its_drop_in(services, on) -> None:
    services.follows()
    assert limit(on) == "4096"
    assert "beat.timer" in on("db-1", "systemctl list-timers --no-pager")


def test_what_is_broken_is_named_and_mended(services, on) -> None:
    on(
        "db-1",
        f"systemctl stop steady beat.timer; systemctl disable beat.timer; systemctl unmask debug-shell; "
        f"systemctl enable --now systemd-timesyncd; chmod 600 {STEADY}; sed -i s/4096/5000/ {SSHD}",
    )
    assert services.broken() == {
        "services.unit[steady.service].running", "services.unit[beat.timer].running",
        "services.unit[beat.timer].enabled", "services.unit[debug-shell.service].masked",
        "services.unit[systemd-timesyncd.service].enabled", "services.unit[systemd-timesyncd.service].running",
        "services.file[steady.service].mode", "services.file[sshd.service.d/50-services.conf]",
    }  # fmt: skip
    assert services.mended() == 5


def test_a_run_that_was_killed_before_the_reload_or_the_restart_is_made_good(services, on) -> None:
    services.ready()
    on("db-1", f"sleep 1; touch {STEADY} {SSHD}")
    named = {
        f"services.file[{place}].{what}"
        for place in ("steady.service", "sshd.service.d/50-services.conf")
        for what in ("loaded", "in-force")
    }
    assert services.broken() == named
    assert services.mended() == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("LimitNOFILE", "LimitNOFLE", "sshd.service.d/50-services.conf:2: Unknown key 'LimitNOFLE'"),
        ("Type=oneshot", "Typ=oneshot", "beat.service:2: Unknown key 'Typ'"),
        ("OnCalendar=daily", "OnCalendar=never", "beat.timer:2: Failed to parse calendar specification"),
        ("/bin/sleep", "/bin/slep", "Command /bin/slep is not executable"),
        ('DropIn(unit="sshd.service"', 'DropIn(unit="ftpd.service"', "there is no unit ftpd.service on this host"),
    ],
)
def test_what_systemd_does_not_accept_is_not_put_in_place(services, on, old: str, new: str, said: str) -> None:
    read = "cd /etc/systemd/system; find . -type f | sort | xargs cat"
    before = on("db-1", read)
    assert said in replace(services, policy=POLICY.replace(old, new)).refused()
    assert on("db-1", read) == before
    assert on("db-1", "ls -d /tmp/tmp.* 2>/dev/null || true") == ""
