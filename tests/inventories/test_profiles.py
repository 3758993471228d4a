"""Profiles are hints of the user's own: anything else that lies in the cache is ignored."""

from __future__ import annotations

import json
import os
import stat

import pytest

from inventories import _profiles
from inventories._profiles import Key, Recorder, directory, load, newest, save

RUN = {"deploy": ["deploys/host.py"], "only": None, "groups": ["web"], "versions": ["0.1.0", "3.10"]}
KEY = Key.of(RUN, {"ssh": {"ports": [22]}})
PHASES = {"facts": ["a", "b", "a"], "proof": ["c"]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_saved_is_loaded_with_its_order_and_repeats() -> None:
    save(KEY, PHASES)
    assert load(KEY) == PHASES


def test_it_is_for_the_user_alone() -> None:
    save(KEY, PHASES)
    path = directory() / KEY.filename
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory().stat().st_mode) == 0o700
    assert [entry.name for entry in directory().iterdir()] == [KEY.filename]


@pytest.mark.parametrize(
    "other",
    [
        {**RUN, "deploy": ["deploys/vm.py"]},
        {**RUN, "only": "firewall"},
        {**RUN, "groups": ["db"]},
        {**RUN, "versions": ["0.2.0", "3.10"]},
    ],
)
def test_another_kind_of_run_has_its_own(other: dict[str, object]) -> None:
    save(KEY, PHASES)
    key = Key.of(other, {"ssh": {"ports": [22]}})
    assert load(key) is None
    assert newest(key.family) == {}


def test_after_a_change_of_a_policy_the_newest_of_the_family_serves() -> None:
    old, new, changed = (Key.of(RUN, {"ssh": {"ports": [port]}}) for port in (1, 2, 3))
    save(old, {"facts": ["old"]})
    save(new, {"facts": ["new"]})
    os.utime(directory() / old.filename, (1, 1))
    assert Recorder().opened(changed) == {"facts": ["new"]}
    save(changed, {"facts": ["exact"]})
    os.utime(directory() / changed.filename, (2, 2))
    assert Recorder().opened(changed) == {"facts": ["exact"]}


def _truncate(path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _foreign_family(path) -> None:
    path.write_text(path.read_text().replace(KEY.family, "0" * 24))


def _other_format(path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "format": 99}))


def _bad_index(path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "phases": {"facts": [7]}}))


def _no_text(path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "commands": [1, 2, 3]}))


def _link(path) -> None:
    real = path.with_name("real")
    path.rename(real)
    path.symlink_to(real)


def _too_long(path) -> None:
    path.write_text(path.read_text() + " " * _profiles.MAX_BYTES)


@pytest.mark.parametrize(
    "spoil",
    [
        _truncate, _foreign_family, _other_format, _bad_index, _no_text, _link, _too_long,
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text("[]"),
        lambda path: path.chmod(0o620),
        lambda path: path.chmod(0o602),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ],
)  # fmt: skip
def test_what_is_not_a_profile_of_ours_is_ignored(spoil) -> None:
    save(KEY, PHASES)
    spoil(directory() / KEY.filename)
    assert load(KEY) is None
    assert newest(KEY.family) == {}


def test_a_file_of_another_user_is_ignored(monkeypatch) -> None:
    save(KEY, PHASES)
    monkeypatch.setattr(_profiles.os, "geteuid", lambda: 4711)
    assert load(KEY) is None


def test_a_directory_that_others_may_write_is_not_used() -> None:
    save(KEY, PHASES)
    directory().chmod(0o777)
    assert load(KEY) is None
    save(Key.of(RUN, "more"), PHASES)
    assert len(list(directory().iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_no_trouble(cache) -> None:
    cache.write_text("a file where the directory should be")
    save(KEY, PHASES)
    assert load(KEY) is None


def test_the_cache_is_bounded() -> None:
    save(KEY, {"facts": ["x" * (_profiles.MAX_BYTES + 1)]})
    assert not directory().exists()
    for number in range(_profiles.MAX_FILES + 10):
        save(Key.of(RUN, number), PHASES)
    assert len(list(directory().iterdir())) == _profiles.MAX_FILES


def test_an_old_profile_goes(monkeypatch) -> None:
    save(KEY, PHASES)
    os.utime(directory() / KEY.filename, (1, 1))
    save(Key.of(RUN, "newer"), PHASES)
    assert len(list(directory().iterdir())) == 1


def test_the_last_host_of_a_run_writes_what_all_have_read() -> None:
    recorder = Recorder()
    for _ in range(3):
        assert recorder.opened(KEY) == {}
    recorder.closed(KEY, {"facts": ["a", "b"]})
    recorder.closed(KEY, {})
    assert load(KEY) is None
    recorder.closed(KEY, {"facts": ["a", "x", "b", "a"]})
    assert load(KEY) == {"facts": ["a", "x", "b", "a"]}


def test_what_only_some_hosts_read_is_kept_behind_and_a_phase_that_was_not_reached_stays() -> None:
    save(KEY, {"facts": ["stale"], "proof": ["p"]})
    recorder = Recorder()
    recorder.opened(KEY)
    recorder.opened(KEY)
    recorder.closed(KEY, {"facts": ["a", "b", "c"]})
    recorder.closed(KEY, {"facts": ["a", "z"]})
    assert load(KEY) == {"facts": ["a", "b", "c", "z"], "proof": ["p"]}


def test_nothing_is_written_when_nothing_is_new() -> None:
    save(KEY, PHASES)
    os.utime(directory() / KEY.filename, (5, 5))
    recorder = Recorder()
    recorder.opened(KEY)
    recorder.closed(KEY, PHASES)
    # Only when it was last used: the oldest go first.
    assert (directory() / KEY.filename).stat().st_mtime > 5
    assert [entry.name for entry in directory().iterdir()] == [KEY.filename]


def test_hosts_with_policies_of_their_own_share_what_is_known_of_their_family(monkeypatch) -> None:
    save(KEY, PHASES)
    recorder, reads = Recorder(), []
    original = _profiles.newest
    monkeypatch.setattr(_profiles, "newest", lambda family: reads.append(family) or original(family))
    known = [recorder.opened(Key.of(RUN, number)) for number in range(50)]
    assert len(reads) == 1
    assert all(each is known[0] for each in known)


def test_a_user_without_a_home_has_no_profiles(monkeypatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(_profiles.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    save(KEY, PHASES)
    assert load(KEY) is None
    assert newest(KEY.family) == {}


def test_a_command_that_cannot_be_sent_is_no_command() -> None:
    save(KEY, {"facts": ["cat /tmp/\udcff"]})
    assert load(KEY) is None
