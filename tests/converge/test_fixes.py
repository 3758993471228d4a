"""The fixes for on call, each by the command of its docstring, on a host that has the trouble."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.converge.conftest import Done, converge, program, run
from tests.lab.settings import state_dir

pytestmark = pytest.mark.lab

NAME = "fix-1"
TEXT = """
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from inventories._fleet import fleet, host
hosts = fleet(host("fix-1", Firewall(rules=[Rule(name="ssh", ports=[22])]), guard_seconds=12), connector="lab")
"""
WHY = ["--data", "why=ticket 4711"]


@pytest.fixture(scope="module")
def fleet(lab, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("fix") / "fix.py"
    path.write_text(TEXT)
    done = converge(inventory=str(path))
    assert done.status == 0, done.all
    return str(path)


@pytest.fixture
def fix(fleet):
    def command(name: str, *data: str, options: tuple[str, ...] = ("-y",)) -> Done:
        words = [word for pair in data for word in ("--data", pair)]
        return run(program("pyinfra"), fleet, f"deploys/fixes/{name}.py", *options, *WHY, *words)

    return command


def test_a_fix_needs_its_reason(fleet) -> None:
    done = run(program("pyinfra"), fleet, "deploys/fixes/clear_tdnf_lock.py", "-y")
    assert done.status == 1
    assert "a fix needs its reason" in done.err


def test_the_next_converge_tells_what_was_done(fix, fleet, on) -> None:
    assert fix("clear_tdnf_lock").status == 0
    told = converge(inventory=fleet)
    assert told.line(f"{NAME}: ok; "), told.all
    assert "since the last run: FIX: cleared the lock of tdnf at 20" in told.err
    assert "(why: ticket 4711; commit " in told.err
    assert "since the last run" not in converge(inventory=fleet).err
    assert len(on(NAME, "ls /var/lib/photon-fleet/records/seen").split()) == 1


def test_a_unit_is_restarted_and_proved(fix, on) -> None:
    before = on(NAME, "systemctl show -p MainPID --value sshd.service")
    done = fix("restart_unit", "unit=sshd.service")
    assert done.line(f"{NAME}: done; "), done.all
    assert on(NAME, "systemctl show -p MainPID --value sshd.service") != before
    on(NAME, "printf '[Service]\\nExecStart=/bin/sh -c \"echo these are my last words; exit 3\"\\n' "
             "> /etc/systemd/system/broken.service; systemctl daemon-reload")  # fmt: skip
    done = fix("restart_unit", "unit=broken.service")
    assert done.line(f"{NAME}: REVERTED; ") or done.line(f"{NAME}: FAILED; "), done.all
    assert "these are my last words" in done.err
    assert "there is" in (missing := fix("restart_unit", "unit=nothere.service")).err or "not-found" in missing.err
    assert "flushes Docker's rules" in fix("restart_unit", "unit=iptables.service").err


def test_a_full_disk_is_told_and_freed(fix, on) -> None:
    on(NAME, "mkdir -p /var/cache/tdnf/x && head -c 5000000 /dev/zero > /var/cache/tdnf/x/rpm")
    plan = fix("free_disk", options=("--dry",))
    assert plan.status == 0, plan.all
    assert "tdnf: about 5 MiB to free" in plan.err
    assert on(NAME, "stat -c %s /var/cache/tdnf/x/rpm") == "5000000\n"
    assert fix("free_disk", "journal=4M").status == 0
    assert on(NAME, "ls /var/cache/tdnf") == ""
    assert "no size such as 200M" in fix("free_disk", "journal=lots").err
    assert "the parts are journal, tdnf, images" in fix("free_disk", "parts=photos").err


def raw(on) -> str:
    return on(NAME, "iptables -t raw -S | grep DROP || true")


def test_an_address_is_blocked_for_a_time_that_ends_by_itself(fix, fleet, on) -> None:
    done = fix("block", "address=203.0.113.7", "minutes=10")
    assert done.status == 0, done.all
    assert raw(on) == "-A PHOTON-FLEET-BLOCK -s 203.0.113.7/32 -j DROP\n"
    # A converge neither ends it nor hides it.
    told = converge(inventory=fleet)
    assert told.line(f"{NAME}: ok; "), told.all
    assert "FIX: blocked 203.0.113.7/32 for 10 minutes" in told.err
    assert raw(on)
    # The timer's own command, without the ten minutes.
    timer = on(NAME, "systemctl list-units --all --plain --no-legend 'photon-fleet-block-*.timer'").split()[0]
    on(NAME, f"systemctl start {timer.removesuffix('.timer')}.service; sleep 0.5")
    assert raw(on) == ""
    assert fix("block", "address=2001:db8::/64", "minutes=10").status == 0
    assert "2001:db8::/64" in on(NAME, "ip6tables -t raw -S")
    assert fix("block", "address=2001:db8::/64", "unblock=true").status == 0
    assert "2001:db8::/64" not in on(NAME, "ip6tables -t raw -S")


def test_our_own_address_and_the_whole_internet_are_not_blocked(fix, on) -> None:
    ours = on(NAME, "echo $SSH_CONNECTION").split()[0]
    done = fix("block", f"address={ours}")
    assert done.status == 1
    assert f"refused: this run is connected from {ours}" in done.err
    assert "too much to block" in fix("block", "address=0.0.0.0/0").err
    assert raw(on) == ""


def test_a_lock_is_cleared_only_when_nobody_holds_it(fix, on) -> None:
    path = "/var/run/.tdnf-instance-lockfile"
    on(NAME, f"touch {path}")
    assert fix("clear_tdnf_lock").status == 0
    assert on(NAME, f"test -e {path} || echo gone") == "gone\n"
    hold = f"import fcntl,time; f=open('{path}','w'); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(60)"
    on(NAME, f'systemd-run --quiet --unit=holder python3 -c "{hold}"; sleep 1')
    done = fix("clear_tdnf_lock")
    on(NAME, "systemctl stop holder")
    assert done.status == 1
    assert "the packages of this host are being changed by process" in done.err
    assert "lockf" in done.err


def test_a_leaked_key_is_replaced_everywhere(fix, on, tmp_path) -> None:
    for name in ("leaked", "fresh"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", tmp_path / name], check=True)
    leaked, fresh = ((tmp_path / f"{name}.pub").read_text().strip() for name in ("leaked", "fresh"))
    on(NAME, f"useradd -m ann; mkdir -p /home/ann/.ssh; echo 'no-pty {leaked}' > /home/ann/.ssh/authorized_keys; "
             f"chown -R ann /home/ann; echo '{leaked}' >> /root/.ssh/authorized_keys")  # fmt: skip
    data = (f"old={tmp_path / 'leaked.pub'}", f"new={tmp_path / 'fresh.pub'}")
    done = fix("rotate_key", *data)
    assert done.line(f"{NAME}: done; "), done.all
    found = on(NAME, "cat /home/ann/.ssh/authorized_keys /root/.ssh/authorized_keys")
    assert leaked not in found
    assert f"no-pty {fresh}" in found
    assert found.count(fresh) == 2
    assert "this is no public key" in fix("rotate_key", f"old={tmp_path / 'leaked'}", data[1]).err


def test_the_key_of_the_run_itself_is_replaced_with_the_next_one_proved(fix, on, tmp_path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "next", "-f", tmp_path / "next"], check=True)
    ours = state_dir() / "id.pub"
    before = on(NAME, "cat /root/.ssh/authorized_keys")
    data = (f"old={ours}", f"new={tmp_path / 'next.pub'}")
    undone = fix("rotate_key", *data)
    assert undone.line(f"{NAME}: REVERTED; "), undone.all
    assert on(NAME, "cat /root/.ssh/authorized_keys") == before
    done = fix("rotate_key", *data, f"ssh_next_key={tmp_path / 'next'}")
    assert done.line(f"{NAME}: done; "), done.all
    back = fix("rotate_key", f"old={tmp_path / 'next.pub'}", f"new={ours}", f"ssh_key={tmp_path / 'next'}",
               f"ssh_next_key={state_dir() / 'id'}")  # fmt: skip
    assert back.line(f"{NAME}: done; "), back.all


def test_a_diagnosis_is_collected_without_secrets(fix, on, tmp_path) -> None:
    on(NAME, "logger -p err 'database password=hunter2 refused'; sleep 0.5")
    done = fix("diagnose", f"to={tmp_path / 'out'}")
    assert done.status == 0, done.all
    (path,) = (tmp_path / "out").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert "===== firewall" in text
    assert ":INPUT DROP" in text
    assert "database password=(removed) refused" in text
    assert "hunter2" not in text
    assert Path(path).name.startswith(f"{NAME}-20")
