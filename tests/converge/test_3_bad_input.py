"""What goes wrong on one host, the sentence the user sees for it, and the other hosts that finish all the same."""

from __future__ import annotations

import pytest

from tests.converge.conftest import converge, dry, prove
from tests.lab.settings import gateway

pytestmark = pytest.mark.lab


def others_finished(done, *names: str) -> None:
    for name in names:
        assert done.line(f"{name}: ok; "), done.err[-3000:]


REPOSITORY = """
from deploys.policies.packages import Repository as R, SigningKey as K
from inventories._lab import lab_key
"""


def repository(name: str, package: str) -> str:
    one = f'R(id="{name}", url="http://packages.lab/{name}", key="photon-lab")'
    return f'Packages(repositories=[{one}], present=["{package}"])'


def test_an_unsigned_package_is_refused(converged, variant, on) -> None:
    done = converge(
        "--data", "only=packages", inventory=variant({"web-1": repository("unsigned", "unsigned-tool")}, REPOSITORY)
    )
    assert done.status == 1
    assert "unsigned-tool" in done.err
    assert "Error(1525)" in done.err
    assert done.line("web-1: FAILED")
    assert on("web-1", "rpm -q unsigned-tool || true").strip() == "package unsigned-tool is not installed"
    others_finished(done, "db-1", "edge-1")


def test_a_package_signed_with_another_key_is_refused(converged, variant, on) -> None:
    done = converge(
        "--data", "only=packages", inventory=variant({"web-1": repository("stranger", "stranger-tool")}, REPOSITORY)
    )
    assert done.status == 1
    assert "Error(1514)" in done.err
    assert on("web-1", "rpm -q stranger-tool || true").strip() == "package stranger-tool is not installed"
    others_finished(done, "db-1", "edge-1")


def test_a_repository_that_answers_html_is_no_repository_without_packages(converged, variant) -> None:
    done = converge("--data", "only=packages", inventory=variant({"db-1": repository("portal", "nano")}, REPOSITORY))
    assert done.status == 1
    assert done.line("db-1: FAILED")
    assert "nano" in done.err
    assert "a repository may be answering" in done.err or "portal" in done.err
    others_finished(done, "web-1", "edge-1")


@pytest.fixture(scope="module", autouse=True)
def _tidy(lab, converged):
    """These tests leave repositories behind that break every tdnf command: give the hosts fresh disks."""
    yield
    for name in ("web-1", "db-1", "edge-1"):
        lab.reset(name)
    assert converge().status == 0


def test_an_sshd_config_that_does_not_validate_is_not_put_in_place(converged, variant, on) -> None:
    before = on("edge-1", "sha256sum /etc/ssh/sshd_config")
    done = converge("--data", "only=ssh", inventory=variant({"edge-1": 'Ssh(ciphers=["aes256-ctr", "rot13"])'}))
    assert done.status == 1
    assert "Bad SSH2 cipher spec" in done.err
    assert done.line("edge-1: REVERTED")
    assert on("edge-1", "sha256sum /etc/ssh/sshd_config; ls -A /etc/ssh").split()[:2] == before.split()
    assert "sshd_config." not in on("edge-1", "ls -A /etc/ssh")
    others_finished(done, "web-1", "db-1")


def test_an_image_that_does_not_exist_leaves_the_old_container(converged, variant, on, address) -> None:
    image = 'image="registry.lab/none:1",\n                network'
    path = variant({}, texts={'image="lab/web:1",\n                network': image})
    done = converge(inventory=path)
    assert done.status == 1
    assert "container web: its image registry.lab/none:1 cannot be fetched" in done.err
    assert done.line("web-1: FAILED")
    assert "lab/web:1" in on("web-1", "docker ps --filter name=web --format '{{.Image}}'")
    others_finished(done, "db-1", "edge-1")


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ('Firewall(rules=[Rule(name="ssh", ports=[22], sources=["192.0.2.0/24"])])', f"no rule would let {gateway()}"),
        ('Ssh(root_login="no")', "root_login='no': this run is logged in as root"),
        ("Ssh(ports=[2222])", "ports: this run is connected to port 22"),
        ('Ssh(allow_users=["ops"])', "allow_users: this run is logged in as root"),
    ],
)
def test_a_policy_that_would_cut_this_run_is_refused(converged, variant, on, policy: str, reason: str) -> None:
    before = on("db-1", "sha256sum /etc/ssh/sshd_config /etc/systemd/scripts/ip4save; iptables -S INPUT")
    done = converge("--data", "only=ssh,firewall", inventory=variant({"db-1": policy}))
    assert done.status == 1
    assert f"refused: {reason}" in done.err
    assert done.line("db-1: FAILED")
    assert on("db-1", "sha256sum /etc/ssh/sshd_config /etc/systemd/scripts/ip4save; iptables -S INPUT") == before
    others_finished(done, "web-1", "edge-1")


def test_the_same_is_refused_by_a_dry_run(converged, variant) -> None:
    inventory = variant({"db-1": 'Ssh(root_login="no")'})
    done = dry("--data", "only=ssh", inventory=inventory)
    assert "refused: root_login='no'" in done.err
    assert done.status == 1


def test_an_unreachable_host_is_one_verdict_and_the_others_finish(converged, lab) -> None:
    lab.cut("db-1")
    try:
        done = converge()
        assert done.status == 1
        assert "[db-1]" in done.err
        assert "Could not connect" in done.err
        assert done.line("db-1: could not be reached; nothing was changed")
        others_finished(done, "web-1", "edge-1")
        proof = prove("--limit", "db-1", "--limit", "edge-1")
        assert proof.status == 1
        assert "db-1: unreachable: Could not connect" in proof.out
        assert proof.out.splitlines()[-1].startswith("1 failed, ")
    finally:
        lab.cut("db-1", down=False)


def test_a_link_that_drops_in_the_middle_ends_that_host_in_bounded_time(converged, lab, cut_while_it_runs) -> None:
    runs = "from pyinfra.operations import server\nserver.shell(name='Wait', commands=['sleep 200'])\n"
    deploy = lab.state_dir() / "wait.py"
    deploy.write_text(runs)
    status, err, seconds = cut_while_it_runs(deploy)
    assert seconds < 120
    assert status == 1
    assert "the connection was lost while the command ran" in err


def test_a_changed_host_key_is_refused_with_both_fingerprints(converged, lab, on) -> None:
    expected = on("edge-1", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key").split()[1]
    new_key = "cd /etc/ssh && rm ssh_host_ed25519_key && ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key"
    listed = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key && systemctl kill -s HUP --kill-who=main sshd"
    seen = on("edge-1", f"{new_key} && {listed}").split()[1]
    try:
        done = converge()
        assert done.status == 1
        assert f"expected ssh-ed25519 {expected}, seen ssh-ed25519 {seen}" in done.err
        assert done.line("edge-1: could not be reached")
        others_finished(done, "web-1", "db-1")
        assert f"seen ssh-ed25519 {seen}" in prove("--limit", "edge-1").out
    finally:
        lab.reset("edge-1")


def test_an_unknown_host_key_is_refused_and_not_remembered(converged, lab, address, tmp_path) -> None:
    (tmp_path / "known_hosts").write_text("")
    inventory = tmp_path / "strangers.py"
    inventory.write_text(
        "from deploys.policies.ssh import Ssh\nfrom inventories._fleet import fleet, host\n"
        f'hosts = fleet(host("x", Ssh(), address="{address("web-1")}", ssh_user="root", '
        f'ssh_key="{lab.state_dir()}/id", '
        f'ssh_known_hosts_file="{tmp_path}/known_hosts"))\n'
    )
    done = converge(inventory=str(inventory))
    assert done.status == 1
    assert "no host key is pinned" in done.err
    assert "SHA256:" in done.err
    assert (tmp_path / "known_hosts").read_text() == ""


def test_an_expired_password_is_explained(converged, lab, variant) -> None:
    fresh = 'hosts = fleet(\n    host("fresh-1", base, lab_expired=True),'
    path = variant({}, texts={"hosts = fleet(": fresh})
    done = converge("--data", "only=ssh", inventory=path)
    assert done.status == 1
    assert "the password of the login user has expired" in done.err
    assert done.line("fresh-1: FAILED")
    others_finished(done, "web-1")
    lab.stop("fresh-1")


def test_a_secret_that_cannot_be_had_fails_its_host_only(converged, variant) -> None:
    secret = 'env={"ROLE": Secret.env("NOT_SET_ANYWHERE")}'
    path = variant({}, "from deploys.policies.secret import Secret", {'env={"ROLE": "web"}': secret})
    done = converge(inventory=path)
    assert done.status == 1
    assert "Secret.env('NOT_SET_ANYWHERE'): no such environment variable" in done.err
    assert done.line("web-1: FAILED")
    others_finished(done, "db-1")
