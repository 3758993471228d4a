"""A batch answers what its commands answer alone: run by every shell of this machine, without SSH."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventories._batch import NO_PLACE, Answer, Batch, BatchError, Frames, fitting

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]


def shell_command(script: str) -> str:
    """As pyinfra makes it of a fact's command."""
    return f"sh -c {shlex.quote(script)}"


def start(shell: list[str], line: str, **env: str) -> subprocess.Popen[bytes]:
    # sshd starts each command in a session of its own, with a standard input that is at its end.
    return subprocess.Popen(
        [*shell, "-c", line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env={**os.environ, **env},
    )  # fmt: skip


def alone(shell: list[str], command: str) -> Answer:
    process = start(shell, command)
    out, err = process.communicate(timeout=60)
    return Answer(process.returncode if process.returncode >= 0 else 128 - process.returncode, out, err)


def together(shell: list[str], commands: list[str], step: int = 1 << 16, *, at_once: bool = False) -> list[Answer]:
    batch = Batch(commands, at_once=at_once)
    process = start(shell, batch.script())
    out, err = process.communicate(timeout=60)
    frames = Frames(batch)
    for at in range(0, len(out), step):
        frames.out(out[at : at + step])
    for at in range(0, len(err), step):
        frames.err(err[at : at + step])
    assert frames.before == b""
    assert frames.out_complete
    assert frames.err_complete
    assert process.returncode == 0
    return list(frames.answers())


def places() -> set[str]:
    return {str(path) for place in ("/run", "/dev/shm", "/tmp") for path in Path(place).glob(".photon-fleet.*")}


def printed(data: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in data)


# Odd bytes more often than others: line ends, NUL, no UTF-8, what looks like a frame, quotes and percent signs.
BYTES = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\0", b"\xff\xfe", b"\xc3", b"'", b'"', b"%s", b"0" * 32]), st.binary(max_size=20)
    ),
    max_size=6,
).map(b"".join)


@st.composite
def command(draw: st.DrawFn) -> str:
    out, err = printed(draw(BYTES)), printed(draw(BYTES))
    status = draw(st.sampled_from([0, 0, 0, 1, 2, 100, 124, 255]))
    late = draw(st.sampled_from(["", "", "", "(sleep 0.05; printf late) & ", "(sleep 0.05; printf late >&2) & "]))
    return shell_command(f"{late}printf '{out}'; printf '{err}' >&2; exit {status}")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(command(), min_size=1, max_size=6), st.sampled_from([1, 7, 65536]), st.booleans())
def test_the_same_bytes_and_status(shell: list[str], commands: list[str], step: int, at_once: bool) -> None:
    assert together(shell, commands, step, at_once=at_once) == [alone(shell, each) for each in commands]


ODD = {
    "no output": "true",
    "ten megabytes": "head -c 10000000 /dev/zero; head -c 2000000 /dev/zero >&2",
    "only errors": "echo broken >&2; exit 4",
    "broken syntax": 'echo "half',
    "a child in the background": "(sleep 0.3; echo late) & echo early",
    "a child in a session of its own": "setsid sh -c 'sleep 0.3; echo late' & echo early",
    "a child that holds the errors only": "(sleep 0.3; echo late >&2) >/dev/null & echo early",
    "a child that holds nothing": "sleep 30 >/dev/null 2>&1 & echo early",
    "reads standard input": "cat; echo end",
    "changes its surroundings": "cd /; umask 0; unset PATH; exec 1>&-",
    "kills itself": "kill -9 $$",
    "a pipe whose reader ends": "yes | head -n 1",
    "prints what looks like an end": "printf '%s 0\\n' 0123456789abcdef0123456789abcdef",
}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("odd", list(ODD))
def test_odd_commands_among_others(shell: list[str], odd: str) -> None:
    commands = [shell_command("echo before; echo one >&2"), shell_command(ODD[odd]), shell_command("echo behind")]
    began = time.monotonic()
    found = together(shell, commands)
    assert time.monotonic() - began < 20
    assert found[0] == Answer(0, b"before\n", b"one\n")
    assert found[2] == Answer(0, b"behind\n", b"")
    if odd == "kills itself":
        # Alone it depends on the login shell whether it says "Killed".
        assert (found[1].status, found[1].out) == (137, b"")
    else:
        assert found[1] == alone(shell, commands[1])


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_many_short_batches_all_end(shell: list[str]) -> None:
    """The readers of a batch end while its shell still opens the last pipe, which interrupts some shells."""
    running = [start(shell, Batch([shell_command("true")]).script()) for _ in range(150)]
    assert [process.wait(timeout=60) for process in running] == [0] * len(running)


def test_what_others_can_see_of_a_batch_does_not_end_an_answer() -> None:
    """The command line and the environment of every process are in the answer, and it is whole all the same."""
    look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    batch = Batch([shell_command(look), shell_command("echo behind")])
    frames = Frames(batch)
    process = start(["sh"], batch.script())
    out, err = process.communicate(timeout=30)
    frames.out(out)
    frames.err(err)
    first, second = frames.answers()
    assert batch.opening.encode() in first.out
    assert frames._out._word not in first.out
    assert second.out == b"behind\n"


def test_a_user_who_writes_what_is_printed_cannot_forge_another_answer(tmp_path) -> None:
    """He sees the script and may join whatever is in it."""
    batch = Batch([shell_command(f"cat {tmp_path}/mine"), shell_command("echo real")])
    words = [batch.opening, *re.findall(r"[0-9a-f]{32}", batch.script())]
    (tmp_path / "mine").write_text("".join(f"{word} 0\nFORGED\n{word}{word} 0\n" for word in words))
    frames = Frames(batch)
    out, err = start(["sh"], batch.script()).communicate(timeout=30)
    frames.out(out)
    frames.err(err)
    assert [answer.out for answer in frames.answers()] == [(tmp_path / "mine").read_bytes(), b"real\n"]


def test_nothing_is_left_on_the_host() -> None:
    before = places()
    together(["sh"], [shell_command("echo x")] * 5)
    assert places() == before


@pytest.mark.parametrize("batch", [
    Batch([shell_command("sleep 0.5; echo x")] * 50, at_once=True),
    # In blocks it is noticed when there is something to send.
    Batch([shell_command("sleep 0.5; head -c 40000 /dev/zero")] * 50),
    Batch([shell_command("sleep 0.5; echo x")] * 4),
], ids=["at once", "in blocks", "at the end"])  # fmt: skip
def test_a_connection_that_goes_away_leaves_no_process_and_no_pipe(batch: Batch) -> None:
    before = places()
    process = start(["sh"], batch.script())
    time.sleep(0.2)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=20) != 0
    deadline = time.monotonic() + 5
    while _members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _members(process.pid) == []
    assert places() == before


def _members(group: int) -> list[str]:
    done = subprocess.run(["ps", "-o", "pid=,args=", "--sid", str(group)], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if "defunct" not in line]


def test_a_batch_that_is_ended_cleans_up() -> None:
    before = places()
    process = start(["sh"], Batch([shell_command("sleep 20")]).script())
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=10)
    assert places() == before


def test_a_host_without_a_place_says_so(tmp_path) -> None:
    # No program at all: neither mktemp nor mkfifo can be run.
    process = start(
        ["/bin/sh"], Batch([shell_command("true")]).script().replace("exec sh", "exec /bin/sh"), PATH=str(tmp_path)
    )
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (NO_PLACE, b"")
    assert b"no named pipe can be made" in err


def test_what_the_login_shell_prints_is_kept_apart() -> None:
    batch = Batch([shell_command("echo x")])
    frames = Frames(batch)
    process = start(["sh"], f"echo Welcome; {batch.script()}")
    frames.out(process.communicate(timeout=10)[0])
    assert frames.before == b"Welcome\n"


def test_an_end_without_a_status_is_refused() -> None:
    batch = Batch(["a"])
    frames = Frames(batch)
    opening = batch.opening.encode() + b"word\n"
    frames.out(opening + b"word nonsense\n")
    frames.err(opening + b"word\n")
    with pytest.raises(BatchError, match="nonsense"):
        list(frames.answers())


def test_a_batch_is_no_longer_than_one_argument_may_be() -> None:
    commands = [shell_command(f"echo '{number}' {'x' * 2000}") for number in range(200)]
    part = fitting(commands)
    assert 10 < len(part) < 200
    assert len(Batch(part).script()) < 128 * 1024
    assert together(["sh"], list(part)) == [alone(["sh"], each) for each in part]
    assert len(fitting([shell_command("x" * 300_000)])) == 1
