"""Inventories through pyinfra's own command line: what is shown, and what stops before any connection."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from inventories._fleet import MORE_OPTIONS
from tests import warm

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
from deploys.policies.docker import Docker
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from deploys.policies.ssh import Ssh
from inventories._fleet import fleet, group, host
SSH = Firewall(rules=[Rule(name="ssh", ports=[22])])
"""


def pyinfra(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command as a user types it, from the repository's root."""
    program = Path(sys.executable).with_name("pyinfra")
    return warm.run([str(program), *arguments], cwd=ROOT, env={**os.environ, **env}, timeout=60)


@pytest.fixture
def inventory(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "fleet.py"
        path.write_text(HEAD + text)
        return str(path)

    return write


@pytest.mark.parametrize("name", ["prod", "staging"])
def test_the_examples_load(name: str) -> None:
    done = pyinfra(f"inventories/{name}.py", "debug-inventory", "--json")
    hosts = {host["name"]: host for host in json.loads(done.stdout)}
    assert done.returncode == 0
    assert len(hosts) >= 3
    for host in hosts.values():
        assert not host["name"].startswith("@")
        assert {"packages", "ssh", "firewall"} <= set(host["data"]["policies"])


def test_several_groups_give_one_policy() -> None:
    hosts = json.loads(pyinfra("inventories/prod.py", "debug-inventory", "--json").stdout)
    rules = next(host for host in hosts if host["name"] == "db-2")["data"]["policies"]["firewall"]["rules"]
    assert [rule["name"] for rule in rules] == ["ssh", "postgres", "node-exporter", "reporting"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('base = group("base", Firewall(ruls=[]))', "unknown field 'ruls' (did you mean 'rules'?)"),
        (
            'base = group("base", Firewall(rules=[Rule(name="x", ports=[22], sources=["10.0.0.1/8"])]))',
            "Rule 'x': sources.0",
        ),
        ('base = group("base", "ssh")', "group 'base': 'ssh' is not a policy"),
        ('base = group("other", SSH)\nhosts = fleet(host("a", base))', "'other' is in the variable 'base'"),
        ('base = group("base", SSH)\nhosts = fleet(host("a", base), host("a", base))', "a: given 2 times"),
        ('hosts = fleet(host("-a", SSH))', "'-a' is no name for a host"),
        (
            'hosts = fleet(host("a", Firewall()))',
            "a: firewall: rules: no rule lets any TCP connection in, so the host could never be reached again [",
        ),
        ('shared = [SSH]\nhosts = fleet(host("a", *shared))', "the variable 'shared' would be a group of pyinfra"),
        (
            'b = group("b", Ssh(max_sessions=3))\nc = group("c", Ssh(max_sessions=4))\nhosts = fleet(host("a", b, c))',
            "a: ssh: max_sessions: group b",
        ),
    ],
)
def test_bad_inventories_stop_with_one_message(inventory, text: str, complaint: str) -> None:
    done = pyinfra(inventory(text), "deploys/host.py", "-y")
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert "Connecting to hosts" not in done.stderr


def test_every_problem_of_every_host_is_told_at_once(inventory) -> None:
    path = inventory('hosts = fleet(host("a", Firewall()), host("b", Firewall()))')
    done = pyinfra(path, "deploys/host.py")
    assert "a: firewall" in done.stderr
    assert "b: firewall" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--limit", "wbe-1"], "--limit wbe-1: no such host or group (did you mean 'web-1'?)"),
        (["--limit", "web", "--limit", "nothing*"], "--limit nothing*"),
        (["--exclude", "dbb"], "--exclude dbb: no such host or group (did you mean 'db'?)"),
        (["--data", "only=firewal"], "there is no policy 'firewal' (did you mean 'firewall'?)"),
        (["--data", "only=ssh,dokcer"], "'dokcer' (did you mean 'docker'?)"),
        (["--data", "prov=false"], "--data prov: no such option (did you mean 'prove'?)"),
        (["--data", "prove=maybe"], "--data prove=maybe: true or false"),
    ],
)
def test_bad_command_lines_stop_before_any_connection(arguments: list[str], complaint: str) -> None:
    done = pyinfra("inventories/prod.py", "deploys/host.py", "-y", *arguments)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Connecting to hosts" not in done.stderr


@pytest.mark.parametrize("limit", ["web-1", "web", "web-*", "all", "prod"])
def test_limits_are_plain_names_groups_and_patterns(limit: str) -> None:
    done = pyinfra("inventories/prod.py", "debug-inventory", "--limit", limit)
    assert done.returncode == 0


def test_secrets_are_references_in_the_inventory() -> None:
    done = pyinfra("inventories/prod.py", "debug-inventory", "--json", REDIS_PASSWORD="planted-value")
    assert "planted-value" not in done.stdout + done.stderr
    assert "REDIS_PASSWORD" in done.stdout


def explain(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploys", "explain", *arguments], cwd=ROOT, text=True, capture_output=True, check=False
    )


def test_explain_tells_where_each_value_comes_from() -> None:
    done = explain("inventories/prod.py", "db-2")
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "group db (inventories/_roles.py:" in lines["rules[postgres]"]
    assert "group monitored (inventories/prod.py:" in lines["rules[node-exporter]"]
    assert "host db-2 (inventories/prod.py:" in lines["rules[reporting]"]
    assert lines["ping"].endswith("default")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(("inventories/none.py", "a"), "no inventory file"), (("inventories/prod.py", "web-9"), "did you mean 'web-")],
)
def test_explain_refuses_what_is_not_there(arguments: tuple[str, str], complaint: str) -> None:
    done = explain(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_every_option_of_a_fix_is_known() -> None:
    folder = Path(__file__).parents[2] / "deploys" / "fixes"
    call = re.compile(r'(?:option|number|yes|listed|decimal|one_of|public_key)\("([a-z_]+)"')
    asked = {name for file in folder.glob("*.py") for name in call.findall(file.read_text())}
    assert "reboot" in asked
    assert asked <= MORE_OPTIONS


def test_the_run_of_a_rollout_is_given_its_own_hosts_alone_and_told_of_all_problems(inventory) -> None:
    text = """
web = group("web", SSH)
hosts = fleet(*(host(f"web-{n}", web, address=f"192.0.2.{n}", ssh_user="root") for n in (1, 2, 3)))
"""
    done = pyinfra(inventory(text), "debug-inventory", PHOTON_FLEET_ONLY="web-1 web-3")
    assert (done.returncode, {*re.findall(r"web-\d", done.stdout + done.stderr)}) == (0, {"web-1", "web-3"}), done
    wrong = inventory(text.replace("(1, 2, 3)", "(1, 2, 2)"))
    assert "web-2: given 2 times" in pyinfra(wrong, "debug-inventory", PHOTON_FLEET_ONLY="web-1").stderr
