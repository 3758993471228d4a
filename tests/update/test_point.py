"""The point of an update: which files the way back needs, and the script under dash and bash.

rpm and tdnf are stand-ins here; tests/converge has them on real hosts.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from facts._point import Point, point
from facts.update import UpdatePoint
from operations._point import leaving, script
from operations._updates import nothing

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]

# Installed packages are the lines of a file; -U puts the packages of files in the place of those of the same name.
RPM = """#!/bin/sh
db=$PLACE/db
case $1 in
  -qa) sed 's/^\\([^ ]*\\) \\([^ ]*\\)$/\\1 0:\\2 x86_64/' "$db" ;;
  -q) shift; [ "$1" != --qf ] || shift 2; grep -q "^$1 " "$db" ;;
  -qp) basename "$4" | sed 's/-.*//' ;;
  -K) case $(cat "$2") in *signed*) echo "$2: digests signatures OK" ;; *) echo "$2: digests OK" ;; esac ;;
  -V) [ ! -e "$PLACE/differs" ] || grep -x "$2" "$PLACE/differs" ;;
  -U|-i) for file; do case $file in *.rpm)
      line=$(basename "$file" .x86_64.rpm | sed 's/-/ /'); [ "$1" = -i ] || sed -i "/^${line%% *} /d" "$db"
      echo "$line" >> "$db" ;; esac; done ;;
  -e) line=$(echo "$3" | sed 's/\\.x86_64$//; s/-/ /'); sed -i "/^$line\\$/d" "$db" ;;
esac
"""


class Host:
    """A directory that plays the host."""

    def __init__(self, place: Path, shell: str) -> None:
        self.place, self.shell = place, shell
        self.cache = place / "cache"
        (place / "bin").mkdir()
        self.cache.mkdir()
        for name, text in (("rpm", RPM), ("tdnf", "#!/bin/sh\nexit 243\n"), ("systemctl", "#!/bin/sh\nexit 1\n")):
            (place / "bin" / name).write_text(text)
            (place / "bin" / name).chmod(0o755)
        self.text = (
            script()
            .replace("/var/lib/photon-fleet/update", str(place / "state"))
            .replace("/var/cache/tdnf", str(self.cache))
            .replace("/etc/systemd/system", str(place))
            .replace("/var/lib/photon-fleet/records", str(place / "records"))
            .replace("PATH=/usr/sbin", f"PATH={place / 'bin'}:/usr/sbin")
        )

    def have(self, *lines: str) -> None:
        (self.place / "db").write_text("".join(f"{line}\n" for line in lines))

    @property
    def packages(self) -> list[str]:
        return sorted((self.place / "db").read_text().splitlines())

    def file(self, name: str, content: str = "signed") -> None:
        (self.cache / f"{name}.x86_64.rpm").write_text(content)

    def call(self, *words: str) -> tuple[int, str]:
        return self.run(self.text, *words)

    def fact(self, *, first: bool = False) -> Point | None:
        text = UpdatePoint().command(first=first).replace("/var/lib/photon-fleet/update", str(self.place / "state"))
        status, said = self.run(f"PATH={self.place / 'bin'}:$PATH\n{text}")
        assert status == 0, said
        return point(said.splitlines())

    def run(self, text: str, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [self.shell, "-s", *words],
            input=text, capture_output=True, text=True, check=False, timeout=60,
            env={"PLACE": str(self.place), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        return done.returncode, done.stdout.strip() + done.stderr.strip()


@pytest.fixture(params=SHELLS)
def host(request, tmp_path) -> Host:
    return Host(tmp_path, request.param)


def updated(host: Host, of: str = "") -> None:
    host.have("curl 1-1", "bash 5-1")
    host.file("curl-1-1")
    assert host.call("save", of, "curl-1-1.x86_64") == (0, "saved")
    host.have("curl 2-1", "bash 5-1", "new 1-1")


def test_back_is_where_the_point_was(host) -> None:
    updated(host)
    assert host.call("back") == (0, "back")
    assert host.packages == ["bash 5-1", "curl 1-1"]
    assert host.call("back") == (0, "back")


def test_both_versions_are_one_again(host) -> None:
    updated(host)
    host.have("curl 1-1", "curl 2-1", "bash 5-1")
    assert host.call("back") == (0, "back")
    assert host.packages == ["bash 5-1", "curl 1-1"]


def test_a_kernel_that_went_comes_back_beside_the_others(host) -> None:
    host.have("linux 6-1", "linux 6-2")
    host.file("linux-6-1")
    assert host.call("save", "", "linux-6-1.x86_64") == (0, "saved")
    host.have("linux 6-2", "linux 6-3")
    assert host.call("back") == (0, "back")
    assert host.packages == ["linux 6-1", "linux 6-2"]


def test_a_file_that_is_not_signed_is_none(host) -> None:
    host.have("curl 1-1")
    host.file("curl-1-1", "nobody's")
    status, said = host.call("save", "", "curl-1-1.x86_64")
    assert status == 1
    assert said.startswith("this host could not go back: no signed package file is to be had of curl-1-1.x86_64")
    assert not (host.place / "state" / "point").exists()


def test_nothing_is_begun_when_a_file_was_damaged_since(host) -> None:
    updated(host)
    (host.place / "state/point/old/curl-1-1.x86_64.rpm").write_text("broken")
    status, said = host.call("back")
    assert (status, said) == (1, "this host cannot go back: no signed package file is to be had of curl-1-1.x86_64")
    assert host.packages == ["bash 5-1", "curl 2-1", "new 1-1"]


def test_what_came_is_held(host) -> None:
    updated(host)
    assert host.call("hold") == (0, "")
    assert host.call("hold") == (0, "")
    assert (host.place / "state/held").read_text() == "curl 0:2-1 x86_64\nnew 0:1-1 x86_64\n"


def test_one_of_the_two_has_it_who_proves_or_who_goes_back(host) -> None:
    updated(host)
    assert host.call("proved") == (0, "")
    assert "too late" in host.call("proved")[1]
    updated(host)
    (host.place / "state/point/unproved").rename(host.place / "state/point/expired")
    assert host.call("proved")[0] == 1
    host.call("expire")
    assert host.packages == ["bash 5-1", "curl 1-1"]
    assert not (host.place / "state/point/expired").exists()
    assert (
        "what: went back from an update that nobody proved" in next((host.place / "records/new").iterdir()).read_text()
    )


def test_a_proof_in_time_calls_off_the_way_back(host) -> None:
    updated(host)
    host.call("proved")
    assert host.call("expire") == (0, "")
    assert "curl 2-1" in host.packages


def test_without_a_point_there_is_no_way_back(host) -> None:
    host.have("curl 1-1")
    assert host.call("back") == (1, "there is no point on this host that it could go back to")


def test_the_files_that_the_way_back_needs() -> None:
    def package(name: str, evr: str) -> dict[str, str]:
        return {"name": name, "evr": evr, "arch": "x86_64", "repo": ""}

    plan = {
        **nothing(), "upgrade": [package("nginx", "1.26.2-5.ph5"), package("linux-esx", "6.2-1")],
        "remove": [package("linux-esx", "6.0-1"), package("ntp", "1:4-1")],
    }  # fmt: skip
    installed = {
        "nginx": [{"evr": "1:1.22.1-3.ph5", "arch": "x86_64"}], "ntp": [{"evr": "1:4-1", "arch": "x86_64"}],
        "linux-esx": [{"evr": "6.0-1", "arch": "x86_64"}, {"evr": "6.1-1", "arch": "x86_64"}],
    }  # fmt: skip
    assert leaving(plan, installed) == ["linux-esx-6.0-1.x86_64", "nginx-1.22.1-3.ph5.x86_64", "ntp-4-1.x86_64"]


def twice_updated(host: Host, first: str = "rollout-12", second: str = "rollout-12") -> None:
    """curl and something new by one update, curl and bash by another."""
    host.have("curl 1-1", "bash 5-1")
    host.file("curl-1-1")
    assert host.call("save", first, "curl-1-1.x86_64") == (0, "saved")
    host.have("curl 2-1", "bash 5-1", "new 1-1")
    host.file("curl-2-1")
    host.file("bash-5-1")
    assert host.call("save", second, "curl-2-1.x86_64", "bash-5-1.x86_64") == (0, "saved")
    host.have("curl 3-1", "bash 6-1", "new 1-1")


BEFORE_BOTH, BETWEEN = ["bash 5-1", "curl 1-1"], ["bash 5-1", "curl 2-1", "new 1-1"]


def test_a_rollout_goes_back_to_before_its_first_update(host) -> None:
    twice_updated(host)
    assert host.call("hold", "rollout-12") == (0, "")
    assert host.call("back", "rollout-12") == (0, "back")
    assert host.packages == BEFORE_BOTH
    assert (host.place / "state/held").read_text() == "bash 0:6-1 x86_64\ncurl 0:3-1 x86_64\nnew 0:1-1 x86_64\n"
    for words in (["back", "rollout-12"], ["back"]):
        assert host.call(*words) == (0, "back")
        assert host.packages == BEFORE_BOTH


def test_what_is_laid_down_again_is_what_was_there_first(host) -> None:
    twice_updated(host)
    (host.place / "differs").write_text("curl\nbash\n")
    assert host.call("back", "rollout-12") == (0, "back")
    assert host.packages == BEFORE_BOTH


def test_what_the_fact_reads_is_what_was_noted(host) -> None:
    assert host.fact() is None
    twice_updated(host)
    here = {"of": "rollout-12", "over": [], "undone": False, "unproved": True}
    assert here.items() <= host.fact().items()
    assert host.fact()["gone"] == [("bash", "0:5-1"), ("curl", "0:2-1")]
    assert host.fact(first=True)["gone"] == [("bash", "0:5-1"), ("curl", "0:1-1")]
    host.call("save", "", "curl-3-1.x86_64")
    host.file("curl-3-1")
    assert host.call("save", "", "curl-3-1.x86_64") == (0, "saved")
    (host.place / "state/point").rename(host.place / "state/before")
    assert {**here, "of": "", "over": ["rollout-12"]}.items() <= host.fact(first=True).items()
    host.call("back")
    assert host.fact()["undone"]


def test_by_hand_it_is_one_update_and_the_rollout_goes_the_rest(host) -> None:
    twice_updated(host)
    assert host.call("back") == (0, "back")
    assert host.packages == BETWEEN
    assert host.call("back", "rollout-12") == (0, "back")
    assert host.packages == BEFORE_BOTH


def test_three_updates_of_a_rollout_and_a_way_back_that_was_cut_short(host) -> None:
    twice_updated(host)
    host.file("new-1-1")
    assert host.call("save", "rollout-12", "new-1-1.x86_64") == (0, "saved")
    # What the second one brought is gone half-way already.
    host.have("curl 3-1", "curl 1-1", "bash 6-1", "more 1-1")
    assert host.call("back", "rollout-12") == (0, "back")
    assert host.packages == BEFORE_BOTH


@pytest.mark.parametrize("of", ["rollout-12", "rollout-1", ""])
def test_an_update_of_another_rollout_stays(host, of) -> None:
    twice_updated(host, "rollout-12", "rollout-13" if of else "")
    for word in ("hold", "back"):
        status, said = host.call(word, of or "rollout-12")
        assert (status, said) == (1, f"the last update of this host is not of {of or 'rollout-12'}")
    assert host.packages == ["bash 6-1", "curl 3-1", "new 1-1"]
    assert not (host.place / "state/held").exists()
    assert (host.place / "state/point/over").read_text() == "rollout-12\n"
    assert host.call("back") == (0, "back")
    assert host.packages == BETWEEN


def test_an_update_that_went_back_is_nobodys_any_more(host) -> None:
    updated(host, "rollout-12")
    assert host.call("back", "rollout-12") == (0, "back")
    host.have("curl 1-1", "bash 5-1", "docker 1-1")
    for of in ("rollout-12", "rollout-13"):
        host.file("bash-5-1")
        assert host.call("save", of, "bash-5-1.x86_64") == (0, "saved")
        assert not (host.place / "state/point/over").exists()
        assert not (host.place / "state/point/first").exists()


def test_an_update_that_never_came_is_nobodys(host) -> None:
    host.have("curl 1-1")
    host.file("curl-1-1")
    for of in ("rollout-12", "rollout-13", "rollout-13"):
        assert host.call("save", of, "curl-1-1.x86_64") == (0, "saved")
        assert not (host.place / "state/point/over").exists()
        assert not (host.place / "state/point/first").exists()


def test_a_point_that_was_put_aside_when_the_host_died_is_the_point(host) -> None:
    updated(host, "rollout-12")
    (host.place / "state/point").rename(host.place / "state/before")
    assert host.call("back", "rollout-12") == (0, "back")
    assert host.packages == ["bash 5-1", "curl 1-1"]
