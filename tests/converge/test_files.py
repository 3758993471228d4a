"""The files policy on a lab host: texts, secrets, links and directories, and a unit that has to read its file again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.converge.alone import Alone
from tests.converge.conftest import converge

pytestmark = pytest.mark.lab

IMPORTS = """
from deploys.policies.files import Directory, File, Files, Link, Template
from deploys.policies.secret import Secret
"""
SECRET = "correct-horse-battery"
UNIT = """
cat > /etc/systemd/system/reader.service <<'X'
[Service]
ExecStart=/bin/sleep infinity
ExecReload=/bin/sh -c 'cat /srv/app/app.conf >> /run/reloads'
X
useradd -r web 2>/dev/null; systemctl daemon-reload; systemctl restart reader; mkdir -p /srv/old
touch /srv/old.conf; ln -sfn /nowhere /srv/broken
"""


@pytest.fixture
def files(lab, variant, on, tmp_path, monkeypatch) -> Alone:
    monkeypatch.setenv("APP_PASSWORD", SECRET)
    (tmp_path / "app.conf.j2").write_text("{% for name in names %}\nname {{ name }}\n{% endfor %}\nlimit {{ limit }}\n")
    lab.boot("db-1")
    on("db-1", UNIT)
    policy = f"""Files(
        directories=[Directory(path="/srv/app", mode="2750", owner="web", group="web")],
        files=[
            File(
                path="/srv/app/app.conf", reload="reader.service", check='grep -q "^limit [0-9]*$" "$new"',
                content=Template(path="{tmp_path}/app.conf.j2", values={{"names": ("a", "b"), "limit": 7}}),
            ),
            File(path="/srv/app/password", content=Secret.env("APP_PASSWORD"), mode="600", owner="web", group="web"),
            File(path="/etc/motd", content="Welcome to it's $(host) \\\\ 100 %"),
        ],
        links=[Link(path="/srv/current", target="app")],
        absent=["/srv/old", "/srv/old.conf", "/srv/broken"],
    )"""
    return Alone("files", policy, IMPORTS, variant)


def test_everything_is_there_and_nothing_of_a_secret_is_shown(files, on) -> None:
    done = files.converge("-vvv")
    assert done.status == 0, done.all
    assert SECRET not in done.all
    files.follows()
    assert on("db-1", "cat /srv/current/app.conf /etc/motd").splitlines() == [
        "name a", "name b", "limit 7", "Welcome to it's $(host) \\ 100 %",
    ]  # fmt: skip
    assert on("db-1", "cat /srv/app/password").strip() == SECRET
    assert on("db-1", "stat -c '%a %U:%G' /srv/app /srv/app/password /etc/motd").splitlines() == [
        "2750 web:web", "600 web:web", "644 root:root",
    ]  # fmt: skip
    assert "limit 7" in on("db-1", "cat /run/reloads")
    assert on("db-1", "ls -d /srv/old* /srv/broken 2>/dev/null || true") == ""


def test_what_is_broken_is_named_and_mended(files, on) -> None:
    files.ready()
    on(
        "db-1",
        "chmod 755 /srv/app; chmod g-s /srv/app; echo more >> /srv/app/password; sed -i s/7/8/ /srv/app/app.conf; "
        "chown web /etc/motd; ln -sfn old /srv/current; touch /srv/old.conf; mkdir /srv/old; sleep 1; "
        "touch /srv/app/app.conf",
    )
    assert files.broken() == {
        "files.directory[/srv/app].status", "files.file[/srv/app/password].content",
        "files.file[/srv/app/app.conf].content", "files.file[/srv/app/app.conf].in-force",
        "files.file[/etc/motd].status", "files.link[/srv/current]", "files.absent[/srv/old]",
        "files.absent[/srv/old.conf]",
    }  # fmt: skip
    proof = files.converge("--data", "prove=false")
    assert SECRET not in proof.all
    files.follows()


def test_a_run_that_was_killed_before_the_reload_is_made_good(files, on) -> None:
    files.ready()
    on("db-1", "rm -f /run/reloads; sleep 1; touch /srv/app/app.conf")
    assert files.broken() == {"files.file[/srv/app/app.conf].in-force"}
    assert files.mended() == 1
    assert "limit 7" in on("db-1", "cat /run/reloads")


def test_what_is_something_else_is_not_replaced(files, on) -> None:
    on(
        "db-1",
        "rm -rf /srv/current /etc/motd; mkdir -p /srv/current /etc/motd/kept; mkdir -p /srv/old; touch /srv/old/x",
    )
    try:
        said = files.refused()
        assert "expected a regular file, found a directory" in said
        on("db-1", "rm -r /etc/motd")
        assert "/srv/current: a directory is there, which is not replaced by a link" in files.refused()
        on("db-1", "rmdir /srv/current")
        assert "Directory not empty" in files.refused()
        assert on("db-1", "ls /srv/old").strip() == "x"
    finally:
        on("db-1", "rm -rf /etc/motd /srv/current /srv/old")


def test_a_text_that_does_not_pass_its_check_is_not_put_in_place(files, on) -> None:
    files.ready()
    wrong = replace(files, policy=files.policy.replace('"limit": 7', '"limit": "many"'))
    wrong.refused()
    assert "limit 7" in on("db-1", "cat /srv/app/app.conf")
    assert on("db-1", "ls -A /srv/app").split() == ["app.conf", "password"]


def test_a_unit_that_is_not_there_is_named(files) -> None:
    wrong = replace(files, policy='Files(files=[File(path="/srv/note", content="x", restart="readr.service")])')
    wrong.refused()
    assert "there is no unit readr.service" in wrong.refused()


def test_a_path_of_another_policy_is_refused_before_any_connection(files, variant) -> None:
    inventory = variant({"db-1": 'Files(files=[File(path="/etc/ssh/sshd_config", content="x")])'}, IMPORTS)
    done = converge(inventory=inventory)
    assert done.status == 1
    assert "db-1: files: files[/etc/ssh/sshd_config]: it belongs to the ssh policy" in done.err
    assert "Connected" not in done.err
