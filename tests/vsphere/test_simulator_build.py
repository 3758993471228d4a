"""Building the simulator where something is missing or wrong: a sentence for the person at the terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab import vcenter
from tests.lab.errors import LabError
from tests.lab.vcenter import build


def test_a_person_without_root_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "PACKAGES", {"golang-go": "/nowhere/go", "bash": "sh"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs golang-go: install them, or run this as root"):
        vcenter.start()


def test_a_build_that_fails_says_why(
    vcenter_program: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "main.go").write_text("package main\n\nfunc main() { nothing }\n")
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    with pytest.raises(LabError, match=r"cannot be built: (.|\n)*nothing"):
        build.program()
    assert "building the vCenter simulator" in capsys.readouterr().err
    assert not list((tmp_path / "cache").glob("vcenter-*"))


def test_a_program_is_built_when_its_sources_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    (tmp_path / "a.go").write_text("one")
    first = build._digest()
    (tmp_path / "notes.txt").write_text("no source")
    assert build._digest() == first
    (tmp_path / "a.go").write_text("two")
    assert build._digest() != first
