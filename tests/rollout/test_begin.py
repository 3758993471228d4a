"""What is rolled out is of commits: an inventory file by one name, and no way out of its checkout."""

from __future__ import annotations

import subprocess

import pytest
from click.testing import CliRunner

from deploys.__main__ import main
from deploys.refusal import Refusal
from deploys.rollout.begin import Meant, inventory_in, planned
from deploys.rollout.place import Place, git, store_of
from tests.rollout.played import ROOT

FLEET = """
from inventories._fleet import fleet, host
hosts = fleet(host("web-1"), connector="fake")
"""
CODE = ("deploys", "facts", "inventories", "operations", "templates")


@pytest.fixture
def place(tmp_path) -> Place:
    """A repository whose code is the one that is tested."""
    top = tmp_path / "fleet"
    (top / "fleets").mkdir(parents=True)
    (top / "fleets" / "one.py").write_text(FLEET)
    (top / "linked.py").symlink_to("fleets/one.py")
    (top / "outside").symlink_to(tmp_path)
    for name in CODE:
        (top / name).symlink_to(ROOT / name)
    (tmp_path / "wild.py").write_text(FLEET)
    subprocess.run(["git", "init", "--quiet", str(top)], check=True)
    git(top, "add", "--all")
    git(top, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "one")
    return Place(top, tmp_path / "state")


@pytest.mark.parametrize("text", [
    "fleets/one.py", "./fleets/one.py", "fleets/../fleets//one.py", "{top}/fleets/one.py", "{top}/./fleets/one.py",
    "../fleet/fleets/one.py", "{other}/fleets/one.py",
])  # fmt: skip
def test_a_file_has_one_name(place, tmp_path, text) -> None:
    (tmp_path / "other").symlink_to(place.repository)
    assert inventory_in(place, text.format(top=place.repository, other=tmp_path / "other")) == "fleets/one.py"


@pytest.mark.parametrize("text", ["../wild.py", "{up}/wild.py", "fleets/../../wild.py", "/etc/passwd", ".", ""])
def test_what_leads_out_of_the_repository_is_refused(place, tmp_path, text) -> None:
    with pytest.raises(Refusal, match="is no file of "):
        inventory_in(place, text.format(up=tmp_path))


@pytest.mark.parametrize("text", ["linked.py", "outside/wild.py", "./fleets/one.py", "{top}/fleets/one.py"])
def test_nothing_is_rolled_out_that_may_be_in_no_commit(place, text) -> None:
    head = git(place.repository, "rev-parse", "HEAD")
    with pytest.raises(Refusal, match=r"is no file of .* itself, but leads elsewhere"):
        planned(place, store_of(place), Meant(text.format(top=place.repository), head, head, "a test"))
    found = planned(place, store_of(place), Meant("fleets/one.py", head, head, "a test"))
    assert [wave.hosts for wave in found.new.waves] == [("@fake/web-1",)]


@pytest.mark.parametrize("command", [["rollout", "--why", "a test"], ["watch", "--once"], ["plan"], ["drift"]])
def test_each_command_refuses_what_is_elsewhere(place, monkeypatch, command) -> None:
    monkeypatch.setenv("PHOTON_FLEET_STATE", str(place.state))
    monkeypatch.chdir(place.repository)
    with pytest.raises(Refusal, match="is no file of "):
        CliRunner().invoke(main, [*command, "../wild.py"], catch_exceptions=False, standalone_mode=False)
