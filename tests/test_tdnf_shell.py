"""The shell text of the tdnf and rpm facts and operations, run by a real shell.

tdnf and rpm are stubs here that do what a test says, for the sake of what real repositories do rarely: report success
and install nothing. The real rpm reads keys.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError

from facts import _conffiles, rpm, tdnf
from facts._answer import answer, command, rows
from operations import _tdnf

SHELLS = [shell for shell in ("sh", "bash") if shutil.which(shell)]

RPM = """#!/bin/sh
for name; do :; done
[ -f "$DB/$name" ] || { echo "package $name is not installed"; exit 1; }
read -r epoch version release < "$DB/$name"
case "$*" in
  *NAME*) echo "$name" ;;
  *VERSION*) printf '%s\\n' "$version" "$version-$release" "$epoch:$version" "$epoch:$version-$release" ;;
  *) echo "$name-$version-$release" ;;
esac
"""
TDNF = """#!/bin/sh
echo "$* | holds: $(cat "$HOLDS" 2>/dev/null | tr '\\n' ' ')" >> "$LOG"
eval "$DOES"
"""


@pytest.fixture(params=SHELLS)
def run(request, tmp_path):
    """Runs shell text with the stubs; `does` is what tdnf does. Gives (status, stderr, what tdnf was called with)."""
    programs, database, locks = tmp_path / "bin", tmp_path / "db", tmp_path / "locks.d"
    for folder in (programs, database, locks):
        folder.mkdir()
    for name, text in (("rpm", RPM), ("tdnf", TDNF)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    holds, log = locks / "photon-fleet.conf", tmp_path / "log"

    def runner(text, does="true", installed=(), held=()):
        for name in installed:
            (database / name).write_text("0 1.0 1.ph5\n")
        if held:
            holds.write_text("".join(f"{name}\n" for name in held))
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "DB": database,
            "LOG": log,
            "HOLDS": holds,
            "DOES": does,
        }
        text = text.replace(_conffiles.LOCKS, str(locks))
        done = subprocess.run([request.param, "-c", text], env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr, log.read_text() if log.exists() else ""

    runner.holds = holds
    runner.folder = tmp_path
    return runner


def steps(**given):
    return _tdnf.Steps(**({"install": (), "change": {}, "remove": (), "holds": None, "lift": (), "kept": ()} | given))


PLANS = """[ "$2" = --assumeno ] && { echo '{"Remove":[{"Name":"ntp"}]}'; exit; }"""
TAKES_TDNF = """[ "$2" = --assumeno ] && { echo '{"Remove":[{"Name":"ntp"},{"Name":"tdnf"}]}'; exit; }"""


def test_installed(run):
    text = _tdnf.install_command(steps(install=("htop", "strace")), None)
    status, said, called = run(text, "echo 0 1.0 1.ph5 | tee $DB/htop > $DB/strace")
    assert (status, said) == (0, "")
    assert called == "install -y htop strace | holds: \n"


def test_success_without_a_package_is_a_failure(run):
    text = _tdnf.install_command(steps(install=("htop", "strace")), None)
    status, said, _ = run(text, "echo 0 1.0 1.ph5 > $DB/htop")
    assert status != 0
    assert said == ("tdnf reported no error, but strace is not installed: a repository may be answering rubbish\n")


@pytest.mark.parametrize("version", ["2.0", "2.0-1.ph5", "1:2.0", "1:2.0-1.ph5"])
def test_version_is_proved(run, version):
    text = _tdnf.install_command(steps(change={"nginx": version}), ["photon"])
    status, said, called = run(text, installed=["nginx"])
    assert status != 0
    assert f"nginx is not at {version}" in said
    assert called.startswith(f"install -y --repo=photon nginx-{version} |")
    assert run(text, "echo 1 2.0 1.ph5 > $DB/nginx")[0] == 0


def test_tdnfs_own_error_goes_through(run):
    text = _tdnf.install_command(steps(install=("htop",)), None)
    status, said, _ = run(text, "echo 'Error(1011) : No matching packages' >&2; exit 243")
    assert (status, said) == (243, "Error(1011) : No matching packages\n")


@pytest.mark.parametrize("kept", [("nginx",), ("linux-esx", "nginx")])
@pytest.mark.parametrize("does", ["echo 0 2.0 1 > $DB/nginx", "exit 21", "kill -9 $$"])
def test_a_hold_is_lifted_for_as_long_as_tdnf_runs(run, kept, does):
    text = _tdnf.install_command(steps(change={"nginx": "2.0"}, lift=("nginx",), kept=kept), None)
    status, _, called = run(text, does, installed=["nginx"], held=kept)
    assert (status == 0) == does.startswith("echo")
    rest = " ".join(name for name in kept if name != "nginx")
    assert called.rstrip() == f"install -y nginx-2.0 | holds: {rest}".rstrip()
    assert run.holds.read_text().split() == list(kept)
    assert [path.name for path in run.holds.parent.iterdir()] == ["photon-fleet.conf"]


def test_removed(run):
    text = _tdnf.remove_command(steps(remove=("ntp",)), ["htop"])
    status, said, called = run(text, f"{PLANS}; rm $DB/ntp", installed=["ntp"])
    assert (status, said) == (0, "")
    assert [line.partition(" |")[0] for line in called.splitlines()] == [
        "-j --assumeno remove --noautoremove ntp",
        "remove -y --noautoremove ntp",
    ]


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (f"{TAKES_TDNF}; rm $DB/ntp", "removing this would take tdnf along"),
        ("""[ "$2" = --assumeno ] || rm $DB/ntp""", "tdnf plans no removal"),
        (f"{PLANS}; true", "ntp is still installed"),
        ("echo no network >&2; exit 184", "no network"),
    ],
)
def test_not_removed(run, does, said):
    status, stderr, _ = run(_tdnf.remove_command(steps(remove=("ntp",)), []), does, installed=["ntp"])
    assert status != 0
    assert said in stderr
    assert (run.folder / "db" / "ntp").exists()


def test_wanted_packages_are_not_taken_along(run):
    text = _tdnf.remove_command(steps(remove=("ntp",)), ["ntp-utils"])
    taken = PLANS.replace('{"Name":"ntp"}', '{"Name":"ntp"},{"Name":"ntp-utils"}')
    status, stderr, _ = run(text, f"{taken}; rm $DB/ntp", installed=["ntp"])
    assert status != 0
    assert stderr == "removing this would take ntp-utils along\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_host_without_tdnf_is_a_trouble(shell, tmp_path):
    for name in ("timeout", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [shutil.which(shell), "-c", command("-j check-update")],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    _, trouble = rows(answer(done.stdout.splitlines()))
    assert len(trouble) == 1
    assert trouble[0].startswith("tdnf could not be run: ")


@pytest.mark.parametrize("shell", SHELLS)
def test_both_streams_and_the_status_of_tdnf(shell, tmp_path):
    (tmp_path / "tdnf").write_text("#!/bin/sh\necho 'Error(1) : a' >&2\nprintf '[]\\nnext'\nexit 7\n")
    (tmp_path / "tdnf").chmod(0o755)
    done = subprocess.run(
        [shell, "-c", command("-j list")], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = answer(done.stdout.splitlines())
    assert (said.exit, said.stdout, said.stderr.strip()) == (7, "[]\nnext", "Error(1) : a")
    assert done.stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_files_are_read_whatever_is_in_them(shell, tmp_path):
    (tmp_path / "a b.conf").write_text("= 644 root:root /etc/shadow\nx\\n")
    (tmp_path / "empty.conf").write_text("")
    text = _conffiles.read_command(f"{tmp_path}/*.conf", f"{tmp_path}/none/*.conf")
    done = subprocess.run([shell, "-c", text], capture_output=True, text=True, check=True)
    found = _conffiles.files(done.stdout.splitlines())
    assert [(one.path, one.lines) for one in found] == [
        (f"{tmp_path}/a b.conf", ["= 644 root:root /etc/shadow", "x\\n"]),
        (f"{tmp_path}/empty.conf", []),
    ]


@pytest.mark.skipif(not shutil.which("rpm") or not shutil.which("gpg"), reason="needs rpm and gpg")
def test_keys_of_the_real_rpm(tmp_path):
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    make = ["--passphrase", "", "--quick-gen-key", "Ünï <a@example.com>", "rsa2048", "sign", "never"]
    subprocess.run([*gpg, *make], check=True, capture_output=True)
    listed = subprocess.run([*gpg, "--list-keys", "--with-colons"], check=True, capture_output=True, text=True)
    fingerprint = next(line.split(":")[9] for line in listed.stdout.splitlines() if line.startswith("fpr"))
    armored = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout
    (tmp_path / "key.asc").write_bytes(armored)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False)
    database = f"rpm --dbpath {tmp_path}/db"
    subprocess.run(f"{database} --initdb && {database} --import {tmp_path}/key.asc", shell=True, check=True)  # noqa: S602
    text = StringCommand(rpm.RpmKeys().command()).get_raw_value().replace("rpm ", f"{database} ", 1)
    done = subprocess.run(["sh", "-c", text], check=True, capture_output=True, text=True)
    found = rpm.keys(done.stdout.splitlines())
    assert list(found) == [fingerprint]
    assert found[fingerprint]["uid"] == "Ünï <a@example.com>"
    assert found[fingerprint]["keyid"] == fingerprint[-16:]


@pytest.mark.parametrize(
    ("fact", "output"),
    [
        (tdnf.TdnfUpdates, "bash: syntax error"),
        (tdnf.TdnfUpdates, '##TDNF-EXIT 0\n[{"Name":"sudo"}]'),
        (tdnf.TdnfAdvisories, '##TDNF-EXIT 0\n[{"Type":"Security"}]'),
        (tdnf.TdnfUpdatePlan, '##TDNF-EXIT 0\n{"Install":[{"Name":1}]}'),
        (tdnf.TdnfVersion, "##TDNF-EXIT"),
        (tdnf.TdnfPackages, "= end"),
        (tdnf.TdnfPackages, "bash 5.2-1.ph5 x86_64"),
        (tdnf.TdnfPackages, "error: rpmdb: broken\n= end"),
        (tdnf.TdnfRepositoryFiles, "= 644 root:root /etc/yum.repos.d/a.repo\n [a]"),
        (tdnf.TdnfRepositoryFiles, " [a]\n= end"),
        (tdnf.TdnfHolds, "motd\n= end"),
        (tdnf.TdnfSignatures, "= end"),
        (tdnf.TdnfSignatures, "%{_pkgverify_level}\n= end"),
        (rpm.RpmKeys, "= gpg-pubkey-1-2\nno armor\n= end"),
        (rpm.RpmKeys, "= gpg-pubkey-1-2"),
    ],
)
def test_what_cannot_be_read_fails_this_host_only(fact, output):
    with pytest.raises(FactProcessError):
        fact().process(output.splitlines())


def test_every_fact_is_one_command_that_a_shell_can_read():
    facts = [getattr(tdnf, name)() for name in tdnf.__all__] + [rpm.RpmKeys()]
    for fact in facts:
        text = StringCommand(fact.command()).get_raw_value()
        for shell in SHELLS:
            subprocess.run([shell, "-n", "-c", text], check=True)
