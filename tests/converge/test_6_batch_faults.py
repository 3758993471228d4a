"""Reads in batches on hosts that misbehave: a clear end for that host, and none for the others."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.converge.conftest import HOSTS, Done, converge, prove
from tests.converge.reads import deploy, execs

pytestmark = pytest.mark.lab

READS = """
from pyinfra import host
from pyinfra.facts.server import Command
for number in range(6):
    host.get_fact(Command, command=f"echo {number}")
host.get_fact(Command, command=%r)
host.get_fact(Command, command="echo behind")
"""


def learned_and_then(tmp_path: Path, command: str, between, *arguments: str, limit: str = "db-1") -> tuple[Done, float]:
    """Run reads until they are one batch, let something happen, and run them again."""
    for _ in range(2):
        done = deploy(tmp_path / "reads.py", READS % command, limit=limit)
        assert done.status == 0, done.all
    between()
    began = time.monotonic()
    return deploy(tmp_path / "reads.py", READS % command, *arguments, limit=limit), time.monotonic() - began


@pytest.mark.parametrize("forever", ["sleep 600", "while sleep 0.5; do echo tick; done"])
def test_a_read_that_does_not_end_ends_its_host_and_no_other(converged, on, tmp_path, forever: str) -> None:
    wait = f"[ ! -e /run/hang ] || {forever}"
    done, seconds = learned_and_then(
        tmp_path, wait, lambda: on("db-1", "touch /run/hang"), "--data", "ssh_read_seconds=4", limit="*-1"
    )
    on("db-1", "rm /run/hang; pkill -x sleep || true")
    assert done.status == 1
    assert "the command did not end within 4 s" in done.err
    assert re.search(r"\[db-1\].*could not load fact: server.Command command=\[ ! -e /run/hang", done.err)
    assert seconds < 40
    assert "edge-1" in done.err
    assert not re.search(r"\[(web|edge)-1\].*could not load", done.err)


def test_a_host_that_dies_in_a_batch_is_said_to_be_lost(converged, on, tmp_path) -> None:
    # The parent of the shell that runs the batch is the sshd of this connection.
    dies = "[ ! -e /run/die ] || { kill -KILL $(ps -o ppid= -p $PPID); sleep 1; }"
    done, seconds = learned_and_then(tmp_path, dies, lambda: on("db-1", "touch /run/die"), limit="*-1")
    on("db-1", "rm /run/die")
    assert done.status == 1
    assert "the connection was lost while" in done.err
    assert seconds < 40
    assert not re.search(r"\[(web|edge)-1\].*could not load", done.err)


def test_a_link_that_drops_in_a_batch_ends_that_host_in_bounded_time(
    converged, on, tmp_path, cut_while_it_runs
) -> None:
    slow = "[ ! -e /run/slow ] || sleep 200"
    for _ in range(2):
        assert deploy(tmp_path / "reads.py", READS % slow).status == 0
    on("db-1", "touch /run/slow")
    try:
        status, err, seconds = cut_while_it_runs(tmp_path / "reads.py")
    finally:
        on("db-1", "rm -f /run/slow; pkill -x sleep || true")
    assert seconds < 120
    assert status == 1
    assert "the connection was lost while" in err


def test_a_full_tmp_that_forbids_programs_is_no_trouble(converged, on) -> None:
    converge("--limit", "db-1")
    on("db-1", "mount -t tmpfs -o size=4k,noexec none /tmp; head -c 1M /dev/zero > /tmp/full 2>/dev/null || true")
    try:
        done = converge("--debug", "--limit", "db-1")
        assert done.line("db-1: ok; 0 changes; "), done.err[-2000:]
        assert len(execs(done)["db-1"]) == 2
    finally:
        on("db-1", "umount /tmp")


def test_a_host_without_what_a_batch_needs_is_read_one_by_one_and_says_so(converged, on) -> None:
    on("db-1", "mv /usr/bin/mkfifo /usr/bin/mkfifo.away")
    try:
        done = converge("-v", "--limit", "db-1")
        assert done.line("db-1: ok; 0 changes; "), done.err[-2000:]
        assert done.err.count("reads are not batched on this host: no named pipe can be made") == 1
        assert "not batched" not in converge("--limit", "db-1").err
    finally:
        on("db-1", "mv /usr/bin/mkfifo.away /usr/bin/mkfifo")


def test_a_login_shell_that_prints_is_explained(converged, on) -> None:
    on("db-1", "cp /root/.bashrc /root/.bashrc.kept; echo 'echo Welcome to db-1' >> /root/.bashrc")
    try:
        done = converge("--limit", "*-1")
        assert done.status == 1
        assert "the login shell prints text before each command" in done.err
        assert "Welcome to db-1" in done.err
        assert done.line("db-1: FAILED")
        assert done.line("web-1: ok")
        proof = prove("--limit", "db-1")
        assert "the login shell prints text before each command" in proof.out
    finally:
        on("db-1", "mv /root/.bashrc.kept /root/.bashrc")


def test_no_pipe_and_no_process_is_left_on_the_hosts(converged, on) -> None:
    for host in HOSTS:
        assert (
            on(host, "ls -d /run/.photon-fleet.* /tmp/.photon-fleet.* /dev/shm/.photon-fleet.* 2>/dev/null || true")
            == ""
        )
