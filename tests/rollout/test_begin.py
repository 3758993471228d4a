"""What is rolled out is of commits: an inventory file by one name, and no way out of its checkout."""

from __future__ import annotations

import subprocess

import pytest
from click.testing import CliRunner

from deploys.__main__ import main
from deploys.refusal import Refusal
from deploys.rollout.begin import Meant, inventory_in, planned
from deploys.rollout.digests import _content, digest_of
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


NAMES = """
from pathlib import Path
from deploys.policies.file_contents import Local, Template
from deploys.policies.files import File, Files
from deploys.policies.secret import Secret
from inventories._fleet import fleet, host
def one(name, content):
    return host(name, Files(files=[File(path="/etc/motd", content=content, mode="600")]))
hosts = fleet(
    one("local", Local(path="texts/motd")),
    one("template", Template(path="texts/motd.j2", values={})),
    one("here", Local(path=Path(__file__).parent / "motd")),
    one("secret", Secret.command("sops", "-d", "texts/secret.yaml")),
    one("text", "texts/other"),
    one("same", "as ever"),
    connector="fake",
)
"""


@pytest.mark.parametrize(("file", "hosts"), [
    ("texts/motd", ["local"]), ("texts/motd.j2", ["template"]), ("fleets/motd", ["here"]),
    ("texts/secret.yaml", ["secret"]), ("texts/nobodys", []),
])  # fmt: skip
def test_a_file_that_a_policy_names_is_a_reason_for_its_hosts(place, file, hosts) -> None:
    def commit(**texts: str) -> str:
        for name, text in texts.items():
            (place.repository / name).parent.mkdir(exist_ok=True)
            (place.repository / name).write_text(text)
        git(place.repository, "add", "--all")
        git(place.repository, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "one")
        return git(place.repository, "rev-parse", "HEAD")

    files = ("texts/motd", "texts/motd.j2", "fleets/motd", "texts/secret.yaml", "texts/nobodys")
    earlier = commit(**{"fleets/two.py": NAMES}, **dict.fromkeys(files, "one"))
    later = commit(**{file: "two"})
    found = planned(place, store_of(place), Meant("fleets/two.py", later, earlier, "a test", since=earlier))
    assert found.reasons == {f"@fake/{name}": "files differs" for name in hosts}


def test_a_digest_is_of_what_is_in_the_checkout_alone(tmp_path) -> None:
    for name, text in (("a/one", "1"), ("b/one", "1"), ("c/one", "2"), ("out", "1")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    digests = [digest_of({"file": str(tree / "one"), "more": ["one"]}, [tree]) for tree in (a, b, c)]
    assert digests[0] == digests[1] != digests[2]
    before = digest_of({"file": "../out", "long": "x" * 5000, "odd": "a\0b"}, [a])
    (tmp_path / "out").write_text("2")
    _content.cache_clear()
    assert digest_of({"file": "../out", "long": "x" * 5000, "odd": "a\0b"}, [a]) == before


@pytest.mark.parametrize("reference", [
    ["sops", "-d", "s/x.yaml"], ["sops", "-d", "{tree}/s/x.yaml"], ["sops", "--decrypt", "--input=s/x.yaml"],
    ["sh", "-c", "sops -d s/x.yaml | head -1"], ["sh", "-c", 'age -d -i "s/my key"<s/x'],
    ["sh", "-c", "cat s/x;: s/x.yaml"],
])  # fmt: skip
def test_a_file_within_the_words_of_a_secrets_command_counts(tmp_path, reference) -> None:
    digests = []
    for number in range(2):
        tree = tmp_path / str(number)
        (tree / "s").mkdir(parents=True)
        for name in ("x.yaml", "my key"):
            (tree / "s" / name).write_text(str(number))
        words = [word.format(tree=tree) for word in reference]
        digests.append(digest_of({"content": {"kind": "command", "reference": words}}, [tree]))
    assert digests[0] != digests[1]


def test_a_text_that_speaks_of_a_file_is_the_same_when_the_file_is_another(tmp_path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "README").write_text(name)
    found = {digest_of({"content": "see README for more"}, [tmp_path / name]) for name in "ab"}
    assert len(found) == 1


@pytest.mark.parametrize(
    "text", ["{tree}", "--top={tree}", "{tree}:/usr", "cd '{tree}'; make", 'cd "{tree}"\n', "{tree}/"]
)
def test_the_checkouts_own_path_does_not_count(tmp_path, text) -> None:
    trees = [tmp_path / name for name in ("one", "two")]
    found = {digest_of({"path": text.format(tree=tree)}, [tree]) for tree in trees}
    assert found == {digest_of({"path": text.format(tree=trees[1])}, [trees[1], tmp_path])}
    beside = {digest_of({"path": f"{tree}-more/a"}, [tree]) for tree in trees}
    assert len(beside) == 2
