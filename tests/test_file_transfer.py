"""Several files in one transfer, carried out by a real shell: all of them or none."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess

import pytest

from operations.file import Text, write_all

USER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name
FILES = {"a.conf": "one\n", "sub dir/it's": "two\nüber\n", "empty": "\n"}


def carry_out(files: list[Text], cut: int | None = None, after: str = "") -> int:
    command = write_all(files, after=after)
    content = command.connector_arguments["_stdin"].encode()
    return subprocess.run(["sh", "-c", command.get_raw_value()], input=content[:cut], check=False).returncode


@pytest.fixture
def wanted(tmp_path) -> list[Text]:
    return [Text(str(tmp_path / name), content, "640", USER, GROUP) for name, content in FILES.items()]


def found(tmp_path) -> dict[str, str]:
    paths = (path for path in tmp_path.rglob("*") if path.is_file())
    return {str(path.relative_to(tmp_path)): path.read_text() for path in paths}


def test_all_are_written_with_their_mode(wanted, tmp_path) -> None:
    assert carry_out(wanted, after=f"touch '{tmp_path}/after'") == 0
    assert found(tmp_path) == {**FILES, "after": ""}
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in FILES} == {0o640}


@pytest.mark.parametrize("cut", [0, 2, 4, 9, 13])
def test_a_transfer_that_is_cut_replaces_none(wanted, tmp_path, cut: int) -> None:
    (tmp_path / "a.conf").write_text("old")
    assert carry_out(wanted, cut=cut, after=f"touch '{tmp_path}/after'") != 0
    assert found(tmp_path) == {"a.conf": "old"}


def test_a_target_that_cannot_be_replaced_fails_and_what_was_replaced_holds(wanted, tmp_path) -> None:
    (tmp_path / "sub dir" / "it's" / "kept").mkdir(parents=True)
    assert carry_out(wanted, after=f"touch '{tmp_path}/after'") != 0
    assert found(tmp_path) == {"a.conf": "one\n", "after": ""}


def test_what_makes_them_hold_may_fail(wanted) -> None:
    assert carry_out(wanted, after="false") != 0


def test_one_that_cannot_be_written_keeps_the_others(wanted, tmp_path) -> None:
    (tmp_path / "a.conf").write_text("old")
    (tmp_path / "file").write_text("")
    assert carry_out([*wanted, Text(str(tmp_path / "file/below"), "x", "644", USER, GROUP)]) != 0
    assert found(tmp_path) == {"a.conf": "old", "file": ""}
