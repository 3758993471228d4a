"""The guard's shell script by itself, with every shell that hosts have: what it saves, what it puts back, what it says.

The timer and the unit for the next boot are left out here; tests/converge has them on real hosts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploys.guard.guard import outcome
from deploys.policies.base import Undo
from deploys.policies.render import render

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
WITHOUT_SYSTEMD = """
start_timer() { :; }
install_boot_unit() { :; }
disarm_timer() { :; }
change_in_background() { :; }
"""
RUNNING = f"""{WITHOUT_SYSTEMD}
save_running() {{ cp "$live" "$saved/live"; }}
restore_running() {{ cp "$saved/live" "$live"; }}
check_running() {{ [ "$(cat "$live")" = "$(cat "$saved/live")" ] || echo "live is not as it was"; }}
"""


class Place:
    """A directory that plays the host, and the guard of one change there."""

    def __init__(self, root: Path, shell: list[str]) -> None:
        self.root, self.shell = root, shell
        self.etc, self.state, self.live = root / "etc", root / "state", root / "live"
        self.etc.mkdir()
        self.live.write_text("old")
        self.running = RUNNING

    def write(self, identity: str = "run-x", paths: tuple[str, ...] = ()) -> Path:
        text = render(
            "guard/guard.sh", id=identity, seconds=60, state=self.state, boot_unit="none.service",
            background="none.service",
            paths=paths or (str(self.etc),), about="policy: x\nby: me, process 1\ncommit: abc",
            running=f"live={self.live}\n{self.running}",
        )  # fmt: skip
        path = self.root / f"{identity}.sh"
        path.write_text(text)
        return path

    def call(self, script: Path, *words: str) -> tuple[int, list[str], str]:
        done = subprocess.run([*self.shell, script, *words], capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout.splitlines(), done.stderr

    def armed(self, *words: str) -> tuple[int, list[str], str]:
        return self.call(self.state / "armed" / "guard.sh", *words)

    def picture(self) -> dict[str, str]:
        found = {}
        for path in sorted(self.etc.rglob("*")):
            kind = f"-> {path.readlink()}" if path.is_symlink() else path.read_text() if path.is_file() else "directory"
            found[str(path.relative_to(self.etc))] = f"{path.lstat().st_mode:o} {kind}"
        return found


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def place(request, tmp_path) -> Place:
    made = Place(tmp_path, request.param)
    (made.etc / "a").write_text("a")
    (made.etc / "a").chmod(0o600)
    (made.etc / "sub").mkdir(mode=0o750)
    (made.etc / "sub" / "b c").write_text("b")
    (made.etc / "link").symlink_to("a")
    return made


def wreck(etc: Path) -> None:
    (etc / "a").write_text("changed")
    (etc / "a").chmod(0o644)
    shutil.rmtree(etc / "sub")
    (etc / "sub").write_text("a file now")
    (etc / "link").unlink()
    (etc / "link").mkdir()
    (etc / "link" / "new").write_text("new")
    (etc / "added").write_text("new")
    (etc / "more").mkdir()
    (etc / "more" / "deep").write_text("new")


def test_everything_is_put_back(place) -> None:
    before = place.picture()
    assert place.call(place.write(), "arm") == (0, ["armed"], "")
    wreck(place.etc)
    place.live.write_text("new")
    status, lines, _ = place.armed("revert", "timer")
    assert status == 0
    assert place.picture() == before
    assert place.live.read_text() == "old"
    told = outcome("x", lines)
    assert told.startswith("REVERTED: the change to x of 20")
    assert "by me, process 1 (commit abc)" in told
    assert "because: timer. All that it touched is as it was before." in told
    assert not (place.state / "armed").exists()
    assert (place.state / "verdict").read_text().splitlines() == lines


def test_what_was_confirmed_stays(place) -> None:
    place.call(place.write(), "arm")
    wreck(place.etc)
    after = place.picture()
    assert place.armed("confirm", "run-x") == (0, ["confirmed"], "")
    assert place.call(place.state / "saved" / "guard.sh", "confirm", "run-x") == (0, ["confirmed"], "")
    assert place.picture() == after
    assert place.call(place.state / "saved" / "guard.sh", "revert", "timer")[0] == 1
    assert place.picture() == after


def test_a_change_that_is_not_complete_is_not_confirmed(place) -> None:
    """Also not later: who asked may be cut off by then."""
    place.running = f"{WITHOUT_SYSTEMD}\nchange_in_background() {{ echo running; }}"
    place.call(place.write(), "arm")
    assert place.armed("confirm", "run-x") == (0, ["incomplete"], "")
    assert (place.state / "armed").exists()


def test_who_logged_in_before_the_change_was_complete_confirms_nothing(place) -> None:
    """It was made in the background: only a connection that came after the host has seen its end counts."""
    place.call(place.write(), "arm")
    (place.state / "armed/late").touch()
    assert place.armed("confirm", "run-x") == (0, ["incomplete"], "")
    assert (place.state / "armed").exists()
    assert place.armed("confirm", "run-x") == (0, ["confirmed"], "")


def test_a_change_that_has_failed_is_not_confirmed(place) -> None:
    place.running = f"{WITHOUT_SYSTEMD}\nchange_in_background() {{ echo failed; }}\nsystemctl() {{ :; }}"
    place.call(place.write(), "arm")
    status, _, errors = place.armed("confirm", "run-x")
    assert (status, errors) == (1, "the change has failed on the host\n")
    assert (place.state / "armed").exists()


def test_a_later_change_of_the_policy_goes_back_to_before_the_first(place) -> None:
    before = place.picture()
    script = place.write()
    place.call(script, "arm")
    (place.etc / "a").write_text("first change")
    place.armed("confirm", "run-x")
    assert place.call(script, "arm") == (0, ["armed"], "")
    wreck(place.etc)
    place.armed("revert", "timer")
    assert place.picture() == before


def test_another_change_saves_anew(place) -> None:
    place.call(place.write(), "arm")
    (place.etc / "a").write_text("first change")
    place.armed("confirm", "run-x")
    place.call(place.write("run-y"), "arm")
    wreck(place.etc)
    place.armed("revert", "timer")
    assert (place.etc / "a").read_text() == "first change"


def test_two_changes_are_never_armed_at_once(place) -> None:
    place.call(place.write(), "arm")
    status, lines, _ = place.call(place.write("run-y"), "arm")
    assert status == 75
    assert lines[0] == "refused: another change of this host is not confirmed yet:"
    assert "by: me, process 1" in lines
    assert (place.state / "armed" / "id").read_text() == "run-x\n"


def test_a_confirmation_that_comes_too_late_tells_the_verdict(place) -> None:
    before = place.picture()
    place.call(place.write(), "arm")
    wreck(place.etc)
    place.armed("revert", "boot")
    _, lines, _ = place.call(place.state / "last" / "guard.sh", "confirm", "run-x")
    assert "confirmed" not in lines
    assert outcome("x", lines).startswith("REVERTED: ")
    assert place.picture() == before
    assert place.call(place.state / "last" / "guard.sh", "confirm", "run-other")[0] == 1


def test_at_boot_nothing_is_restarted(place) -> None:
    place.call(place.write(), "arm")
    place.live.write_text("new")
    wreck(place.etc)
    _, lines, _ = place.armed("revert", "boot")
    assert place.live.read_text() == "new"
    assert outcome("x", lines).startswith("REVERTED: ")


def test_a_way_back_that_was_interrupted_goes_on(place) -> None:
    before = place.picture()
    place.call(place.write(), "arm")
    wreck(place.etc)
    # As after a power cut in the middle: some files are back, and their copies gone.
    number = next(
        line.split()[0] for line in (place.state / "armed/manifest").read_text().splitlines() if line.endswith("/a")
    )
    (place.state / "armed/files" / number).replace(place.etc / "a")
    _, lines, _ = place.armed("revert", "boot")
    assert place.picture() == before
    assert outcome("x", lines).startswith("REVERTED: ")


@pytest.mark.parametrize("begun", [False, True])
def test_a_change_that_had_not_begun_is_not_said_to_be_undone(place, begun: bool) -> None:
    place.running = f"{RUNNING}\nuntouched() {{ [ ! -e {place.root}/begun ]; }}"
    place.call(place.write(), "arm")
    if begun:
        (place.root / "begun").touch()
    _, lines, _ = place.armed("revert", "refused: no room")
    told = outcome("x", lines)
    assert told.startswith("REVERTED: " if begun else "NOT CHANGED: the change to x of 20")
    assert begun or told.endswith("was not begun (refused: no room).")


def test_what_cannot_be_put_back_is_named(place) -> None:
    place.call(place.write(), "arm")
    wreck(place.etc)
    for saved in (place.state / "armed/files").iterdir():
        saved.unlink()
    place.live.write_text("new")
    (place.state / "armed/running/live").unlink()
    _, lines, _ = place.armed("revert", "timer")
    told = outcome("x", lines)
    assert told.startswith("NOT REVERTED: ")
    assert f"{place.etc}/a is not as it was" in told
    assert "live is not as it was" in told


def test_nothing_is_armed_when_something_cannot_be_saved(place) -> None:
    place.running = f"{WITHOUT_SYSTEMD}\nsave_running() {{ return 1; }}"
    status, _, errors = place.call(place.write(), "arm")
    assert status == 1
    assert "cannot save what is in force" in errors
    assert not (place.state / "armed").exists()


def test_nothing_is_armed_without_a_timer(place) -> None:
    place.running = f"{WITHOUT_SYSTEMD}\nstart_timer() {{ return 1; }}"
    status, _, errors = place.call(place.write(), "arm")
    assert status == 1
    assert "cannot start the timer" in errors
    assert not (place.state / "armed").exists()


def test_paths_that_are_not_there_are_absent_again_afterwards(place) -> None:
    new = place.etc / "new" / "file"
    place.call(place.write(paths=(str(new), str(place.etc / "new dir"))), "arm")
    new.parent.mkdir()
    new.write_text("x")
    (place.etc / "new dir").mkdir()
    place.armed("revert", "timer")
    assert not new.exists()
    assert not (place.etc / "new dir").exists()


def test_a_path_in_the_home_of_a_user(place) -> None:
    name = os.environ.get("USER") or "root"
    script = place.write(paths=(f"~{name}/.nothing-of-this-name", "~nobody-of-this-name/.ssh/authorized_keys"))
    assert place.call(script, "arm") == (0, ["armed"], "")
    manifest = (place.state / "armed/manifest").read_text().splitlines()
    assert manifest == [f"1 absent {Path.home()}/.nothing-of-this-name"]


@pytest.mark.parametrize("path", ["", "/", "/etc", "/etc/", "relative", "/a\nb", "/root"])
def test_too_much_or_nothing_is_no_path_of_a_guard(path: str) -> None:
    with pytest.raises(ValueError, match="nothing that a guard could save"):
        Undo(paths=(path,))
