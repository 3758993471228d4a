"""Updates by hand, the way back by tdnf's history, repairs and reboots: each by the command of its docstring."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.converge.conftest import Done, changes, converge, program, run

pytestmark = pytest.mark.lab

NAME = "upd-1"
TEXT = """
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.update import Drain, Update
from deploys.policies.update_slot import SlotFile
from deploys.policies.update_window import Window
from inventories._fleet import fleet, host
from inventories._lab import lab_key

hosts = fleet(
    host(
        "upd-1",
        Packages(
            keys=[SigningKey(name="photon-lab", **lab_key())],
            repositories=[
                Repository(id=name, url=f"http://packages.lab/{name}", key="photon-lab")
                for name in ("photon", "photon-updates")
            ],
            exact={"jq": "1.7.1"},
        ),
        Update(
            minversions={"openssl": "3.0.13"},
            slot=SlotFile(path="SLOTS", group="upd"),
            drain=Drain(nfs_clients=True, seconds=10),
        ),
    ),
    connector="lab",
)
"""


@pytest.fixture(scope="module")
def fleet(lab, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("update") / "update.py"
    path.write_text(TEXT.replace("SLOTS", str(path.with_name("slots.json"))))
    done = converge(inventory=str(path))
    assert done.status == 0, done.all
    run("ssh", "-F", lab.ssh_config(), NAME, "tdnf -q -y install tree-2.1.0")
    return str(path)


@pytest.fixture
def fix(fleet):
    def command(name: str, *data: str, options: tuple[str, ...] = ("-y", "--json")) -> Done:
        words = [word for pair in ("why=ticket 4712", *data) for word in ("--data", pair)]
        return run(program("pyinfra"), fleet, f"deploys/fixes/{name}.py", *options, *words)

    return command


@pytest.fixture
def version(on):
    return lambda name: " ".join(sorted(on(NAME, f"rpm -q --qf '%{{VERSION}} ' {name}", check=False).split()))


RECORDS = 2
"""Changes of a fix that changes nothing: it takes note of the record of the one before, and leaves its own."""


def test_only_what_is_severe(fix, version) -> None:
    asked = fix("update", "security=true", "score=7.0", options=("--dry",))
    assert "upgrade openssl 3.0.16-1.ph5 (installed: 3.0.13-1.ph5)" in asked.err, asked.all
    assert "curl" not in asked.err
    done = fix("update", "security=true", "score=7.0")
    assert done.status == 0, done.all
    assert done.err.count("upgrade openssl 3.0.16-1.ph5 ") == 1
    assert (version("openssl"), version("openssl-libs"), version("curl")) == ("3.0.16", "3.0.16", "8.7.1")
    again = fix("update", "security=true", "score=7.0")
    assert (again.status, changes(again)["success"]) == (0, RECORDS), again.all
    assert "score=high: a number such as 7.5" in fix("update", "score=high").err


def test_what_the_packages_policy_wants_exactly_is_left_alone(fix, version) -> None:
    assert fix("update", "packages=jq").status == 0
    assert version("jq") == "1.7.1"


def test_downloaded_ahead_of_time(fix, version, on) -> None:
    assert fix("update", "packages=curl,curl-libs", "download=true").status == 0
    assert version("curl") == "8.7.1"
    assert "curl-8.12.0-1.ph5.x86_64.rpm" in on(NAME, "find /var/cache/tdnf -name '*.rpm'")
    again = fix("update", "packages=curl,curl-libs", "download=true")
    assert (again.status, changes(again)["success"]) == (0, RECORDS), again.all


def test_updated_by_name_and_back_to_a_transaction(fix, version, on) -> None:
    before = int(on(NAME, "tdnf history | tail -n 1").split()[0])
    assert fix("update", "packages=curl,curl-libs").status == 0
    assert (version("curl"), version("curl-libs"), version("tree")) == ("8.12.0", "8.12.0", "2.1.0")
    again = fix("update", "packages=curl,curl-libs")
    assert (again.status, changes(again)["success"]) == (0, RECORDS), again.all

    asked = fix("roll_back", f"to={before}", options=("--dry",))
    assert f"going back to {before}: downgrade curl 8.7.1-1.ph5" in asked.err, asked.all
    assert version("curl") == "8.12.0"
    done = fix("roll_back", f"to={before}")
    assert done.status == 0, done.all
    assert (version("curl"), version("curl-libs")) == ("8.7.1", "8.7.1")
    again = fix("roll_back", f"to={before}")
    assert (again.status, changes(again)["success"]) == (0, RECORDS), again.all
    assert version("curl") == "8.7.1"
    assert "tdnf's history has no transaction 999" in fix("roll_back", "to=999").err


def test_back_to_before_the_last_update_without_repositories_and_without_tdnf(fix, version, on) -> None:
    before = on(NAME, "rpm -qa | sort")
    assert fix("update", "packages=curl,curl-libs").status == 0
    assert version("curl") == "8.12.0"
    on(NAME, "mv /usr/bin/tdnf /usr/bin/tdnf.away")
    asked = fix("roll_back", options=("--dry",))
    done = fix("roll_back")
    again = fix("roll_back")
    on(NAME, "mv /usr/bin/tdnf.away /usr/bin/tdnf")
    assert ": curl 0:8.7.1-1.ph5" in asked.err, asked.all
    assert done.status == 0, done.all
    assert (again.status, changes(again)["success"]) == (0, RECORDS), again.all
    assert on(NAME, "rpm -qa | sort") == before


def test_a_way_back_that_was_cut_short_is_gone_again(fix, version, on) -> None:
    assert fix("update", "packages=tree").status == 0
    # As a transaction leaves it that was killed: both versions, and a file of neither.
    on(NAME, "rpm -i --justdb --nodeps --force /var/lib/photon-fleet/update/point/old/tree-2.1.0-*.rpm; "
             "echo broken > /usr/bin/tree")  # fmt: skip
    assert version("tree") == "2.1.0 2.1.1"
    done = fix("roll_back")
    assert done.status == 0, done.all
    assert (version("tree"), on(NAME, "tree"), on(NAME, "rpm -V tree")) == ("2.1.0", "tree 2.1.0\n", "")


def test_a_host_that_could_not_go_back_is_not_updated(fix, version, on) -> None:
    on(NAME, "tdnf -q clean all; rm -rf /var/lib/photon-fleet/update")
    assert "there is no point on this host that it could go back to" in fix("roll_back").err
    on(NAME, "sed -i s/enabled=1/enabled=0/ /etc/yum.repos.d/photon.repo")
    refused = fix("update", "packages=curl,curl-libs")
    assert refused.status == 1
    assert "this host could not go back: no signed package file is to be had of curl-8.7.1-1.ph5.x86_64 curl-libs-" in (
        refused.err
    ), refused.err
    assert "NOT CHANGED: the change to update" in refused.err
    assert "REVERTED" not in refused.err
    assert version("curl") == "8.7.1"
    done = fix("update", "packages=curl,curl-libs", "no_way_back=true")
    on(
        NAME,
        "sed -i s/enabled=0/enabled=1/ /etc/yum.repos.d/photon.repo; tdnf -q -y install curl-8.7.1 curl-libs-8.7.1",
    )
    assert done.status == 0, done.all


def test_a_version_that_is_gone_is_said_before_anything_is_done(fix, version, on) -> None:
    before = int(on(NAME, "tdnf history | tail -n 1").split()[0])
    assert fix("update", "packages=curl,curl-libs").status == 0
    on(NAME, "sed -i s/enabled=1/enabled=0/ /etc/yum.repos.d/photon.repo")
    done = fix("roll_back", f"to={before}")
    on(NAME, "sed -i s/enabled=0/enabled=1/ /etc/yum.repos.d/photon.repo")
    assert done.status == 1
    assert f"this host cannot go back to transaction {before}: " in done.err, done.err
    assert "in no repository any more" in done.err
    assert version("curl") == "8.12.0"


@pytest.mark.parametrize(
    ("url", "more", "said"),
    [
        ("http://127.0.0.1:9", "", "repository 'bad' could not be read"),
        ("http://127.0.0.1:9", "skip_if_unavailable=1", "repository 'bad' could not be read"),
        ("http://packages.lab/portal", "", "repository 'bad' could not be read: No data available"),
        ("http://packages.lab/unsigned", "", "package tree-2.2.0-1.ph5.x86_64 does not verify: no signature"),
        ("http://packages.lab/stranger", "", "RPM is signed but failed to match with known keys"),
    ],
    ids=["dead", "dead-and-skipped", "web-page", "unsigned", "stranger"],
)
def test_a_repository_that_is_not_in_order(fix, version, on, url: str, more: str, said: str) -> None:
    lines = ["[bad]", "name=bad", f"baseurl={url}", "enabled=1", "gpgcheck=1", "priority=1", more]
    lines.append("gpgkey=file:///etc/pki/rpm-gpg/photon-lab")
    on(NAME, "printf '%s\\n' " + " ".join(map(shlex.quote, lines)) + " > /etc/yum.repos.d/bad.repo")
    before = on(NAME, "rpm -qa | sort")
    done = fix("update", "packages=tree")
    on(NAME, "rm /etc/yum.repos.d/bad.repo")
    assert done.status == 1, done.all
    assert said in done.err, done.err
    assert on(NAME, "rpm -qa | sort") == before


def test_a_full_disk_changes_nothing(fix, on) -> None:
    before = on(NAME, "rpm -qa | sort")
    on(NAME, "tdnf -q clean all; mount -t tmpfs -o size=16k none /var/cache/tdnf")
    done = fix("update", "packages=tree")
    on(NAME, "umount /var/cache/tdnf")
    assert done.status == 1, done.all
    assert "could not be read" in done.err or "No space left" in done.err, done.err
    assert on(NAME, "rpm -qa | sort") == before


def test_what_an_interrupted_transaction_leaves_is_named_and_finished(fix, version, on) -> None:
    on(NAME, "f=$(mktemp -d) && tdnf -y install --downloadonly --downloaddir=$f tree-2.1.1 >/dev/null && "
             "rpm -i --justdb --nodeps --force $f/tree-2.1.1-*.rpm")  # fmt: skip
    assert version("tree") == "2.1.0 2.1.1"
    done = fix("update")
    assert done.status == 1
    assert "two versions are installed of tree: a transaction was interrupted" in done.err
    done = fix("repair_packages")
    assert done.status == 0, done.all
    assert (version("tree"), on(NAME, "tree")) == ("2.1.1", "tree 2.1.1\n")
    again = fix("repair_packages")
    assert (again.status, changes(again)["success"]) == (0, RECORDS), again.all


def test_outside_its_windows_a_host_is_left_alone(fix, fleet, on, tmp_path) -> None:
    day = f"{datetime.now(UTC) + timedelta(days=3):%a}".lower()
    window = f'windows=[Window(name="night", days=["{day}"], start="02:00", hours=1, zone="UTC")]'
    shut = tmp_path / "shut.py"
    shut.write_text(Path(fleet).read_text().replace("Update(", f"Update({window}, "))
    words = ("deploys/fixes/update.py", "-y", "--data", "why=test", "--data", "packages=tree")
    records = "find /var/lib/photon-fleet/records -type f | sort"
    before = on(NAME, records, check=False)
    done = run(program("pyinfra"), str(shut), *words)
    assert done.status == 1, done.all
    assert "refused: no window is open; the next moment is" in done.err
    assert "02:00 (UTC). --data now=true does it all the same" in done.err
    assert on(NAME, records, check=False) == before
    done = run(program("pyinfra"), str(shut), *words, "--data", "now=true")
    assert done.status == 0, done.all
    assert "not kept to, as you asked: no window is open" in done.err


def held(fleet: str) -> str:
    return Path(fleet).with_name("slots.json").read_text()


def test_a_reboot_is_proved_by_another_boot(fix, fleet, on) -> None:
    before = on(NAME, "cat /proc/sys/kernel/random/boot_id")
    assert "no reboot is due" in fix("reboot", "if_due=true", options=("-y", "-v")).all
    assert on(NAME, "cat /proc/sys/kernel/random/boot_id") == before
    done = fix("reboot")
    assert done.line(f"{NAME}: done; "), done.all
    assert on(NAME, "cat /proc/sys/kernel/random/boot_id") != before
    assert on(NAME, "ls /run/nologin 2>/dev/null", check=False) == ""
    assert held(fleet) == "{}\n"


def test_a_host_that_does_not_drain_is_not_rebooted_and_gives_the_slot_back(fix, fleet, on) -> None:
    # A stand-in for an NFS client: what counts is a connection to the server's port.
    serve = "import socket,time; s=socket.create_server(('', 2049)); time.sleep(25)"
    on(NAME, f"systemd-run -q --unit=serve python3 -c {shlex.quote(serve)}; sleep 1")
    on(NAME, "systemd-run -q --unit=visit sh -c 'exec 3<>/dev/tcp/127.0.0.1/2049; sleep 25'; sleep 1")
    before = on(NAME, "cat /proc/sys/kernel/random/boot_id")
    done = fix("reboot")
    on(NAME, "systemctl stop visit.service serve.service", check=False)
    assert done.status == 1, done.all
    assert "not drained within 10 s: NFS client 127.0.0.1:" in done.err, done.err
    assert on(NAME, "cat /proc/sys/kernel/random/boot_id") == before
    assert held(fleet) == "{}\n"


def test_a_host_that_does_not_come_back_is_told_and_keeps_the_slot(fix, fleet, on, lab) -> None:
    Path(fleet).with_name("slots.json").write_text('{"upd": {"upd-9": "by ann: ticket 1"}}')
    before = on(NAME, "cat /proc/sys/kernel/random/boot_id")
    done = fix("reboot")
    assert "the reboot slot of group upd is held by upd-9 (by ann: ticket 1). Run again" in done.err, done.all
    assert on(NAME, "cat /proc/sys/kernel/random/boot_id") == before
    Path(fleet).with_name("slots.json").write_text("{}")

    on(
        NAME,
        "printf '[Service]\\nExecStart=/bin/false\\n' > /etc/systemd/system/sshd.service; systemctl daemon-reload",
    )
    done = fix("reboot", "seconds=15")
    assert done.status == 1
    assert "the host is not back 15 s after its reboot was asked for: " in done.err, done.err
    assert "ticket 4712" in json.loads(held(fleet))["upd"][NAME]
    lab.reset(NAME)
