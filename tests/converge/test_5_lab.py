"""The life of lab hosts: boot, reset, and nothing left afterwards, whatever was killed when."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.converge.conftest import INVENTORY, ROOT, Done, program, run
from tests.lab import layer

pytestmark = pytest.mark.lab

OTHER = {"LAB_NAME": "photon-life", "LAB_NET": "10.85.0"}


def lab_command(*arguments: str, **env: str) -> Done:
    return run(sys.executable, "-m", "tests.lab", *arguments, **{**OTHER, **env})


def leftovers() -> list[str]:
    """What of the other lab is on this machine, seen without the lab's own eyes."""
    found = [f"interface {path.name}" for path in Path("/sys/class/net").glob("photon-life*")]
    found += [f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines() if "photon-life" in line]
    found += [f"directory {path}" for path in Path("/var/lib").glob("photon-life*")]
    loops = Path("/sys/block").glob("loop*/loop/backing_file")
    found += [f"loop {path}" for path in loops if "photon-life" in path.read_text()]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "photon-life" in words and str(os.getpid()) != process.parts[2]:
            found.append(f"process {words}")
    return found


@pytest.fixture(autouse=True)
def _clean():
    assert lab_command("down").status == 0
    yield
    lab_command("down")
    assert leftovers() == []


def test_up_status_ssh_reset_down() -> None:
    assert lab_command("up", "one").status == 0
    assert "running" in lab_command("status").out
    assert lab_command("ssh", "one", "echo changed > /etc/motd; cat /etc/hostname").out.strip() == "one"
    key = lab_command("ssh", "one", "cat /etc/ssh/ssh_host_ed25519_key | sha256sum").out
    assert lab_command("reset", "one").status == 0
    assert lab_command("ssh", "one", "cat /etc/motd 2>/dev/null").out.strip() != "changed"
    assert lab_command("ssh", "one", "cat /etc/ssh/ssh_host_ed25519_key | sha256sum").out == key
    assert lab_command("down").status == 0
    assert leftovers() == []
    assert "no lab hosts" in lab_command("status").out


def test_a_killed_run_and_then_down_leaves_nothing() -> None:
    process = subprocess.Popen(
        [program("pyinfra"), INVENTORY, "deploys/host.py", "-y"], cwd=ROOT, env={**os.environ, **OTHER},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 180
    while "running" not in lab_command("status").out and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "running" in lab_command("status").out
    assert lab_command("down").status == 0
    assert leftovers() == []


@pytest.mark.parametrize("victim", ["outermost", "inside"])
def test_a_killed_lab_takes_everything_with_it_and_comes_back(victim: str) -> None:
    assert lab_command("up", "one").status == 0
    pid = int((Path("/var/lib/photon-life/life").read_text()).split()[0])
    if victim == "inside":
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any("directory" not in entry for entry in leftovers()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [entry for entry in leftovers() if not entry.startswith("directory")] == []
    assert "off" in lab_command("status").out
    assert lab_command("up", "one").status == 0


def test_what_a_host_never_acknowledged_leaves_no_interface() -> None:
    assert lab_command("up", "one").status == 0
    big = Path("/var/lib/photon-life/ostree/big")
    big.parent.mkdir(exist_ok=True)
    big.write_bytes(bytes(10_000_000))
    # It takes what it has asked for so slowly that the lab's server still has most of it when the link is cut.
    fetch = "systemd-run --quiet curl -s --limit-rate 1k -o /tmp/big http://10.85.0.2/ostree/big; sleep 3; ls /tmp/big"
    assert lab_command("ssh", "one", fetch).status == 0
    assert run(sys.executable, "-c", "from tests.lab import client; client.cut('one')", **OTHER).status == 0
    assert lab_command("down").status == 0
    assert leftovers() == []


def test_two_at_once_start_one_lab() -> None:
    starts = [
        subprocess.Popen([sys.executable, "-m", "tests.lab", "up", name], cwd=ROOT, env={**os.environ, **OTHER},
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]  # fmt: skip
    assert [start.wait(120) for start in starts] == [0, 0]
    assert lab_command("status").out.count("running") == 2


def test_without_root_it_says_what_to_do() -> None:
    # The clone and the virtual environment may be where nobody else may look; the lab needs no other package.
    system = Path("/usr/bin/python3")
    place = Path(tempfile.mkdtemp())
    shutil.copytree(ROOT / "tests" / "lab", place / "tests" / "lab", ignore=shutil.ignore_patterns("rootfs", "tdnf"))
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)
    done = subprocess.run(
        [system if system.exists() else sys.executable, "-m", "tests.lab", "up"],
        cwd=place, user="nobody", text=True, capture_output=True, check=False,
        env={**os.environ, **OTHER, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    shutil.rmtree(place)
    assert "need root" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (("up", "../x"), {}, "is no name for a lab host"),
        (("ssh", "nobody-here"), {}, "there is no lab host 'nobody-here'"),
        (("reset", "nobody-here"), {}, "there is no lab host 'nobody-here'"),
        (("up", "one"), {"LAB_NET": "127.0.0"}, "lo of this machine is in 127.0.0.0/24 already"),
        (("up", "one"), {"LAB_IMAGE": "/no/such/image"}, "LAB_IMAGE=/no/such/image"),
    ],
)
def test_bad_requests_are_one_sentence(arguments: tuple[str, ...], env: dict[str, str], message: str) -> None:
    done = lab_command(*arguments, **env)
    assert done.status == 1
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_root_file_system_of_the_user_is_taken_as_it_is(tmp_path) -> None:
    top, *_ = layer.lower_directories()
    base = layer.lower_directories()[-1]
    script = (
        'mkdir -p "$1" "$2" "$3" && mount -t overlay x -o "lowerdir=$4:$5,upperdir=$2,workdir=$3" "$1" '
        '&& tar -C "$1" --one-file-system -cf "$6" .'
    )
    archive = tmp_path / "photon.tar"
    scratch = [tmp_path / name for name in ("root", "upper", "work")]
    run("unshare", "--mount", "sh", "-c", script, "sh", *scratch, top, base, archive)
    assert archive.stat().st_size > 100_000_000
    try:
        done = lab_command("up", "own", LAB_IMAGE=str(archive))
        assert done.status == 0, done.err
        assert "unpacking" in done.err
        assert 'PRETTY_NAME="VMware Photon OS/Linux"' in lab_command("ssh", "own", "cat /etc/os-release").out
    finally:
        archive.unlink()
