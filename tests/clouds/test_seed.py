"""User data for clouds: what images for them need otherwise, and what must not be in it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploys.clouds.seed import user_data
from deploys.errors import InputError
from deploys.vsphere.seed.cloud_init import as_yaml
from deploys.vsphere.seed.encode import guest_info
from tests.lab import cloud_init
from tests.lab.errors import LabError
from tests.vsphere.new_hosts import ALICE, HOSTS, ROOT, new_host


def data(name: str) -> dict:
    text = user_data(HOSTS[name], "t0")
    assert text.startswith("#cloud-config\n")
    return json.loads(text.partition("\n")[2].replace("\\U", "\\\\U"))


def test_the_name_is_ours_and_not_the_clouds() -> None:
    found = data("static addresses")
    assert (found["hostname"], found["fqdn"]) == ("web-1.example.com", "web-1.example.com")


def test_root_gets_in_and_its_file_system_grows() -> None:
    found = data("root")
    assert found["disable_root"] is False
    assert found["growpart"] == {"mode": "auto", "devices": ["/"]}
    assert found["users"][0]["ssh_authorized_keys"] == [ALICE]
    assert data("a user")["disable_root"] is True


def test_the_guest_speaks_on_its_console_and_makes_its_key() -> None:
    found = data("root")
    (command,) = found["runcmd"]
    assert "vmware-rpctool" not in command[-1]
    assert 'tell photon-fleet:t0:hostkey "$key"' in command[-1]
    assert found["ssh_genkeytypes"] == ["ed25519"]
    assert "ssh_keys" not in found


def test_no_private_key_goes_where_every_program_of_the_guest_can_read_it() -> None:
    with pytest.raises(InputError, match="a private key has no place there"):
        user_data(new_host(ROOT, host_keys="controller"), "t0")


def test_a_host_that_nobody_could_log_in_to_is_refused() -> None:
    with pytest.raises(InputError, match="no key lets root in"):
        user_data(new_host(), "t0")


def test_the_same_host_has_the_same_user_data() -> None:
    assert user_data(HOSTS["a user"], "t0") == user_data(HOSTS["a user"], "t0") != user_data(HOSTS["a user"], "t1")


def test_cloud_init_reads_what_was_meant() -> None:
    """Debian's cloud-init, by its schema. The text comes to it as a vCenter would hand it over."""
    try:
        modules = cloud_init.unpacked()
    except LabError as error:
        pytest.skip(str(error))
    script = Path(__file__).parents[1] / "vsphere" / "read_seed.py"
    metadata = {"instance-id": "t0", "local-hostname": "ip-10-0-0-1.compute.internal", "redact": []}
    texts = [{"metadata": as_yaml(metadata), "userdata": user_data(HOSTS[name], "t0")} for name in HOSTS
             if HOSTS[name].first_boot.host_keys == "guest"]  # fmt: skip
    done = subprocess.run(
        [cloud_init.PYTHON, script], input=json.dumps([(guest_info(each, {}).keys, {}) for each in texts]), text=True,
        capture_output=True, env={"PYTHONPATH": str(modules), "PATH": os.environ["PATH"]}, check=True,
    )  # fmt: skip
    answers = json.loads(done.stdout)
    assert len(answers) == len(texts) > 5
    assert [each["wrong"] for each in answers] == [[]] * len(texts)
