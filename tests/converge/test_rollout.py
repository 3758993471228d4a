"""Rollouts of commits to lab hosts: canary first, then the others; a bad commit stops at the canary and goes back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploys.rollout.store.reports import audit
from deploys.rollout.store.sqlite import Sqlite
from deploys.rollout.store.store import Store
from tests.converge.conftest import ROOT, Done, program, run, wait_for
from tests.rollout.receiver import Receiver, receiving

pytestmark = pytest.mark.lab

NAMES = [f"roll-{number}" for number in range(1, 5)]
INVENTORY = """
from deploys.policies.files import File, Files
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from deploys.policies.services import Service, Services
from deploys.rollout.settings import CommandGate, Rollout, Share, Webhook
from inventories._fleet import fleet, group, host

_rules = [Rule(name="ssh", ports=[22]), Rule(name="site", ports=[{ports}])]
web = group("web", Files(files=[File(path="/etc/motd", content="{text}\\n")]), Firewall(rules=_rules), *[{more}])
db = group("db", Files(files=[File(path="/etc/motd", content="{db}\\n")]), *[{more}])
hosts = fleet(
    *(host(f"roll-{{number}}", web) for number in range(1, 4)), host("roll-4", db), connector="lab",
)
rollout = Rollout(
    waves=[Share(count=1), Share()], unit_hosts=2, on_fail="all go back", mend_drift=True,
    gates=[CommandGate(name="told", command=["sh", "-c", "echo $PHOTON_FLEET_WAVE $PHOTON_FLEET_HOSTS >>{told}"])],
    notify=[Webhook(name="desk", url="{desk}", events=["begun", "ended"])],
)
"""


@dataclass
class Repository:
    """A repository of a fleet, with this project's own code in it as it is now."""

    path: Path
    state: Path
    desk: Receiver

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
        return subprocess.run(
            ["git", *identity, *words], cwd=self.path, check=True, capture_output=True, text=True
        ).stdout

    def commit(self, text: str, more: str = "", db: str = "", ports: str = "80, 443") -> None:
        places = {"told": self.state.parent / "told", "desk": self.desk.url}
        (self.path / "inventories/roll.py").write_text(
            INVENTORY.format(ports=ports, text=text, more=more, db=db or text, **places)
        )
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", text)

    def deploys(self, *words: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "deploys", *words], cwd=self.path, text=True, capture_output=True, check=False,
            env={**os.environ, "PYTHONPATH": str(self.path), "PHOTON_FLEET_STATE": str(self.state)}, timeout=300,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def repository(lab, tmp_path_factory) -> Iterator[Repository]:
    place, state = tmp_path_factory.mktemp("rollout") / "repository", tmp_path_factory.mktemp("rollout") / "state"
    with receiving() as desk:
        yield _made(Repository(place, state, desk))


def _made(made: Repository) -> Repository:
    names = run("git", "ls-files", "-co", "--exclude-standard").out.split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (made.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, made.path / name)
    made.git("init", "--quiet", "--initial-branch", "main")
    made.commit("none")
    return made


def test_a_commit_goes_from_the_canary_to_all(repository, on) -> None:
    repository.commit("one", ports="80")
    done = repository.deploys("rollout", "inventories/roll.py", "--why", "the first")
    assert done.status == 0, done.all
    assert "done: every wave has passed its gates" in done.out
    assert {on(name, "cat /etc/motd") for name in NAMES} == {"one\n"}
    told = [line.split() for line in (repository.state.parent / "told").read_text().splitlines()]
    assert [(wave, len(hosts)) for wave, *hosts in told] == [("1", 1), ("2", 3)]
    found = json.loads(repository.deploys("status", "--json").out)
    assert [wave["verdicts"] for wave in found["waves"]] == [{"ok": 1}, {"ok": 3}]
    assert repository.desk.told == [(1, "begun", "running"), (1, "ended", "done")]
    for host in json.loads(repository.deploys("report", "1", "--format", "json").out)["hosts"]:
        files = host["policies"]["files"]
        assert (files["verdict"], files["passed"]) == ("changed", files["checks"])
        assert files["checks"] > 0
        assert files["changed"]
    command = next(path for path in (repository.state / "runs").glob("1.*.out"))
    assert "checks passed" in command.read_text()


@pytest.fixture(scope="module")
def controller(repository, tmp_path_factory) -> Repository:
    """A clone of a bare repository that developers push to, with the state of the rollouts before."""
    place = tmp_path_factory.mktemp("controller")
    bare = place / "fleet.git"
    run("git", "clone", "--quiet", "--bare", repository.path, bare)
    repository.git("remote", "add", "origin", str(bare))
    run("git", "clone", "--quiet", bare, place / "clone")
    return Repository(place / "clone", repository.state, repository.desk)


def logins(on) -> dict[str, int]:
    """How often somebody has logged in to each host, this look included."""
    return {name: int(on(name, "journalctl --no-pager -u sshd | grep -c Accepted")) for name in NAMES}


def test_a_merge_that_changes_one_groups_firewall_rolls_out_to_its_hosts_alone(repository, controller, on) -> None:
    repository.commit("one")
    repository.git("push", "--quiet", "origin", "main")
    before = logins(on)
    done = controller.deploys("watch", "inventories/roll.py", "--once")
    assert done.status == 0, done.all
    assert {f"{name}: firewall differs" for name in NAMES[:3]} <= set(done.out.splitlines()), done.out
    assert "roll-4" not in done.out
    assert logins(on)["roll-4"] - before["roll-4"] == 1
    for name in NAMES[:3]:
        assert "443" in on(name, "iptables -S INPUT")
    found = json.loads(controller.deploys("status", "2", "--json").out)
    assert [wave["verdicts"] for wave in found["waves"]] == [{"ok": 1}, {"ok": 2}]
    assert [(gate["wave"], gate["answer"]) for gate in found["gates"]] == [(1, "pass"), (2, "pass")]
    report = json.loads(controller.deploys("report", "2", "--format", "json").out)
    assert {host["name"]: host["policies"]["firewall"]["verdict"] for host in report["hosts"]} == dict.fromkeys(
        NAMES[:3], "changed"
    )
    again = controller.deploys("watch", "inventories/roll.py", "--once")
    assert "was rollout 2, which is done" in again.out


def test_a_bad_merge_stops_at_the_canary_which_goes_back(repository, controller, on) -> None:
    repository.commit("two", 'Services(units=[Service(unit="nope.service", running=True)])')
    repository.git("push", "--quiet", "origin", "main")
    before = logins(on)
    done = controller.deploys("watch", "inventories/roll.py", "--once")
    assert done.status == 0, done.all
    assert "went back: what could go back has gone back" in done.out
    found = json.loads(controller.deploys("status", "3", "--json").out)
    canary = found["unwell"][0]["host"]
    assert found["unwell"][0]["back"] == "ok"
    assert "nope.service" in found["unwell"][0]["words"]
    assert found["waves"][1] == {**found["waves"][1], "state": "waiting", "verdicts": {}}
    more = {name: now - before[name] for name, now in logins(on).items()}
    assert {name for name, count in more.items() if count > 1} == {canary}
    assert {on(name, "cat /etc/motd") for name in NAMES} == {"one\n"}
    assert repository.desk.told[-1] == (3, "ended", "went back")
    (told,) = (each for each in json.loads(controller.deploys("report", "3", "--format", "json").out)["hosts"]
               if each["name"] == canary)  # fmt: skip
    assert {name: each["verdict"] for name, each in told["policies"].items()}["services"] == "failed"
    assert any("nope.service" in line for line in told["policies"]["services"]["failed"])
    assert "went back" in controller.deploys("report", "3", "--format", "markdown").out
    again = controller.deploys("watch", "inventories/roll.py", "--once")
    assert "was rollout 3, which is went back" in again.out


def test_a_merge_that_is_not_signed_is_left_alone_where_it_must_be(repository, controller) -> None:
    repository.commit("one", db="four")
    repository.git("push", "--quiet", "origin", "main")
    done = controller.deploys("watch", "inventories/roll.py", "--once", "--signed")
    assert "is not signed by a key that is trusted: it is left alone" in done.out
    assert "rollout 4" not in controller.deploys("status").out


def test_a_merge_that_cannot_be_read_is_told_and_waits_for_the_next(repository, controller) -> None:
    (repository.path / "inventories/roll.py").write_text("hosts = fleet(")
    repository.git("commit", "--quiet", "-am", "broken")
    repository.git("push", "--quiet", "origin", "main")
    done = controller.deploys("watch", "inventories/roll.py", "--once")
    assert (done.status, "roll.py" in done.out) == (0, True), done.all
    assert "Traceback" not in done.all


def test_a_host_whose_plan_has_become_another_one_stops(repository, on, tmp_path) -> None:
    repository.commit("five")
    plan = tmp_path / "plan.json"
    two = ("--limit", "roll-1", "--limit", "roll-2")
    done = repository.deploys("plan", "inventories/roll.py", *two, "--output", str(plan))
    assert done.status == 3, done.all
    assert "roll-1, roll-2:\n    will     files: " in done.out
    assert "2 hosts, 0 clean; 2 steps will" in done.out
    on("roll-2", "echo five > /etc/motd")
    words = ("rollout", "inventories/roll.py", "--why", "as planned", "--plan", str(plan))
    done = repository.deploys(*words)
    assert done.status == 5, done.all
    assert "roll-2: failed" in done.out
    assert "stopped: what would be changed is not what was planned (no longer: files: " in done.out
    assert on("roll-1", "cat /etc/motd") == "one\n"
    again = repository.deploys(*words)
    assert (again.status, "is held: rollout" in again.err) == (2, True), again.all


def test_drift_is_found_and_mended(repository, on) -> None:
    """What went back is what arrived before: the drift of each host is from that."""
    on("roll-3", "echo by hand > /etc/motd; chmod 600 /etc/motd")
    done = repository.deploys("drift", "inventories/roll.py", "--limit", "roll-3", "--limit", "roll-1", "--mend")
    assert done.status == 0, done.all
    assert "roll-3:\n    will     files: " in done.out
    assert "    not so   files: " in done.out
    assert "1 of 2 hosts are not as" in done.out
    assert on("roll-3", "cat /etc/motd") == on("roll-1", "cat /etc/motd")


ON_CALL = """
from deploys._run import begin
from operations import file
begin()
file.text(name="Slow", path="/tmp/slow", content="slow", after="sleep 120")
"""


def test_a_fix_on_call_and_a_rollout_never_meet(repository, on, tmp_path) -> None:
    repository.commit("six")
    (tmp_path / "fix.py").write_text(ON_CALL)
    env = {**os.environ, "PYTHONPATH": str(repository.path), "PHOTON_FLEET_STATE": str(repository.state)}
    words = ["-y", "--limit", "roll-2", "--data", "why=ticket 4712"]
    fix = subprocess.Popen(
        [program("pyinfra"), "inventories/roll.py", tmp_path / "fix.py", *words], cwd=repository.path, env=env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: "slow" in on("roll-2", "ls /tmp"), 120)
    command = ["rollout", "inventories/roll.py", "--why", "six", "--limit", "roll-2", "--json"]
    rollout = subprocess.Popen(
        [sys.executable, "-m", "deploys", *command],
        cwd=repository.path, env=env, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: "hosts that somebody else is changing" in rollout.stdout.readline(), 120)
    assert on("roll-2", "cat /etc/motd") != "six\n"
    fix.kill()
    fix.wait()
    last = json.loads(rollout.communicate(timeout=180)[0].splitlines()[-1])
    assert (rollout.returncode, last["event"], last["progress"]["state"]) == (0, "ended", "done"), last
    assert on("roll-2", "cat /etc/motd; rm /tmp/slow") == "six\n"
    number = last["progress"]["id"]
    busy = [about for _, _, event, about in audit(Store(Sqlite(repository.state / "rollouts.sqlite")), number)
            if event == "busy"]  # fmt: skip
    assert busy
    assert f"process {fix.pid} is changing this host since 20" in busy[0]
    assert "ticket 4712" in busy[0]
