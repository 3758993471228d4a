"""What a guest says on its console, and what of it is believed."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from deploys.clouds.console import Said, said
from deploys.clouds.machine import CloudError
from deploys.clouds.seed import user_data
from deploys.vsphere.seed.host_keys import HostKey
from tests.vsphere.new_hosts import HOSTS

KEY, OTHER = HostKey.make().public, HostKey.make().public
OURS = "photon-fleet:t0"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Said()),
        (f"boot\r\n{OURS}:hostkey {KEY}\r\n{OURS}:ready t0\r\nlogin:", Said(ready=True, host_key=KEY)),
        (
            f"{OURS}:hostkey {KEY}\n{OURS}:hostkey {KEY}\n{OURS}:ready t0\n{OURS}:ready t0",
            Said(ready=True, host_key=KEY),
        ),
        # The key alone: it may be cut off, and sshd may not run yet.
        (f"{OURS}:hostkey {KEY}\n", Said()),
        (f"{OURS}:failed sshd does not run\r\n", Said(failed="sshd does not run")),
        # Another machine's, and what only stands in a line.
        (f"photon-fleet:t1:hostkey {KEY}\nphoton-fleet:t1:ready t1\n", Said()),
        (f"[1.2] user says: {OURS}:ready t0\n", Said()),
        (f"{OURS}:ready t0\n", Said(ready=True)),
    ],
)
def test_what_is_believed(text: str, wanted: Said) -> None:
    assert said(text, "t0") == wanted


def test_two_keys_are_none() -> None:
    with pytest.raises(CloudError, match="2 different host keys"):
        said(f"{OURS}:hostkey {KEY}\n{OURS}:hostkey {OTHER}\n{OURS}:ready t0\n", "t0")


def test_a_key_that_is_cut_in_one_place_and_whole_in_another_counts() -> None:
    cut = f"{OURS}:hostkey {KEY[:40]}[ 3.14] kernel: hello {KEY[40:]}\n"
    assert said(f"{cut}{OURS}:ready t0\n", "t0") == Said(ready=True)
    assert said(f"{cut}{OURS}:hostkey {KEY}\n{OURS}:ready t0\n", "t0") == Said(ready=True, host_key=KEY)


def test_the_words_of_the_script_are_those_that_are_looked_for(tmp_path) -> None:
    """The function of the first boot's script, by a real shell, over a file in the place of the serial port."""
    made = json.loads(user_data(HOSTS["root"], "t0").partition("\n")[2])["runcmd"][0][-1]
    function = re.search(r"tell\(\) \{.*?\n\}", made, re.DOTALL)[0]
    function = function.replace("/dev/ttyS0", f"'{tmp_path}/port'").replace("[ ! -c", "[ ! -f")
    (tmp_path / "port").touch()
    words = f"{function.replace(' >', ' >>')}\ntell {OURS}:hostkey '{KEY}'\ntell {OURS}:ready t0\n"
    subprocess.run(["sh", "-c", words], check=True)
    assert said((tmp_path / "port").read_text(), "t0") == Said(ready=True, host_key=KEY)
