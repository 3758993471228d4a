"""Files: where texts come from, what is never shown, and what belongs to others."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.file_contents import text_of
from deploys.policies.files import Directory, File, Files, Link, Local, Template
from deploys.policies.secret import Secret


def template(directory: Path, text: str = "name = {{ name }}\n") -> Path:
    path = directory / "app.conf.j2"
    path.write_text(text)
    return path


def examples(directory: Path) -> tuple[Files, Files]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Files(
            directories=[Directory(path="/srv/a")],
            files=[File(path="/srv/a/b", content="text")],
            links=[Link(path="/srv/c", target="a")],
        ),
        Files(
            directories=[Directory(path="/srv/a", mode="750", owner="web", group="ops")],
            files=[_both(directory)],
            links=[Link(path="/srv/c", target="b")],
            absent=["/srv/d"],
        ),
    )


def _both(directory: Path) -> File:
    """A file with every field, also with both reload and restart, which no file of a policy may have."""
    one = File(
        path="/srv/a/b", content=Template(path=template(directory), values={"name": "x"}), mode="640", owner="web",
        group="ops", check="true", reload="nginx.service",
    )  # fmt: skip
    return one.model_copy(update={"restart": "nginx.service"})


def test_a_text_comes_from_the_inventory_the_controller_a_template_or_a_secret(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2")
    path = template(tmp_path)
    assert text_of("as it is") == "as it is"
    assert text_of(Local(path=path)) == "name = {{ name }}\n"
    assert text_of(Template(path=path, values={"name": "x"})) == "name = x\n"
    assert text_of(Template(path=path, values={"name": Secret.env("PASSWORD")})) == "name = hunter2\n"
    assert text_of(Secret.env("PASSWORD")) == "hunter2"


def test_nothing_of_a_secret_is_in_the_policy_its_checks_or_its_problems(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2")
    secret = Secret.env("PASSWORD")
    broken = Template(path=template(tmp_path, "{{ name }} {{ nam }}"), values={"name": secret})
    policy = Files(
        files=[
            File(path="/srv/a", content=secret, mode="600"),
            File(path="/srv/b", content=Template(path=template(tmp_path), values={"name": secret}), mode="640"),
            File(path="/srv/c", content=broken, mode="600"),
        ]
    )
    everything = f"{policy!r} {policy.to_json()} {list(policy.problems())} {list(policy.checks())}"
    assert "hunter2" not in everything
    assert "Secret.env('PASSWORD')" in everything


@pytest.mark.parametrize("mode", ["644", "604", "0644", "1644"])
def test_a_secret_that_everybody_could_read_is_refused(mode: str) -> None:
    with pytest.raises(InputError, match="would let everybody read a secret"):
        File(path="/srv/a", content=Secret.env("X"), mode=mode)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/etc/ssh/sshd_config", "belongs to the ssh policy"),
        ("/root/.ssh/authorized_keys", "belongs to the ssh policy"),
        ("/etc/systemd/scripts/ip4save", "belongs to the firewall policy"),
        ("/etc/docker/daemon.json", "belongs to the docker policy"),
        ("/etc/yum.repos.d/x.repo", "belongs to the packages policy"),
        ("/etc/sysctl.d/x.conf", "belongs to the kernel policy"),
        ("/etc/systemd/system/x.service", "belongs to the services policy"),
        ("/etc/shadow", "belongs to the accounts policy"),
        ("/etc/sudoers.d/x", "belongs to the accounts policy"),
        ("/etc/rsyslog.d/90-photon-fleet.conf", "are other policies'"),
        ("/proc/sys/vm/swappiness", "belongs to the system itself"),
        ("/boot/photon.cfg", "belongs to the system itself"),
    ],
)
def test_what_belongs_to_others_is_refused(place: str, reason: str) -> None:
    for policy in (Files(files=[File(path=place, content="x")]), Files(absent=[place])):
        assert reason in "".join(policy.problems())


@pytest.mark.parametrize("place", ["/etc", "/root", "/var/lib", "/tmp"])
def test_the_systems_own_directories_are_left_alone(place: str) -> None:
    assert "belongs to the system itself" in "".join(Files(directories=[Directory(path=place, mode="777")]).problems())


@pytest.mark.parametrize("place", ["srv/a", "/srv/a/", "/srv//a", "/srv/../etc/shadow", "/srv/./a", "", "/a\nb"])
def test_paths_are_plain(place: str) -> None:
    with pytest.raises(InputError, match="no plain absolute path"):
        File(path=place, content="x")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (Local(path="no/such/file"), "no/such/file: No such file or directory"),
        ("{{ nam }}", "'nam' is undefined"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_what_cannot_be_read_or_rendered_is_said_before_any_connection(tmp_path, content, complaint: str) -> None:
    given = Template(path=template(tmp_path, content), values={"name": "x"}) if isinstance(content, str) else content
    assert complaint in "".join(Files(files=[File(path="/srv/a", content=given)]).problems())


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x" * 1_000_001])
def test_what_is_no_text_or_too_much_is_refused(tmp_path, data: bytes) -> None:
    (tmp_path / "data").write_bytes(data)
    (problem,) = Files(files=[File(path="/srv/a", content=Local(path=tmp_path / "data"))]).problems()
    assert "no text in UTF-8" in problem or "more than 1000000" in problem


def test_one_path_is_one_thing() -> None:
    policy = Files(files=[File(path="/srv/a", content="x")], links=[Link(path="/srv/a", target="b")], absent=["/srv"])
    problems = "\n".join(policy.problems())
    assert "links[/srv/a]: it is among the files as well" in problems
    assert "absent[/srv]: /srv/a of this policy is in it" in problems


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"mode": "rw"}, "no mode"),
        ({"owner": "-x"}, "no name of a user or group"),
        ({"reload": "a.service", "restart": "a.service"}, "one of them is enough"),
        ({"reload": "nginx"}, "no whole name of a unit"),
    ],
)
def test_bad_fields_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        File(**{"path": "/srv/a", "content": "x", **fields})
