"""The hardening profile on a lab host: it converges, each covered rule holds, and a broken one is named."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from tests.converge.alone import Alone
from tests.converge.conftest import prove, run

pytestmark = pytest.mark.lab

# What a lab host cannot have: auditd, AIDE, a kernel of its own, and systemd-resolved.
EXCEPTED = ("000014", "000016", "000021", "000026", "000080", "000105", "000110", "000112", "000127", "000186",
            "000236")  # fmt: skip
IMPORTS = """
from datetime import date
from deploys.policies.hardening import Exemption, Hardening
"""
POLICY = f"""Hardening(exceptions=[
    Exemption(rule=f"PHTN-50-{{number}}", reason="not in the lab", until=date(2099, 1, 1)) for number in {EXCEPTED}
])"""
# Files that Photon's packages bring, as they bring them, and its mount of /tmp with the options of its next boot.
PREPARE = r"""
[ ! -e /run/prepared ] || exit 0; touch /run/prepared
printf '# deny = 3\n# silent\nunlock_time = 600\neven_deny_root\n' > /etc/security/faillock.conf
printf '# minlen = 8\n' > /etc/security/pwquality.conf
printf 'PASS_MAX_DAYS\t90\nUMASK 022\nENCRYPT_METHOD yescrypt\n' > /etc/login.defs
printf 'password required pam_pwquality.so retry=3\npassword required pam_unix.so sha512\n' > /etc/pam.d/system-password
printf 'auth required pam_unix.so\n' > /etc/pam.d/system-auth
touch /etc/ssh/ssh_host_ed25519_key.pub; chmod 644 /etc/ssh/ssh_host_ed25519_key.pub
chmod 755 /var/log; chown root:root /var/log
sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1
printf '[Mount]\nWhat=tmpfs\nWhere=/tmp\nType=tmpfs\n' > /usr/lib/systemd/system/tmp.mount; systemctl daemon-reload
mountpoint -q /tmp || mount -t tmpfs tmpfs /tmp; mount -o remount,nodev,nosuid,noexec /tmp
"""


@pytest.fixture(scope="module", autouse=True)
def _as_new_afterwards(lab):
    """A hardened host is not what the other tests expect."""
    yield
    lab.reset("db-1")


@pytest.fixture
def profile(lab, variant, on) -> Alone:
    lab.boot("db-1")
    on("db-1", PREPARE)
    names = "packages,kernel,ssh,files,services,hardening"
    return Alone(names, POLICY, IMPORTS, variant)


def report(inventory: str, *options: str):
    return run(sys.executable, "-m", "deploys", "rules", inventory, "db-1", *options)


def test_a_host_follows_the_profile(profile, on) -> None:
    profile.follows()
    done = report(profile.inventory, "--prove")
    states = [line.split()[1] for line in done.out.splitlines()]
    assert (done.status, states.count("FAILED"), states.count("excepted")) == (0, 0, len(EXCEPTED)), done.all
    assert states.count("holds") > 60
    # Profiles are read by each command over SSH, and readonly is once only.
    assert on("db-1", ". /etc/profile.d/tmout.sh; . /etc/profile.d/tmout.sh; echo $TMOUT").strip() == "900"


BREAKS = [
    ("sed -i s/^UMASK.*/UMASK\\ 022/ /etc/login.defs", "000187", {"hardening.PHTN-50-000187[UMASK]"}),
    ("sed -i /^silent/d /etc/security/faillock.conf", "000193", {"hardening.PHTN-50-000193[silent]"}),
    ("chmod 600 /etc/ssh/ssh_host_ed25519_key.pub", "000233", {"hardening.PHTN-50-000233"}),
    (
        "mkdir -p /etc/sudoers.d; echo 'x ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/x",
        "000133",
        {"hardening.PHTN-50-000133"},
    ),
    ("systemctl unmask ctrl-alt-del.target", "000222", {"services.unit[ctrl-alt-del.target].masked"}),
    ("sysctl -qw net.ipv4.conf.all.send_redirects=1", "000227", {"kernel.setting[net.ipv4.conf.all.send_redirects]"}),
    ("echo TMOUT=0 > /etc/profile.d/tmout.sh", "000093", {"files.file[/etc/profile.d/tmout.sh].content"}),
]


def test_a_broken_rule_is_named_by_its_id(profile, on) -> None:
    for deed, _, _ in BREAKS:
        on("db-1", deed)
    done = prove("--limit", "db-1", "--only", profile.name, inventory=profile.inventory)
    for _, number, checks in BREAKS:
        assert f"rules     PHTN-50-{number}" in done.out
        assert {line.split()[1] for line in done.out.splitlines() if line.startswith("    check ")} >= checks
    one = prove("--limit", "db-1", "--rule", "PHTN-50-000187", inventory=profile.inventory)
    assert (one.status, "1 failed" in one.out, "passed" in one.out) == (1, True, False), one.all
    broken = {line.split()[0] for line in report(profile.inventory, "--prove").out.splitlines() if " FAILED " in line}
    assert broken == {f"PHTN-50-{number}" for _, number, _ in BREAKS}
    on("db-1", "rm /etc/sudoers.d/x; chmod 644 /etc/ssh/ssh_host_ed25519_key.pub")
    assert profile.mended() == 5


def test_a_rule_that_nothing_proves_is_refused(profile) -> None:
    done = prove("--rule", "PHTN-50-000016", inventory=profile.inventory)
    assert (done.status, "no check of these hosts proves it" in done.all) == (2, True), done.all


def test_an_exception_that_has_ended_is_refused(profile, on) -> None:
    before = on("db-1", "sha256sum /etc/login.defs")
    done = replace(profile, policy=POLICY.replace("2099", "2020")).converge()
    assert done.status == 1
    assert "db-1: hardening: exceptions[PHTN-50-000016]: it ended on 2020-01-01 (not in the lab)" in done.all
    assert on("db-1", "sha256sum /etc/login.defs") == before
